"""Foreign networks become programs that give their outputs, at batches the trace never saw."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff import FastdiffError
from fastdiff.program.binding import split
from fastdiff.program.ir import BATCH, OPS, Node
from fastdiff.program.lower import lower, program_of
from fastdiff.program.passes.fold_batch_norm import fold_batch_norm
from fastdiff.program.passes.fuse_epilogue import fuse_epilogue
from fastdiff.program.passes.tidy import tidy
from fastdiff.program.reference import REFERENCE, run
from fastdiff.program.trace import trace
from tests.program.foreign import UNETS, LayerNormUnet, Transformer, Unet

NETS = [*UNETS, "layer norm", "transformer"]


def net(name):
    """(module, an input of each kind at batch 2)."""
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([0.0, 999.0])
    torch.manual_seed(1)
    if name == "layer norm":
        return LayerNormUnet().eval(), {"x": x, "t": t / 999}
    if name == "transformer":
        return Transformer().eval(), {"x": x, "t": t, "context": torch.ones(2, 5)}
    pytest.importorskip("diffusers")
    x = x[:, :1] if UNETS[name].get("in_channels") == 1 else x
    return Unet(name).eval(), {"x": x, "t": t}


def inputs(example, batch):
    generator = torch.Generator().manual_seed(batch)
    return {
        k: torch.rand((batch, *v.shape[1:]), generator=generator) * v.abs().max()
        for k, v in example.items()
    }


class Wrapped(torch.nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x, t):
        return self.f(x, t)


@pytest.fixture(scope="module", params=NETS)
def traced(request):
    module, example = net(request.param)
    return module, example, trace(module, example, request.param)


def test_the_program_gives_the_modules_output(traced):
    module, example, program = traced
    double = module.double()
    for batch in (1, 5, 70):
        given = {k: v.double() for k, v in inputs(example, batch).items()}
        with torch.no_grad():
            expected = double(*given.values())
        got = run(program, given, torch.float64)[0]
        # Time embeddings compute in float32 whatever the network is.
        assert (got - expected).abs().max() < 1e-4 * expected.abs().max()
    module.float()


def test_passes_keep_the_numbers_and_binding_times_keep_x_out(traced):
    _, example, program = traced
    given = {k: v.double() for k, v in inputs(example, 4).items()}
    expected = run(program, given, torch.float64)[0]
    better = tidy(fold_batch_norm(tidy(program)))
    assert len(better.nodes) <= len(program.nodes)
    assert not [n for n in better.nodes if n.op == "batch_norm"]
    got = run(better, given, torch.float64)[0]
    assert (got - expected).abs().max() < 1e-6 * expected.abs().max()
    parts = split(better).parts()
    known = dict(given)
    for part in parts.values():
        if part.nodes:
            values = run(part, {k: known[k] for k in part.inputs}, torch.float64)
            known |= dict(zip(part.outputs, values, strict=True))
    assert (known[better.outputs[0]] - expected).abs().max() < 1e-6 * expected.abs().max()
    step = fuse_epilogue(parts["step"])
    assert len(step.nodes) < 0.9 * len(parts["step"].nodes)
    given = {k: known[k] for k in step.inputs}
    fused = run(step, given, torch.float64)[0]
    assert (fused - expected).abs().max() < 1e-6 * expected.abs().max()
    for time in ("row", "request", "row_request"):
        assert "x" not in parts[time].inputs
    assert "t" not in parts["step"].inputs
    assert parts["row"].nodes
    assert sum(len(p.nodes) for p in parts.values()) == len(better.nodes)


def test_every_row_can_be_computed_before_the_loop():
    """The tables of a whole schedule, gathered by row, and one step in the middle of the loop."""
    model = fastdiff.load("sprites16")
    parts = lower(model)
    assert [len(p.outputs) for p in (parts.row, parts.request)] == [2, 2]
    assert not parts.row_request.nodes
    times = torch.tensor(model.schedule.t[1:]).float()
    tables = dict(zip(parts.row.outputs, run(parts.row, {"t": times}), strict=True))
    x, context = torch.randn(3, 3, 16, 16), torch.eye(5)[:3]
    rows = torch.tensor([499, 20, 250])  # samples at different rows share a batch
    fixed = dict(zip(parts.request.outputs, run(parts.request, {"context": context}), strict=True))
    given = {"x": x, **fixed, **{k: v[rows] for k, v in tables.items()}}
    got = run(parts.step, {k: given[k] for k in parts.step.inputs})[0]
    with torch.no_grad():
        expected = model.module(x, times[rows], context)
    assert (got - expected).abs().max() < 2e-5


def test_elementwise_ops_go_into_the_op_before_them():
    step = lower(fastdiff.load("sprites16")).step
    assert {n.op for n in step.nodes} == {
        "conv2d",
        "conv_transpose2d",
        "group_norm",
        "pool",
        "concat",
    }
    assert len(step.nodes) == 30  # of 99 that were traced
    texts = [str(n) for n in step.nodes]
    # The residual sum is taken by the later of the two convolutions, with the division behind it.
    assert sum("> add v6 > mul" in t for t in texts) == 1
    # FiLM by context and time, behind a group norm and behind a convolution.
    assert sum(t.startswith("group_norm") and "> relu > mul v45 > add v52" in t for t in texts) == 1
    assert sum(t.startswith("conv2d") and "> gelu > mul v72 > add v79" in t for t in texts) == 1


@pytest.mark.parametrize(
    ("f", "left"),
    [
        (lambda x, t: x.tanh().relu() * 2, 1),
        (lambda x, t: (y := x.tanh()) + y.relu(), 2),  # y is read twice: the sum goes with relu
        (lambda x, t: (y := x.tanh()) * y, 2),  # not an epilogue: both operands are the host
        (lambda x, t: x.tanh()[:, :1] * x, 3),  # the host's shape is not the product's
        (lambda x, t: x.tanh() + (x * 2).exp(), 2),  # the later of two can take the sum
        (lambda x, t: x.tanh() - x, 2),  # a difference is no step of an epilogue
    ],
)
def test_what_an_epilogue_takes_and_leaves(f, left):
    example = {"x": torch.randn(2, 4), "t": torch.rand(2)}
    program = tidy(trace(Wrapped(f), example))
    fused = fuse_epilogue(program)
    computing = [n for n in fused.nodes if n.op not in ("reshape", "slice")]
    assert len(computing) + sum(n.op == "slice" for n in fused.nodes) == left, str(fused)
    given = {"x": torch.randn(6, 4), "t": torch.rand(6)}
    torch.testing.assert_close(run(fused, given)[0], f(**given))


@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_elu_is_made_of_ops_that_there_are(alpha):
    def elu(x, t):
        return torch.nn.functional.elu(x, alpha)

    program = tidy(trace(Wrapped(elu), {"x": torch.randn(2, 9), "t": torch.rand(2)}))
    given = {"x": 4 * torch.randn(6, 9), "t": torch.rand(6)}
    got = run(program, {k: v.double() for k, v in given.items()}, torch.float64)[0]
    torch.testing.assert_close(got, elu(given["x"].double(), 0), rtol=0, atol=1e-7)
    assert {n.op for n in program.nodes} == {"unary", "binary"}


def test_sprites16s_program_is_the_one_that_is_checked_in():
    from tests.conftest import ROOT

    model = fastdiff.load("sprites16")
    golden = ROOT / "tests" / "golden" / "sprites16.program.txt"
    text = str(lower(model)) + "\n"
    assert golden.read_text() == text, "changed on purpose? tests/golden/make_programs.py"
    program = program_of(model)
    assert {n.op for n in program.nodes} <= set(OPS)
    assert all(BATCH not in v.shape[1:] for v in program.values.values())
    assert model.module.training is False


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x, t: torch.cumsum(x, 1), "got cumsum at the top module .*'eager' can run it"),
        (lambda x, t: torch.fft.fft(x).real, "torch.export cannot|got "),
        (lambda x, t: x.reshape(-1, 16) * 2, "expected the batch as a first dimension alone"),
        (lambda x, t: x if x.sum() > 0 else -x, "torch.export cannot trace Wrapped"),
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


def test_batch_norm_folds_and_where_it_cannot_it_stays_as_numbers():
    torch.manual_seed(0)

    class Norms(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False)
            self.up = torch.nn.ConvTranspose2d(4, 6, 2, 2)
            self.n = torch.nn.ModuleList(torch.nn.BatchNorm2d(c) for c in (4, 6, 3))
            for n in self.n:
                n.running_mean.normal_()
                n.running_var.uniform_(0.2, 3.0)
                n.weight.data.normal_()
                n.bias.data.normal_()

        def forward(self, x, t):
            y = self.n[1](self.up(self.n[0](self.conv(x))))
            return y.mean((2, 3)) + self.n[2](x).mean((2, 3)).repeat(1, 2)

    class Plain(Norms):
        def forward(self, x, t):
            y = self.n[1](self.up(self.n[0](self.conv(x))))
            return torch.cat([y, self.n[2](torch.nn.functional.pixel_unshuffle(x, 1))], 1)[:, 1:]

    module = Plain().eval()
    module.up.stride = (1, 1)
    module.up.kernel_size = (1, 1)
    module.up.weight.data = module.up.weight.data[:, :, :1, :1].clone()
    program = trace(module, {"x": torch.randn(2, 3, 8, 8), "t": torch.rand(2)})
    folded = fold_batch_norm(program)
    assert [n.op for n in folded.nodes][:2] == ["conv2d", "conv_transpose2d"]
    assert [n.op for n in folded.nodes].count("binary") == 2  # the norm without a convolution
    given = {"x": torch.randn(5, 3, 8, 8).double(), "t": torch.rand(5).double()}
    a, b = (run(p, given, torch.float64)[0] for p in (program, folded))
    assert (a - b).abs().max() < 1e-6 * a.abs().max()
    assert np.isfinite(a.numpy()).all()
