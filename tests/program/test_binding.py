"""binding.split: which part computes what, what goes from one to the next, and the same numbers."""

import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff.program.binding import READS, TIMES, split
from fastdiff.program.ir import BATCH
from fastdiff.program.lower import PASSES, lower
from fastdiff.program.passes.tidy import tidy
from fastdiff.program.reference import run
from tests.program.foreign import inputs
from tests.program.small import given
from tests.program.writer import Writer, random_program


def run_parts(parts, inputs):
    """Every value that one of them makes or is given, the parts run in their order."""
    known = dict(inputs)
    for part in parts.values():
        if part.nodes:
            values = run(part, {k: known[k] for k in part.inputs}, torch.float64)
            known |= dict(zip(part.outputs, values, strict=True))
    return known


def film(w, t="t", context="context"):
    """tanh(x) relu(t) + sigmoid(context), and what names those have."""
    row = w.op("unary", t, kind="relu")
    request = w.op("unary", context, kind="sigmoid")
    x = w.op("unary", "x", kind="tanh")
    product = w.op("binary", x, row, kind="mul")
    return w.op("binary", product, request, kind="add")


def shape_of(parts):
    """(inputs, the ops' outputs, outputs) of each part that does something."""
    return {
        time: (part.inputs, tuple(n.output for n in part.nodes), part.outputs)
        for time, part in parts.items()
        if part.nodes
    }


def test_each_op_is_bound_by_the_inputs_behind_it():
    w = Writer({"x": (4,), "t": (4,), "context": (4,)})
    program = w.program(film(w))
    assert shape_of(split(program).parts()) == {
        "row": (("t",), ("v0",), ("v0",)),
        "request": (("context",), ("v1",), ("v1",)),
        "step": (("x", "v0", "v1"), ("v2", "v3", "v4"), ("v4",)),
    }


def test_times_and_contexts_together_are_bound_to_both():
    w = Writer({"x": (4,), "t": (4,), "context": (4,)})
    row = w.op("unary", "t", kind="relu")
    both = w.op("binary", row, "context", kind="add")
    later = w.op("unary", both, kind="tanh")
    program = w.program(w.op("binary", "x", later, kind="mul"))
    assert shape_of(split(program).parts()) == {
        "row": (("t",), ("v0",), ("v0",)),
        "row_request": (("v0", "context"), ("v1", "v2"), ("v2",)),
        "step": (("x", "v2"), ("v3",), ("v3",)),
    }


def test_inputs_may_have_other_names():
    w = Writer({"x": (4,), "time": (4,), "label": (4,)})
    program = w.program(film(w, "time", "label"))
    named = split(program, t="time", context="label")
    assert named.row.inputs == ("time",)
    assert named.request.inputs == ("label",)
    # An input of another name is taken for x.
    assert split(program).step.nodes == program.nodes


def test_a_constant_for_every_sample_is_the_requests_and_a_plain_one_the_steps():
    w = Writer({"x": (4,), "t": (4,)})
    zeros = w.op("broadcast", w.constant(1, 4), shape=(BATCH, 4))
    plain = w.op("unary", w.constant(4), kind="neg")
    program = w.program(w.op("binary", w.op("binary", "x", zeros, kind="add"), plain, kind="mul"))
    assert shape_of(split(program).parts()) == {
        "request": ((), ("v0",), ("v0",)),
        "step": (("x", "v0"), ("v1", "v2", "v3"), ("v3",)),
    }


def test_an_output_that_x_has_no_part_in_is_passed_on_by_the_step():
    w = Writer({"x": (4,), "t": (4,)})
    row = w.op("unary", "t", kind="relu")
    program = w.program(w.op("unary", "x", kind="tanh"), row)
    parts = split(program).parts()
    assert parts["row"].outputs == (row,)
    assert set(parts["step"].inputs) == {"x", row}
    assert parts["step"].outputs == program.outputs


def test_each_part_has_the_constants_that_it_reads():
    w = Writer({"x": (4,), "t": (4,)})
    row = w.op("linear", "t", w.constant(4, 4), w.constant(4))
    program = w.program(w.op("linear", w.op("binary", "x", row, kind="add"), w.constant(4, 4), ""))
    parts = split(program).parts()
    assert set(parts["row"].constants) == {"c0", "c1"}
    assert set(parts["step"].constants) == {"c2"}


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed):
    program = tidy(random_program(seed))  # no op on constants alone is left
    parts = split(program).parts()
    assert tuple(parts) == TIMES

    made = {node.output: node for node in program.nodes}

    def behind(name):
        """The program's inputs that a value depends on."""
        if name not in made:
            return {name} & set(program.inputs)
        return set().union(*(behind(i) for i in made[name].inputs if i))

    times = {
        frozenset("t"): "row",
        frozenset(["context"]): "request",
        frozenset(["t", "context"]): "row_request",
    }
    where = {node.output: time for time, part in parts.items() for node in part.nodes}
    assert where == {
        name: "step" if "x" in behind(name) else times[frozenset(behind(name))] for name in made
    }
    assert sum(len(part.nodes) for part in parts.values()) == len(program.nodes)
    for time, part in parts.items():
        assert {where[name] for name in part.inputs if name in where} <= READS[time] - {time}
    inputs = given(program)
    known = run_parts(parts, inputs)
    for name, expected in zip(program.outputs, run(program, inputs, torch.float64), strict=True):
        assert torch.equal(known[name], expected)


def test_foreign_networks(foreign):
    _, example, program = foreign
    given = {k: v.double() for k, v in inputs(example, 4).items()}
    expected = run(program, given, torch.float64)[0]
    for improve in PASSES:
        program = improve(program)
    parts = split(program).parts()
    got = run_parts(parts, given)[program.outputs[0]]
    assert (got - expected).abs().max() < 1e-6 * expected.abs().max()
    for time in ("row", "request", "row_request"):
        assert "x" not in parts[time].inputs
    assert "t" not in parts["step"].inputs
    assert parts["row"].nodes
    assert sum(len(p.nodes) for p in parts.values()) == len(program.nodes)


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
