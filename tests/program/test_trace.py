"""Foreign networks become programs that give their outputs, at batches the trace never saw."""

import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional

from fastdiff import FastdiffError
from fastdiff.program.ir import UNARY, Node
from fastdiff.program.reference import REFERENCE, run
from fastdiff.program.trace import trace
from tests.program.foreign import inputs
from tests.program.small import Wrapped, ops, small


def test_the_program_gives_the_modules_output(foreign):
    module, example, program = foreign
    double = module.double()
    for batch in (1, 5, 70):
        given = {k: v.double() for k, v in inputs(example, batch).items()}
        with torch.no_grad():
            expected = double(*given.values())
        got = run(program, given, torch.float64)[0]
        # Time embeddings compute in float32 whatever the network is.
        assert (got - expected).abs().max() < 1e-4 * expected.abs().max()
    module.float()


FUNCTIONS = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": torch.nn.GELU("tanh"),
    "silu": functional.silu,
    "elu": functional.elu,
    **{
        name: getattr(torch, name)
        for name in ("sigmoid", "tanh", "exp", "sin", "cos", "neg", "abs")
    },
}
OF_POSITIVES = {name: getattr(torch, name) for name in ("log", "sqrt", "rsqrt")}


@pytest.mark.parametrize("kind", UNARY)
def test_every_function_of_one_value(kind):
    f = (FUNCTIONS | OF_POSITIVES)[kind]
    exp = kind in OF_POSITIVES
    program = small(lambda x, t: f(x.exp() if exp else x))
    assert ops(program) == (["exp", kind] if exp else [kind])
    x = torch.tensor([[-3.0, -1e-4, 0.5, 7.0]]).double()
    got = run(program, {"x": x, "t": x[:, 0]}, torch.float64)[0]
    assert torch.equal(got, f(x.exp() if exp else x))


def test_elu_of_another_alpha_is_made_of_ops_that_there_are():
    program = small(lambda x, t: functional.elu(x, 0.25))
    assert ops(program) == ["elu", "relu", "sub", "mul", "add"]
    x = torch.tensor([[-3.0, -1e-4, 0.5, 7.0]]).double()
    got = run(program, {"x": x, "t": x[:, 0]}, torch.float64)[0]
    torch.testing.assert_close(got, functional.elu(x, 0.25), rtol=1e-12, atol=0)


def test_elu_in_place_and_one_over_x():
    program = small(lambda x, t: functional.elu(1 / (x + 5), inplace=True))
    assert ops(program) == ["add", "div", "mul", "elu"]


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x, t: torch.cumsum(x, 1), "got cumsum at the top module .*'eager' can run it"),
        (lambda x, t: torch.fft.fft(x).real, "torch.export cannot|got "),
        (lambda x, t: x.reshape(-1, 16) * 2, "expected the batch as a first dimension alone"),
        (lambda x, t: x if x.sum() > 0 else -x, "torch.export cannot trace Wrapped"),
        (lambda x, t: functional.selu(x), "expected (elu of scale|ops that programs have), got"),
        (lambda x, t: x - x.mean(0, keepdim=True), "a mean of each sample, got one over the batch"),
    ],
)
def test_what_no_program_can_be_is_named(f, message):
    with pytest.raises(FastdiffError, match=message):
        trace(Wrapped(f), {"x": torch.randn(2, 3, 16, 16), "t": torch.rand(2)})


def test_a_program_that_differs_from_its_module_is_refused(monkeypatch):
    """Whatever the reason: here an op whose reference is wrong."""
    monkeypatch.setitem(REFERENCE, "unary", lambda x, kind: x * 1.001)
    with pytest.raises(
        FastdiffError, match="expected the traced program to equal Wrapped at batch"
    ):
        trace(Wrapped(lambda x, t: x.tanh()), {"x": torch.randn(2, 4), "t": torch.rand(2)})


def test_impossible_programs_are_refused():
    program = trace(
        Wrapped(lambda x, t: (x * 2).tanh()), {"x": torch.randn(2, 4), "t": torch.rand(2)}
    )
    first, last = program.nodes
    for nodes, message in (
        ((last, first), "reads 'v1' before it is made"),
        ((first, first, last), "'v1' is made twice"),
        ((first, Node("warp", ("v1",), "v2")), "expected ops of its list, got 'warp'"),
        ((first, Node("unary", ("v1",), "v2")), "expected attributes kind, got none"),
        ((first,), "'v2' is used and never made"),
    ):
        broken = type(program)(
            program.name, program.inputs, program.outputs, program.values, program.constants, nodes
        )
        with pytest.raises(FastdiffError, match=message):
            broken.check()


@pytest.mark.parametrize("stride", [1, 2])
def test_zeros_around_an_image_become_a_convolutions_padding(stride):
    conv = torch.nn.Conv2d(3, 4, 3, stride, padding=(0, 1))
    example = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(2))
    net = Wrapped(lambda x, t: conv(functional.pad(x, (0, 1, 2, 1))))
    net.conv = conv
    program = trace(net, {"x": example, "t": torch.zeros(2)}, "pad")
    assert ops(program) == ["conv2d"]
    attributes = program.nodes[0].attributes
    assert (attributes["padding"], attributes["padding_end"]) == ((2, 1), (1, 2))
    x = torch.randn(3, 3, 6, 8, dtype=torch.float64)
    got = run(program, {"x": x, "t": x[:, 0, 0, 0]}, torch.float64)[0]
    expected = conv.double()(functional.pad(x, (0, 1, 2, 1)))
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_zeros_around_an_image_that_no_convolution_reads_are_concatenated():
    program = trace(
        Wrapped(lambda x, t: functional.pad(x, (1, 0, 0, 2)).relu()),
        {"x": torch.randn(2, 3, 4, 5), "t": torch.zeros(2)},
        "pad",
    )
    assert ops(program) == ["broadcast", "concat", "broadcast", "concat", "relu"]
    x = torch.randn(3, 3, 4, 5, dtype=torch.float64)
    got = run(program, {"x": x, "t": x[:, 0, 0, 0]}, torch.float64)[0]
    assert torch.equal(got, functional.pad(x, (1, 0, 0, 2)).relu())


@pytest.mark.parametrize(
    ("pads", "mode", "value", "message"),
    [
        ((1, 1, 1, 1), "reflect", None, "got reflect padding"),
        ((1, 1, 1, 1), "constant", 1.0, r"got constant padding \[1, 1, 1, 1\] with 1.0"),
        ((-1, 0, 0, 0), "constant", 0.0, r"padding \[-1, 0, 0, 0\]"),
    ],
)
def test_other_padding_is_refused(pads, mode, value, message):
    with pytest.raises(FastdiffError, match=message):
        trace(
            Wrapped(lambda x, t: functional.pad(x, pads, mode=mode, value=value)),
            {"x": torch.randn(2, 3, 4, 5), "t": torch.zeros(2)},
            "pad",
        )
