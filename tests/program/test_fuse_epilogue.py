"""fuse_epilogue: what goes into the op before it, what must not, and the same numbers."""

import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff.program.binding import split
from fastdiff.program.ir import EPILOGUE_HOSTS, MAX_EPILOGUE
from fastdiff.program.lower import PASSES, lower
from fastdiff.program.passes.fuse_epilogue import fuse_epilogue
from fastdiff.program.passes.tidy import tidy
from fastdiff.program.reference import run
from tests.program.foreign import inputs
from tests.program.small import difference, small
from tests.program.writer import Writer, random_program


def texts(program):
    """Its nodes as text: "v2 = tanh(x) > relu"."""
    return [f"{node.output} = {node}" for node in program.nodes]


@pytest.mark.parametrize(
    ("f", "left"),
    [
        (lambda x, t: x.tanh().relu() * 2, ["v3 = tanh(x) > relu > mul c1"]),
        # y is read twice: the sum goes with relu.
        (lambda x, t: (y := x.tanh()) + y.relu(), ["v1 = tanh(x)", "v3 = relu(v1) > add v1"]),
        # Not an epilogue: both operands are the host.
        (lambda x, t: (y := x.tanh()) * y, ["v1 = tanh(x)", "v2 = mul(v1, v1)"]),
        # The host's shape is not the product's.
        (
            lambda x, t: x.tanh()[:, :1] * x,
            [
                "v1 = tanh(x)",
                "v2 = slice(v1, dim=1, start=0, stop=1, step=1)",
                "v3 = mul(v2, x)",
            ],
        ),
        (
            lambda x, t: x.mean(1, keepdim=True).tanh() * x,
            ["v1 = mean(x, dims=[1], keep=True)", "v2 = tanh(v1)", "v3 = mul(v2, x)"],
        ),
        # The later of two can take the sum.
        (
            lambda x, t: x.tanh() + (x * 2).exp(),
            ["v1 = tanh(x)", "v4 = mul(x, c1) > exp > add v1"],
        ),
        # A difference is no step of an epilogue, but its left side can have one.
        (lambda x, t: x.tanh() - x, ["v1 = tanh(x)", "v2 = sub(v1, x)"]),
        (lambda x, t: (x.tanh() - x).relu(), ["v1 = tanh(x)", "v3 = sub(v1, x) > relu"]),
    ],
)
def test_what_an_epilogue_takes_and_leaves(f, left):
    program = tidy(small(f))
    fused = fuse_epilogue(program)
    assert texts(fused) == left, str(fused)
    assert difference(program, fused) == 0
    given = {"x": torch.randn(6, 4), "t": torch.rand(6)}
    torch.testing.assert_close(run(fused, given)[0], f(**given))


def test_an_output_of_the_program_is_written_as_it_is():
    w = Writer({"x": (4,)})
    seen = w.op("unary", "x", kind="tanh")
    last = w.op("unary", seen, kind="relu")
    assert texts(fuse_epilogue(w.program(last, seen))) == ["v0 = tanh(x)", "v1 = relu(v0)"]
    fused = fuse_epilogue(w.program(last))
    assert texts(fused) == ["v1 = tanh(x) > relu"]
    assert fused.outputs == ("v1",)


def test_an_operand_must_be_there_before_the_op():
    """A slice takes no epilogue: a sum with it goes into an op behind it, into none before."""

    def part(w):
        return w.op("slice", "x", dim=1, start=0, stop=2, step=1)

    w = Writer({"x": (4,)})
    host = w.op("matmul", "x", w.constant(4, 2))
    program = w.program(w.op("binary", host, part(w), kind="add"))
    assert fuse_epilogue(program) == program
    w = Writer({"x": (4,)})
    before = part(w)
    host = w.op("matmul", "x", w.constant(4, 2))
    program = w.program(w.op("binary", before, host, kind="add"))
    fused = fuse_epilogue(program)
    assert [n.op for n in fused.nodes] == ["slice", "matmul"]
    assert str(fused.nodes[1]) == "matmul(x, c0) > add v0"
    assert difference(program, fused) == 0


def test_what_was_fused_is_there_from_its_host_on():
    """The sum of two chains, the first of which ends behind the second's host."""
    w = Writer({"x": (4,)})
    first = w.op("unary", "x", kind="sin")
    second = w.op("unary", "x", kind="cos")
    second = w.op("unary", second, kind="tanh")
    first = w.op("unary", first, kind="relu")
    program = w.program(w.op("binary", first, second, kind="add"))
    fused = fuse_epilogue(program)
    assert texts(fused) == ["v3 = sin(x) > relu", "v4 = cos(x) > tanh > add v3"]
    assert difference(program, fused) == 0


def test_an_operand_that_is_spread_may_be_added_and_a_host_that_is_spread_takes_nothing():
    w = Writer({"x": (4, 3, 3), "e": (4, 1, 1)})
    host = w.op("unary", "x", kind="tanh")
    fused = fuse_epilogue(w.program(w.op("binary", "e", host, kind="mul")))
    assert texts(fused) == ["v1 = tanh(x) > mul e"]
    w = Writer({"x": (4, 3, 3), "e": (4, 1, 1)})
    spread = w.op("unary", "e", kind="tanh")
    program = w.program(w.op("binary", "x", spread, kind="mul"))
    assert fuse_epilogue(program) == program


def test_an_epilogue_ends_at_its_limit_and_the_next_op_begins_another():
    w = Writer({"x": (4,)})
    value = "x"
    for _ in range(MAX_EPILOGUE + 3):
        value = w.op("unary", value, kind="tanh")
    program = w.program(value)
    fused = fuse_epilogue(program)
    assert [len(n.attributes.get("epilogue", ())) for n in fused.nodes] == [MAX_EPILOGUE, 1]
    assert difference(program, fused) == 0


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed):
    program = tidy(random_program(seed))
    fused = fuse_epilogue(program)
    assert difference(program, fused) == 0
    steps = [node.attributes.get("epilogue", ()) for node in fused.nodes]
    assert len(fused.nodes) + sum(map(len, steps)) == len(program.nodes)
    assert max(map(len, steps)) <= MAX_EPILOGUE
    assert fused.outputs == program.outputs
    assert {n.op for n, s in zip(fused.nodes, steps, strict=True) if s} <= set(EPILOGUE_HOSTS)
    # What could still go into the op before it: nothing.
    assert len(fuse_epilogue(fused).nodes) == len(fused.nodes)


def test_foreign_networks(foreign):
    _, example, program = foreign
    given = {k: v.double() for k, v in inputs(example, 4).items()}
    expected = run(program, given, torch.float64)[0]
    for improve in PASSES:
        program = improve(program)
    parts = split(program).parts()
    for part in parts.values():
        if part.nodes and part is not parts["step"]:
            values = run(part, {k: given[k] for k in part.inputs}, torch.float64)
            given |= dict(zip(part.outputs, values, strict=True))
    step = fuse_epilogue(parts["step"])
    assert len(step.nodes) < 0.9 * len(parts["step"].nodes)
    fused = run(step, {k: given[k] for k in step.inputs}, torch.float64)[0]
    assert (fused - expected).abs().max() < 1e-6 * expected.abs().max()


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
