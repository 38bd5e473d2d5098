"""fold_batch_norm: which norms go into weights, which become a product and a sum."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn

from fastdiff.program.passes.fold_batch_norm import fold_batch_norm
from fastdiff.program.passes.tidy import tidy
from fastdiff.program.reference import run
from fastdiff.program.trace import trace
from tests.program.foreign import inputs
from tests.program.small import difference, ops
from tests.program.writer import Writer, random_program


def norm(channels, kind=nn.BatchNorm2d, **options):
    """A batch norm with statistics that are no 0 and no 1."""
    made = kind(channels, **options)
    made.running_mean.normal_()
    made.running_var.uniform_(0.2, 3.0)
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made


class Called(nn.Module):
    """Layers and how they are called."""

    def __init__(self, f, **layers):
        super().__init__()
        self.f, self.layers = f, nn.ModuleDict(layers)

    def forward(self, x):
        return self.f(x, **dict(self.layers.items()))


def chain(*layers):
    return Called(lambda x, s: s(x), s=nn.Sequential(*layers))


IMAGE, VECTOR, TOKENS = (4, 8, 8), (4,), (6, 4)
CASES = {
    "conv with a bias": (lambda: chain(nn.Conv2d(4, 6, 3), norm(6)), IMAGE, "conv2d"),
    "conv without": (lambda: chain(nn.Conv2d(4, 6, 3, bias=False), norm(6)), IMAGE, "conv2d"),
    "conv in groups": (lambda: chain(nn.Conv2d(4, 6, 3, groups=2), norm(6)), IMAGE, "conv2d"),
    "depthwise": (lambda: chain(nn.Conv2d(4, 4, 3, groups=4), norm(4)), IMAGE, "conv2d"),
    "a norm without gamma and beta": (
        lambda: chain(nn.Conv2d(4, 6, 3), norm(6, affine=False)),
        IMAGE,
        "conv2d",
    ),
    "transposed": (
        lambda: chain(nn.ConvTranspose2d(4, 6, 4, 2, 1), norm(6)),
        IMAGE,
        "conv_transpose2d",
    ),
    # There the weight's second dimension is the channels of one group.
    "transposed in groups": (
        lambda: chain(nn.ConvTranspose2d(4, 4, 2, 2, groups=2), norm(4)),
        IMAGE,
        "conv_transpose2d mul add",
    ),
    "linear": (lambda: chain(nn.Linear(4, 6), norm(6, nn.BatchNorm1d)), VECTOR, "linear"),
    # Over dimension 1, the tokens, where the linear layer's channels are the last.
    "linear of tokens": (
        lambda: chain(nn.Linear(4, 6), norm(6, nn.BatchNorm1d)),
        TOKENS,
        "linear mul add",
    ),
    "behind nothing": (lambda: chain(norm(4)), IMAGE, "mul add"),
    "behind a function": (
        lambda: chain(nn.Conv2d(4, 6, 3), nn.ReLU(), norm(6)),
        IMAGE,
        "conv2d relu mul add",
    ),
    "one behind another": (
        lambda: chain(nn.Conv2d(4, 6, 3), norm(6), norm(6)),
        IMAGE,
        "conv2d mul add",
    ),
    "convs and norms in turn": (
        lambda: chain(
            nn.Conv2d(4, 5, 3, bias=False), norm(5), nn.ConvTranspose2d(5, 6, 2, 2), norm(6)
        ),
        IMAGE,
        "conv2d conv_transpose2d",
    ),
    "a conv with another reader": (
        lambda: Called(lambda x, c, n: (y := c(x)).tanh() + n(y), c=nn.Conv2d(4, 6, 3), n=norm(6)),
        IMAGE,
        "conv2d tanh mul add add",
    ),
    "a conv with two norms": (
        lambda: Called(
            lambda x, c, n, m: n(y := c(x)) + m(y), c=nn.Conv2d(4, 6, 3), n=norm(6), m=norm(6)
        ),
        IMAGE,
        "conv2d mul add mul add add",
    ),
    "one conv called twice, each with its norm": (
        lambda: Called(
            lambda x, c, n, m: n(c(x)) + m(c(x.tanh())),
            c=nn.Conv2d(4, 6, 3),
            n=norm(6),
            m=norm(6),
        ),
        IMAGE,
        "conv2d tanh conv2d add",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_folds_and_what_stays_as_numbers(name):
    make, shape, left = CASES[name]
    torch.manual_seed(0)
    program = trace(make().eval(), {"x": torch.randn(2, *shape)})
    folded = fold_batch_norm(program)
    assert " ".join(ops(folded)) == left, str(folded)
    assert folded.outputs == program.outputs
    # Weights are rounded to float32 once more.
    assert difference(program, folded) < 3e-7


def conv_and_norm():
    """(a writer, the output of a conv behind which a norm can be, a norm of it)."""
    w = Writer({"x": (3, 5, 5)})
    weight, bias = w.constant(4, 3, 3, 3), w.constant(4)
    one = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}

    def behind(value):
        given = [w.constant(4), w.constant(4), w.constant(4), w.constant(array=[0.5, 1, 2, 3])]
        return w.op("batch_norm", value, *given, eps=1e-3)

    return w, lambda weight=weight, bias=bias: w.op("conv2d", "x", weight, bias, **one), behind


def test_weights_are_those_of_the_formula():
    w, conv, norm_of = conv_and_norm()
    program = w.program(norm_of(conv()))
    (node,) = fold_batch_norm(program).nodes
    constants = fold_batch_norm(program).constants
    weight, bias, gamma, beta, mean, variance = (
        w.constants[f"c{k}"].astype(np.float64) for k in range(6)
    )
    scale = gamma / np.sqrt(variance + 1e-3)
    assert set(constants) == set(node.inputs) - {"x"}
    np.testing.assert_array_equal(
        constants[node.inputs[1]], (weight * scale[:, None, None, None]).astype(np.float32)
    )
    np.testing.assert_allclose(
        constants[node.inputs[2]], beta + scale * (bias - mean), rtol=1e-6, atol=1e-7
    )
    assert dict(node.attributes) == dict(program.nodes[0].attributes)
    assert node.path == program.nodes[0].path


def test_an_output_of_the_program_is_not_folded_into():
    w, conv, norm_of = conv_and_norm()
    seen = conv()
    program = w.program(norm_of(seen), seen)
    folded = fold_batch_norm(program)
    assert ops(folded) == ["conv2d", "mul", "add"]
    assert difference(program, folded) < 3e-7


@pytest.mark.parametrize("made", ["weight", "bias"])
def test_weights_that_an_op_makes_are_not_folded_into(made):
    w, conv, norm_of = conv_and_norm()
    program = w.program(
        norm_of(conv(**{made: w.op("unary", "c0" if made == "weight" else "c1", kind="neg")}))
    )
    folded = fold_batch_norm(program)
    assert ops(folded) == ["neg", "conv2d", "mul", "add"]
    assert difference(program, folded) < 3e-7


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed):
    program = random_program(seed)
    folded = fold_batch_norm(program)
    assert "batch_norm" not in ops(folded)
    made = {node.output: node for node in program.nodes}
    readers = program.readers()
    norms = [node.inputs[0] for node in program.nodes if node.op == "batch_norm"]
    folds = [
        x
        for x in norms
        if x in made
        and made[x].op == "conv2d"
        and len(readers[x]) == 1
        and x not in program.outputs
    ]
    # The other norms are two ops each.
    assert len(folded.nodes) == len(program.nodes) + len(norms) - 2 * len(folds)
    assert ops(folded).count("conv2d") == ops(program).count("conv2d")
    assert difference(program, folded) < 1e-6


def test_foreign_networks(foreign):
    _, example, program = foreign
    folded = tidy(fold_batch_norm(tidy(program)))
    assert len(folded.nodes) <= len(program.nodes)
    assert "batch_norm" not in ops(folded)
    given = {k: v.double() for k, v in inputs(example, 4).items()}
    expected, got = (run(p, given, torch.float64)[0] for p in (program, folded))
    assert (got - expected).abs().max() < 1e-6 * expected.abs().max()
    assert np.isfinite(got.numpy()).all()
