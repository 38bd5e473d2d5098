"""tidy: what becomes fewer and simpler ops, what stays, and the same numbers."""

import pytest

torch = pytest.importorskip("torch")

from fastdiff.program.ir import BATCH
from fastdiff.program.passes.tidy import tidy
from fastdiff.program.reference import run
from tests.program.foreign import inputs
from tests.program.small import difference, ops, small
from tests.program.writer import Writer, random_program

CASES = {
    # Reshapes.
    "a chain is one": (lambda x, t: x.reshape(-1, 2, 2).reshape(-1, 4, 1).tanh(), "reshape tanh"),
    "to the same shape": (lambda x, t: x.reshape(-1, 2, 2).reshape(-1, 4).tanh(), "tanh"),
    "of the batch alone": (lambda x, t: x.tanh().reshape(-1, 2, 2), "tanh reshape"),
    "with another reader": (
        lambda x, t: (y := x.reshape(-1, 2, 2)).tanh().reshape(-1, 4) + y.reshape(-1, 4),
        "reshape tanh reshape add",
    ),
    "with an op between": (
        lambda x, t: x.reshape(-1, 2, 2).tanh().reshape(-1, 4),
        "reshape tanh reshape",
    ),
    # Differences and quotients.
    "x - c": (lambda x, t: x - 2, "add"),
    "x / c": (lambda x, t: x / 3, "mul"),
    "x / (a c of channels)": (lambda x, t: x / torch.tensor([1.0, 2.0, 3.0, 4.0]), "mul"),
    "c - x": (lambda x, t: 2 - x, "sub"),
    "c / x": (lambda x, t: 2 / (x * x + 1), "mul add div mul"),
    "x - y": (lambda x, t: x - x.tanh(), "tanh sub"),
    "x / y": (lambda x, t: x / (x.exp() + 1), "exp add div"),
    # Broadcasts.
    "for an op that broadcasts": (lambda x, t: x * t[:, None].expand(-1, 4), "reshape mul"),
    "on the other side": (lambda x, t: t[:, None].expand(-1, 4) - x, "reshape sub"),
    "for an op that does not": (
        lambda x, t: torch.cat([x, t[:, None].expand(-1, 4)], 1),
        "reshape broadcast concat",
    ),
    "the only one that is as wide": (
        lambda x, t: (y := t[:, None].expand(-1, 4)) * y,
        "reshape broadcast mul",
    ),
    "before a function": (lambda x, t: t[:, None].expand(-1, 4).tanh(), "reshape broadcast tanh"),
    # What changes nothing.
    "x * 1": (lambda x, t: (x * 1).tanh(), "tanh"),
    "1 * x": (lambda x, t: (1 * x).tanh(), "tanh"),
    "x / 1": (lambda x, t: (x / 1).tanh(), "tanh"),
    "x * ones": (lambda x, t: (x * torch.ones(4)).tanh(), "tanh"),
    "x + 0": (lambda x, t: (x + 0).tanh(), "tanh"),
    "x - 0": (lambda x, t: (x - 0).tanh(), "tanh"),
    "at the end": (lambda x, t: x.tanh() * 1, "tanh"),
    "twice": (lambda x, t: (x.tanh() * 1 + 0).relu(), "tanh relu"),
    "x + 1": (lambda x, t: (x + 1).tanh(), "add tanh"),
    "x * 0": (lambda x, t: (x * 0).tanh(), "mul tanh"),
    "x ** 1": (lambda x, t: (x**1).tanh(), "pow tanh"),
    "a 1 that spreads": (lambda x, t: t[:, None] * torch.ones(4), "reshape mul"),
    "nearly ones": (lambda x, t: x * torch.tensor([1.0, 1.0, 1.0, 2.0]), "mul"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_tidied_and_what_is_left(name):
    f, left = CASES[name]
    program = small(f)
    tidied = tidy(program)
    assert " ".join(ops(tidied)) == left, str(tidied)
    assert difference(program, tidied) < 1e-7  # 1 / 3 is rounded to float32


def test_constants_of_differences_and_quotients():
    tidied = tidy(small(lambda x, t: (x - 2) / 8))
    assert [tidied.constants[node.inputs[1]] for node in tidied.nodes] == [-2, 0.125]


def test_a_quotient_by_zero_stays():
    w = Writer({"x": (4,)})
    zero = w.constant(array=[1.0, 0.0, 1.0, 1.0])
    program = w.program(w.op("binary", "x", zero, kind="div"))
    assert tidy(program) == program


def test_what_constants_alone_decide_is_computed():
    w = Writer({"x": (4,)})
    c = w.constant(2, 2)
    scale = w.op("reshape", w.op("binary", c, w.constant(array=4.0), kind="mul"), shape=(4,))
    program = w.program(w.op("binary", "x", scale, kind="mul"))
    tidied = tidy(program)
    assert ops(program) == ["mul", "reshape", "mul"]
    assert ops(tidied) == ["mul"]
    (node,) = tidied.nodes
    assert set(tidied.constants) == {node.inputs[1]}
    assert (tidied.constants[node.inputs[1]] == 4 * w.constants[c].reshape(4)).all()
    assert difference(program, tidied) == 0


def test_a_constant_for_every_sample_is_none_of_the_programs():
    w = Writer({"x": (4,)})
    zeros = w.op("broadcast", w.constant(1, 4), shape=(BATCH, 4))
    program = w.program(w.op("unary", zeros, kind="tanh"), w.op("unary", "x", kind="tanh"))
    assert tidy(program) == program


def test_outputs_stay_and_keep_their_order():
    w = Writer({"x": (4,)})
    first = w.op("reshape", "x", shape=(BATCH, 2, 2))
    second = w.op("reshape", first, shape=(BATCH, 4, 1))
    same = w.op("binary", second, w.constant(array=1.0), kind="mul")
    program = w.program(same, first)
    tidied = tidy(program)
    assert tidied.outputs == (second, first)  # a product by 1 is what it was made of
    assert ops(tidied) == ["reshape", "reshape"]
    assert [n.inputs for n in tidied.nodes] == [("x",), ("x",)]  # `first` is still wanted
    assert difference(program, tidied) == 0


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed):
    program = random_program(seed)
    tidied = tidy(program)
    assert len(tidied.nodes) <= len(program.nodes)
    assert difference(program, tidied) == 0  # its constants are powers of two
    assert tidy(tidied) == tidied
    made = {n.output: n for n in tidied.nodes}
    for node in tidied.nodes:
        assert not all(i in tidied.constants for i in node.inputs if i) or BATCH in (
            tidied.values[node.output].shape
        )
        if node.op == "reshape":
            assert tidied.values[node.inputs[0]].shape != tidied.values[node.output].shape
            assert node.inputs[0] not in made or made[node.inputs[0]].op != "reshape"
        if node.op == "binary" and node.attributes["kind"] in ("sub", "div"):
            assert node.inputs[1] not in tidied.constants or node.inputs[0] in tidied.constants


def test_foreign_networks(foreign):
    _, example, program = foreign
    given = {k: v.double() for k, v in inputs(example, 4).items()}
    tidied = tidy(program)
    assert len(tidied.nodes) <= len(program.nodes)
    expected, got = (run(p, given, torch.float64)[0] for p in (program, tidied))
    assert (got - expected).abs().max() < 1e-6 * expected.abs().max()
