"""kernels/wavefront_stage.py in Triton's interpreter: against float64, channel by channel.

Run by test_interpreted.py, or by itself:
TRITON_INTERPRET=1 pytest tests/ops/test_wavefront_stage_triton.py
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("needs TRITON_INTERPRET=1", allow_module_level=True)

import torch

from fastdiff import FastdiffError
from fastdiff.kernels import wavefront_stage as kernels
from fastdiff.kernels.activations import KINDS
from fastdiff.kernels.wavefront_stage import (
    Columns,
    RingOperand,
    columns_of,
    wavefront_stage,
    wavefront_stage_reference,
)
from fastdiff.program.ir import UNARY
from fastdiff.program.reference import REFERENCE

# Lanes that nobody stores are computed all the same, in NumPy: 0 / 0, log 0.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter")

INT = torch.int32
READ, WRITTEN = 400, 300  # elements of a sample that are read, and that are written


class Case:
    """A random stage: its arguments, and what it makes by the definition, in float64."""

    def __init__(
        self, n=2, cells=3, subtimes=4, group_sizes=(3, 2), outputs=5, dtype=torch.float32,
        bias=True, steps=(), operands=(), before=None, seed=0, positive=False,
    ) -> None:  # fmt: skip
        self.rng = np.random.default_rng(seed)
        self.n, self.cells, self.subtimes, self.outputs = n, cells, subtimes, outputs
        count = sum(group_sizes)
        values = self.rng.standard_normal((n, READ + WRITTEN))
        if positive:
            values = np.abs(values) + 0.1
        values[:, READ:] = np.nan  # nothing there is read
        self.cache = torch.from_numpy(values).to(dtype)
        # Every cell writes to a place of its own; about a third are not active.
        spread = WRITTEN // (cells * outputs)
        assert spread >= 1
        writes = READ + np.arange(cells) * outputs * spread + np.zeros((subtimes, 1), np.int64)
        self.active = self.rng.random((subtimes, cells)) < 0.7
        self.active[0], self.active[1] = True, False
        self.writes = np.where(self.active, writes, -1)
        self.out_offsets = self.rng.permutation(outputs) * spread
        self.reads = self.positions(len(group_sizes), max(group_sizes, default=1))
        self.groups = np.repeat(np.arange(len(group_sizes)), group_sizes)
        self.offsets = np.concatenate([[0], *(np.arange(k) for k in group_sizes)])[1:]
        mixed = self.rng.permutation(count)  # columns need not stand in order
        self.groups, self.offsets = self.groups[mixed], self.offsets[mixed]
        weight = self.rng.standard_normal((count, outputs)) / max(1, count) ** 0.5
        self.weight = torch.from_numpy(weight).to(dtype)
        self.bias = torch.from_numpy(self.rng.standard_normal(outputs)).float() if bias else None
        if positive and bias:
            self.weight, self.bias = self.weight.abs(), self.bias.abs()
        self.steps, self.before = steps, before
        self.operands = [self.operand(sort) for sort in operands]

    def positions(self, groups: int, longest: int) -> np.ndarray[Any, Any]:
        """First elements; a quarter are outside. At cells that are not active they are wild."""
        shape = (self.subtimes, self.cells, groups)
        inside = self.rng.integers(0, READ - longest + 1, shape)
        found = np.where(self.rng.random(shape) < 0.25, -1, inside)
        return np.where(self.active[..., None], found, 2**31 - 2**10)

    def operand(self, sort: str) -> Any:
        if sort in ("each", "all"):
            values = self.rng.uniform(0.5, 2.0, (self.n if sort == "each" else 1, self.outputs))
            return torch.from_numpy(values).float()
        count = 3 if sort == "rings" else 1
        groups = self.rng.integers(0, count, self.outputs)
        offsets = self.rng.integers(0, 7, self.outputs)
        return RingOperand(*map(tensor, (self.positions(count, 7), groups, offsets)))

    def arguments(self) -> list[Any]:
        tables = (self.reads, self.groups, self.offsets)
        return [
            *map(tensor, tables), self.weight, self.bias, tensor(self.writes),
            tensor(self.out_offsets), self.steps, self.operands, self.before,
        ]  # fmt: skip

    def run(self, s: int, call=wavefront_stage, **options) -> torch.Tensor:
        cache = self.cache.clone()
        call(cache, tensor([s]), *self.arguments(), **options)
        return cache

    def expected(self, s: int) -> torch.Tensor:
        """The cache afterwards, float64, cell by cell and channel by channel."""
        out, dtype = self.cache.double(), self.cache.dtype
        for b in range(self.n):
            for m in np.flatnonzero(self.active[s]):

                def at(position, offset, b=b):
                    return self.cache[b, position + offset].double() if position >= 0 else None

                a = torch.zeros(len(self.groups), dtype=torch.float64)
                for k, group in enumerate(self.groups):
                    value = at(self.reads[s, m, group], self.offsets[k])
                    if value is not None and self.before is not None:
                        value = REFERENCE["unary"](value, kind=self.before).to(dtype).double()
                    a[k] = 0.0 if value is None else value
                y = a @ self.weight.double() + (0.0 if self.bias is None else self.bias.double())
                for name, what in self.steps:
                    if name == "unary":
                        y = REFERENCE["unary"](y, kind=what)
                        continue
                    operand = self.operands[what]
                    if isinstance(operand, RingOperand):
                        places = operand.positions[s, m, operand.groups.long()].tolist()
                        found = [at(*k) for k in zip(places, operand.offsets.tolist(), strict=True)]
                        o = torch.stack(
                            [k if k is not None else torch.zeros(()).double() for k in found]
                        )
                    else:
                        o = operand[b if len(operand) > 1 else 0].double()
                    y = REFERENCE["binary"](y, o, kind=name)
                out[b, self.writes[s, m] + self.out_offsets] = y
        return out


def tensor(values: Any) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values).astype(np.int32))


def check(case: Case, subtimes: Any = None, **options: Any) -> None:
    """Twice the error of plain torch in the same dtype, and the last bits of the largest value.

    Plain torch itself must be within rounding, so that the two cannot be wrong together.
    """
    for s in range(case.subtimes) if subtimes is None else subtimes:
        expected, got = case.expected(s), case.run(s, **options)
        plain = case.run(s, wavefront_stage_reference)
        made = torch.zeros(case.cache.shape, dtype=torch.bool)
        for m in np.flatnonzero(case.active[s]):
            made[:, case.writes[s, m] + case.out_offsets] = True
        for cache in (got, plain):  # all else is as it was, to the bit
            assert torch.equal(cache[~made].nan_to_num(7e9), case.cache[~made].nan_to_num(7e9))
        if not made.any():
            continue
        largest = expected[made].abs().max().item()
        assert np.isfinite(largest)
        error, allowed = ((c[made].double() - expected[made]).abs().max() for c in (got, plain))
        rounding = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
        assert allowed <= 16 * 2.0**-24 * largest + rounding[case.cache.dtype] * largest
        assert error <= 2 * allowed + 8 * 2.0**-24 * largest


@pytest.mark.parametrize("dtype", kernels.DTYPES, ids=str)
@pytest.mark.parametrize(
    ("n", "cells", "group_sizes", "outputs"),
    [
        (1, 1, (1,), 1),
        (1, 7, (3, 2), 5),
        (3, 5, (1,) * 24, 17),  # one channel a tap: a first layer's
        (2, 3, (33, 1, 40), 33),
        (5, 4, (16, 16), 16),
        (1, 2, (7, 7, 7, 7, 7, 7, 7), 40),
    ],
)
def test_stages_are_their_definition(
    n: int, cells: int, group_sizes: tuple[int, ...], outputs: int, dtype: torch.dtype
) -> None:
    check(Case(n, cells, group_sizes=group_sizes, outputs=outputs, dtype=dtype))
    check(Case(n, cells, group_sizes=group_sizes, outputs=outputs, dtype=dtype, bias=False), [0])


@pytest.mark.parametrize("kind", KINDS)
def test_every_unary_before_and_after(kind: str) -> None:
    positive = kind in ("log", "sqrt", "rsqrt")
    check(Case(before=kind, positive=positive, seed=1), [0])
    check(Case(steps=[("unary", kind)], positive=positive, seed=2), [0])
    bfloat16 = Case(before=kind, positive=positive, seed=3, dtype=torch.bfloat16)
    check(bfloat16, [0])


def test_the_kinds_are_those_of_a_program() -> None:
    assert KINDS == UNARY
    for kind in KINDS:
        at_zero = float(REFERENCE["unary"](torch.zeros(()), kind=kind))
        assert (at_zero != 0) == (kind in kernels.MOVES_ZERO), kind


@pytest.mark.parametrize("name", kernels.WITH_OPERAND)
@pytest.mark.parametrize("sort", ["ring", "rings", "each", "all"])
@pytest.mark.parametrize("n", [1, 3])
def test_operands_of_every_sort(n: int, sort: str, name: str) -> None:
    if name == "div" and sort.startswith("ring"):
        case = Case(n, steps=[(name, 0)], operands=[sort], outputs=9, positive=True)
        ring = case.operands[0]  # nothing to divide by outside
        case.operands = [
            replace(ring, positions=torch.where(ring.positions < 0, 5, ring.positions))
        ]
    else:
        case = Case(n, steps=[(name, 0)], operands=[sort], outputs=9)
    check(case)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_chains_of_eight_steps_and_four_operands(dtype: torch.dtype) -> None:
    steps = [
        ("mul", 3), ("add", 0), ("unary", "tanh"), ("sub", 1), ("div", 2), ("unary", "sigmoid"),
        ("add", 1), ("mul", 0),
    ]  # fmt: skip
    operands = ["ring", "rings", "each", "all"]
    check(Case(3, 4, outputs=18, steps=steps, operands=operands, before="relu", dtype=dtype))


def test_an_operand_may_be_left_out_or_used_twice() -> None:
    check(Case(steps=[("mul", 1), ("add", 1)], operands=["ring", "rings", "each"]))


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_without_columns_a_stage_is_its_steps(n: int, bias: bool) -> None:
    steps = [("add", 0), ("mul", 1), ("unary", "tanh")]
    check(Case(n, group_sizes=(), steps=steps, operands=["ring", "rings"], bias=bias))
    check(Case(n, group_sizes=(), bias=bias))


def side_by_side(
    groups: int, run: int, first: int = 0, dtype: torch.dtype = torch.float32, **options: Any
) -> Case:
    """A stage whose groups' columns stand in order, at positions that are multiples of 16."""
    case = Case(3, 4, group_sizes=(run,) * groups, outputs=20, dtype=dtype, **options)
    case.groups, case.offsets = np.divmod(np.arange(groups * run), run)
    case.offsets += first
    aligned = case.reads // 16 * 16
    aligned[aligned + run + first > READ] = 0
    case.reads = np.where(case.active[..., None] & (case.reads >= 0), aligned, case.reads)
    return case


@pytest.mark.parametrize("dtype", kernels.DTYPES, ids=str)
@pytest.mark.parametrize(("groups", "run"), [(1, 64), (3, 32), (5, 16), (2, 128), (2, 48), (3, 8)])
def test_groups_that_lie_side_by_side_are_loaded_at_once(
    groups: int, run: int, dtype: torch.dtype
) -> None:
    for before in (None, "sigmoid"):
        case = side_by_side(groups, run, 16, dtype, before=before)
        found = columns_of(*case.arguments()[:3])
        assert found.run == run
        check(case, columns=found)
        check(case, columns=replace(found, aligned=1))


def test_what_may_be_counted_on_is_read_from_the_tables() -> None:
    case = side_by_side(3, 32)
    case.reads[~case.active] = -1
    reads, groups, offsets = case.arguments()[:3]
    assert columns_of(reads, groups, offsets) == Columns(32, 16)
    assert columns_of(reads, groups, offsets + 8) == Columns(32, 8)
    assert columns_of(torch.where(reads >= 0, reads + 2, -1), groups, offsets) == Columns(32, 2)
    assert columns_of(torch.where(reads >= 0, reads + 1, -1), groups, offsets) == Columns(32, 1)
    assert columns_of(reads, groups.flip(0), offsets) == Columns()
    assert columns_of(reads, groups, offsets + groups) == Columns()  # no channel of their own
    assert columns_of(reads, groups, offsets.flip(0)) == Columns()
    assert columns_of(reads[..., :2], groups, offsets) == Columns(0, 1)
    assert columns_of(torch.full_like(reads, -1), groups, offsets) == Columns(32, 16)
    assert columns_of(reads[..., :0], groups[:0], offsets[:0]) == Columns()


@pytest.mark.parametrize("promised", [Columns(32, 16), Columns(0, 16)], ids=str)
def test_a_promise_that_does_not_hold_is_refused_where_it_can_be_read(promised: Columns) -> None:
    case = side_by_side(3, 32, 8)
    check(case, [0], columns=Columns(32, 8))
    with pytest.raises(FastdiffError, match=r"^columns: expected what the tables hold, Columns\("):
        case.run(0, columns=promised)
    case.offsets = case.offsets[::-1]
    with pytest.raises(FastdiffError, match=r"^columns: expected what the tables hold, Columns\("):
        case.run(0, columns=Columns(32, 1))


@pytest.mark.parametrize("tile", [*kernels.TILES, (128, 16)])
def test_any_tile_makes_the_same(tile: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    options = {**kernels.launch_options(1, 8, 8, 0, torch.float32), "BLOCK_K": 16}
    options |= {"BLOCK_M": tile[0], "BLOCK_N": tile[1]}
    case = Case(11, 4, group_sizes=(13, 7), outputs=37, steps=[("add", 0)], operands=["ring"])
    monkeypatch.setattr(kernels, "launch_options", lambda *_: options)
    check(case, [0, 2])


def test_launches_fill_a_gpu_and_fit_the_columns() -> None:
    def blocks(*arguments: Any) -> tuple[int, ...]:
        options = kernels.launch_options(*arguments)
        return tuple(options[f"BLOCK_{k}"] for k in "MNK")

    float32, bfloat16 = torch.float32, torch.bfloat16
    assert blocks(7, 640, 128, 128, float32) == (16, 16, 32)
    assert blocks(448, 640, 128, 128, float32) == (16, 32, 32)
    assert blocks(7168, 640, 128, 128, bfloat16) == (64, 64, 64)
    assert blocks(7, 24, 128, 0, bfloat16)[2] == 32
    assert blocks(7, 1, 1, 0, bfloat16)[2] == 16
    for run in (16, 48, 80, 96, 112, 128):
        assert run % blocks(7, 2 * run, 128, run, bfloat16)[2] == 0


def test_outside_of_the_tables_nothing_is_done() -> None:
    case = Case()
    for s in (-1, case.subtimes, 2**31 - 1, -(2**31)):
        for call in (wavefront_stage, wavefront_stage_reference):
            assert torch.equal(case.run(s, call).nan_to_num(7e9), case.cache.nan_to_num(7e9))


def test_nothing_to_do_is_done() -> None:
    case = Case()
    arguments = case.arguments()
    wavefront_stage(case.cache[:0], tensor([0]), *arguments)
    none = Case()
    none.reads, none.writes = none.reads[:, :0], none.writes[:, :0]
    assert torch.equal(none.run(0).nan_to_num(7e9), none.cache.nan_to_num(7e9))


def test_float32_is_not_cut_to_tensor_floats_unless_told() -> None:
    """The interpreter multiplies in float32 either way: what is asked of tl.dot is looked at."""
    asked = []

    class Kernel:
        def __getitem__(self, grid):
            return lambda *_, **options: asked.append(options["PRECISION"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "wavefront_stage_kernel", Kernel())
        Case().run(0)
        Case().run(0, allow_tf32=True)
    assert asked == ["ieee", "tf32"]


WRONG = [
    ({"cache": torch.zeros(2, 700, dtype=torch.float64)}, r"^cache: .*got float64 \[2, 700\]$"),
    ({"cache": torch.zeros(700, 2).T}, "^cache: expected a contiguous tensor"),
    (
        {"subtime": torch.zeros(1)},
        r"^subtime: expected a tensor of int32 \[1\], got float32 \[1\]$",
    ),
    ({"subtime": 3}, "^subtime: .*got 3$"),
    ({"reads": torch.zeros(4, 2, 2, dtype=INT)}, r"^reads: .*\[4, 3, n\], got int32 \[4, 2, 2\]$"),
    ({"groups": torch.zeros(4, dtype=INT)}, r"^groups: .*int32 \[5\], got int32 \[4\]$"),
    ({"offsets": torch.zeros(5, dtype=torch.int64)}, r"^offsets: .*got int64 \[5\]$"),
    ({"weight": torch.zeros(5, 5).bfloat16()}, r"^weight: .*float32 \[n, n\], got bfloat16"),
    ({"weight": torch.zeros(6, 5).T}, "^weight: expected a contiguous tensor"),
    ({"bias": torch.zeros(4)}, r"^bias: .*\[5\], got float32 \[4\]$"),
    ({"writes": torch.zeros(4, dtype=INT)}, r"^writes: .*\[n, n\], got int32 \[4\]$"),
    ({"out_offsets": torch.zeros(6, dtype=INT)}, r"^out_offsets: .*\[5\], got int32 \[6\]$"),
    ({"steps": [("unary", "cbrt")]}, r"^steps: expected .*got \('unary', 'cbrt'\)$"),
    ({"steps": [("add", 1)], "operands": [torch.zeros(1, 5)]}, r"^steps: .*one of 1 operands, got"),
    ({"steps": [("pow", 0)], "operands": [torch.zeros(1, 5)]}, r"^steps: .*got \('pow', 0\)$"),
    ({"steps": [("unary", "relu")] * 9}, "^steps: expected at most 8, got 9$"),
    ({"operands": [torch.zeros(1, 5)] * 5}, "^operands: expected at most 4, got 5$"),
    (
        {"operands": [torch.zeros(3, 5)]},
        r"^operands\[0\]: .*float32 \[2, 5\], got float32 \[3, 5\]$",
    ),
    ({"operands": [7]}, r"^operands\[0\]: .*got 7$"),
    (
        {"operands": [RingOperand(*(torch.zeros(k, dtype=INT) for k in ((4, 2, 1), (5,), (5,))))]},
        r"^operands\[0\].positions: .*\[4, 3, n\], got int32 \[4, 2, 1\]$",
    ),
    ({"columns": Columns(2, 1)}, r"^columns: expected those of 5 columns in 2 groups, got Columns"),
    ({"columns": Columns(0, 3)}, r"^columns: .*aligned=3\)$"),
    ({"before": "cbrt"}, "^before: expected one of relu, .*got 'cbrt'$"),
    ({"bias": torch.zeros(5, device="meta")}, "^bias: expected a tensor on cpu, as cache"),
]


@pytest.mark.parametrize(
    ("change", "message"),
    WRONG,
    ids=[next(iter(c)) for c, _ in WRONG],
)
def test_a_wrong_argument_is_named(change: dict[str, Any], message: str) -> None:
    case = Case()
    names = ["reads", "groups", "offsets", "weight", "bias", "writes", "out_offsets"]
    names += ["steps", "operands", "before"]
    good = dict(zip(names, case.arguments(), strict=True))
    good |= {"cache": case.cache, "subtime": tensor([0])}
    wavefront_stage(**{**good, "cache": case.cache.clone()})
    with pytest.raises(FastdiffError, match=message):
        wavefront_stage(**{**good, **change})


FULL = {
    "steps": [("mul", 2), ("add", 0), ("unary", "tanh"), ("sub", 1)],
    "operands": ["ring", "rings", "each"],
    "before": "elu",
}


def test_on_a_cpu_without_the_interpreter_the_op_runs_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = Case(**FULL)
    expected = case.run(0, wavefront_stage_reference)
    monkeypatch.setattr(kernels, "runs_reference", lambda device: device.type == "cpu")
    monkeypatch.setattr(kernels, "wavefront_stage_kernel", None)
    got = case.run(0)
    assert torch.equal(got.nan_to_num(7e9), expected.nan_to_num(7e9))


def test_another_device_is_refused() -> None:
    case = Case()
    tables = case.arguments()[:7]
    elsewhere = [t.to("meta") for t in (case.cache, tensor([0]), *tables)]
    with pytest.raises(FastdiffError, match=r"^cache: expected a tensor on a CUDA device .* meta$"):
        kernels._launch(*elsewhere, [], [], -1, Columns(), False)


def test_the_op_passes_opcheck() -> None:
    case = Case(**FULL)
    tables = case.arguments()[:7]
    ring, rings, each = case.operands
    flat = [
        *(getattr(r, k) for r in (ring, rings) for k in ("positions", "groups", "offsets")),
        each,
    ]
    codes = [kernels._code(step, 3) for step in case.steps]
    assert [kernels._decoded(code) for code in codes] == case.steps
    torch.library.opcheck(
        kernels.OP,
        (
            torch.nan_to_num(case.cache), tensor([0]), *tables, codes, flat, [1, 1, 0],
            KINDS.index("elu"), 0, 1, False,
        ),
    )  # fmt: skip


class Compiled(torch.nn.Module):
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.arguments = case.arguments()

    def forward(self, cache: torch.Tensor, subtime: torch.Tensor) -> torch.Tensor:
        wavefront_stage(cache, subtime, *self.arguments)
        return cache * 2


def test_compiled_modules_call_the_op() -> None:
    case = Case(**FULL)
    compiled = torch.compile(Compiled(case), backend="aot_eager", fullgraph=True)
    cache = case.cache.clone()
    got = compiled(cache, tensor([0]))
    expected = case.run(0)
    assert torch.equal(cache.nan_to_num(7e9), expected.nan_to_num(7e9))
    assert torch.equal(got.nan_to_num(7e9), (expected * 2).nan_to_num(7e9))
