"""Outputs written into channels of a concatenation, in Triton's interpreter: the same bits as the
plain outputs, nothing beside them touched, and torch sees what happens."""

from __future__ import annotations

import os
from typing import Any

import pytest

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("needs TRITON_INTERPRET=1", allow_module_level=True)

import torch
from torch import Tensor
from torch.nn import functional

from fastdiff import FastdiffError
from fastdiff.cuda.program_module import ProgramModule
from fastdiff.kernels import epilogue as plain
from fastdiff.kernels import epilogue_into as into
from fastdiff.kernels import group_norm_act as norm
from fastdiff.kernels import normalise_launch
from fastdiff.kernels.epilogue import epilogue, epilogue_
from fastdiff.kernels.epilogue_into import epilogue_into
from fastdiff.kernels.group_norm_act import group_norm_act
from tests.ops.accuracy import assert_accurate
from tests.program.writer import Writer

# NumPy, which the interpreter runs on, warns of what a GPU does in silence.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.*")

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
PLAIN, LAST = torch.contiguous_format, torch.channels_last
FORMATS = [PLAIN, LAST]
PAIRS = [(PLAIN, PLAIN), (LAST, LAST), (PLAIN, LAST)]  # of x, of the concatenation
WAYS: dict[str, dict[str, int]] = {
    "one tile": {},
    "loop": {"WHOLE": 64, "LOOP": 64, "SMALL": 64, "PROGRAMS": 1},
    "split": {"WHOLE": 64, "LOOP": 64, "SMALL": 64, "PROGRAMS": 99, "MAX_PARTS": 4},
}
# [B, C, H, W], channels before and behind: few, odd, whole 16-byte pieces or not; one pixel; more
# than a tile.
CASES = [
    ((2, 16, 4, 4), 16, 0), ((2, 16, 4, 4), 8, 8), ((3, 5, 3, 7), 3, 1), ((1, 1, 5, 5), 0, 1),
    ((2, 6, 1, 1), 1, 2), ((2, 24, 9, 8), 7, 16), ((1, 1030, 1, 2), 2, 3), ((2, 3, 20, 33), 1, 0),
]  # fmt: skip


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


class Joined:
    """A concatenation of ones whose middle channels are the slot."""

    def __init__(self, shape: Any, before: int, behind: int, memory: Any, dtype: Any) -> None:
        batch, self.channels, *pixels = shape
        sizes = [batch, before + self.channels + behind, *pixels]
        self.whole = torch.ones(sizes, dtype=dtype).contiguous(memory_format=memory)
        self.before = before
        self.slot = self.whole.narrow(1, before, self.channels)

    def check(self, expected: Tensor) -> None:
        assert torch.equal(self.slot, expected)
        assert (self.whole[:, : self.before] == 1).all()
        assert (self.whole[:, self.before + self.channels :] == 1).all()


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize(("memory", "joined"), PAIRS, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_epilogues(case: Any, memory: Any, joined: Any, dtype: torch.dtype) -> None:
    shape = case[0]
    x = random(*shape, dtype=dtype).contiguous(memory_format=memory)
    bias, residual = random(shape[1], seed=1), random(*shape, seed=2, dtype=dtype)
    rest = (bias, ["silu", ("add", 0)], [residual])
    exact = functional.silu(x.double() + bias.double()[:, None, None]) + residual.double()
    straight = functional.silu(x + bias.to(dtype)[:, None, None]) + residual
    expected = epilogue(x, *rest)
    alone, beside, place = (Joined(*case, joined, dtype) for _ in range(3))
    got = epilogue_into(x, alone.slot, *rest)
    assert got is alone.slot
    assert_accurate(got, straight, exact)
    alone.check(expected)
    got = epilogue_into(x, beside.slot, *rest, dense=True)
    assert got.stride() == expected.stride()
    assert torch.equal(got, expected)
    beside.check(expected)
    assert epilogue_(x, *rest, slot=place.slot) is x
    assert torch.equal(x, expected)
    place.check(expected)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("memory", "joined"), PAIRS, ids=str)
@pytest.mark.parametrize("case", CASES[:6], ids=str)
def test_group_norms(
    case: Any, memory: Any, joined: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in WAYS[way].items():
        monkeypatch.setattr(normalise_launch, name, value)
    shape = case[0]
    groups = 2 if shape[1] % 2 == 0 else 1
    for dtype in DTYPES[::2] if way == "one tile" else DTYPES[:1]:
        x = random(*shape, dtype=dtype).contiguous(memory_format=memory)
        weight, scale = random(shape[1], seed=1), random(*shape[:2], seed=2)
        rest: Any = (x, groups, weight)
        options: Any = {"scale": scale, "activation": "silu"}
        expected = group_norm_act(*rest, **options)
        y = functional.group_norm(x.double().contiguous(), groups, weight.double())
        exact = functional.silu(y * (1 + scale.double()[:, :, None, None]))
        alone, beside = (Joined(*case, joined, dtype) for _ in range(2))
        got = group_norm_act(*rest, **options, slot=alone.slot, dense=False)
        assert got is alone.slot
        straight = functional.group_norm(x.contiguous(), groups, weight.to(dtype))
        straight = functional.silu(straight * (1 + scale.to(dtype)[:, :, None, None]))
        assert_accurate(got, straight, exact, ulps=4)
        alone.check(expected)
        got = group_norm_act(*rest, **options, slot=beside.slot)
        assert got.stride() == expected.stride()
        assert torch.equal(got, expected)
        beside.check(expected)


def test_a_slot_may_have_a_dtype_of_its_own() -> None:
    x = random(2, 4, 3, 5)
    joined = Joined((2, 4, 3, 5), 3, 2, LAST, torch.bfloat16)
    got = epilogue_into(x, joined.slot, None, ["tanh"], dense=True)
    assert torch.equal(got, epilogue(x, None, ["tanh"]))
    joined.check(got.to(torch.bfloat16))


def test_nothing_of_no_samples() -> None:
    joined = Joined((0, 3, 4, 4), 1, 1, LAST, torch.float32)
    x = random(0, 3, 4, 4)
    assert epilogue_into(x, joined.slot, random(3)) is joined.slot
    assert group_norm_act(x, 3, slot=joined.slot).shape == x.shape


X = random(2, 4, 3, 5)
WHOLE = random(2, 10, 3, 5)
SLOTS: list[tuple[Any, str]] = [
    (3.0, r"^slot: expected a tensor of .* \[2, 4, 3, 5\], got 3.0$"),
    (WHOLE, r"^slot: .* \[2, 4, 3, 5\], got float32 \[2, 10, 3, 5\]$"),
    (WHOLE[:, :4].double(), r"^slot: .* got float64"),
    (WHOLE[:, :4].to("meta"), "^slot: expected a tensor on cpu, as x, got one on meta$"),
    (WHOLE[:, :1].expand(2, 4, 3, 5), r"^slot: expected channels of .* got strides \(150, 0, 5, 1"),
    (random(2, 4, 3, 7)[..., :5],
     r"^slot: expected channels of a contiguous or channels-last tensor, got strides"),
]  # fmt: skip


@pytest.mark.parametrize(("slot", "message"), SLOTS, ids=range(len(SLOTS)))
def test_a_wrong_slot_is_named(slot: Any, message: str) -> None:
    for call in (
        lambda: epilogue_into(X, slot, None),
        lambda: epilogue_(X.clone(), None, slot=slot),
        lambda: group_norm_act(X, 2, slot=slot),
    ):
        with pytest.raises(FastdiffError, match=message):
            call()


def test_a_slot_of_samples_that_32_bits_do_not_span_is_refused() -> None:
    whole = torch.empty(1, 2**20, 33, 65, device="meta").contiguous(memory_format=LAST)
    x = torch.empty(1, 2, 33, 65, device="meta")
    with pytest.raises(
        FastdiffError, match=r"^slot: expected samples that span at most 2147483647"
    ):
        epilogue_into(x, whole[:, :2], None)


@pytest.mark.parametrize("memory", FORMATS, ids=str)
def test_the_ops_pass_opcheck(memory: torch.memory_format) -> None:
    x = random(2, 3, 4, 5).contiguous(memory_format=memory)
    whole, out = random(2, 7, 4, 5).contiguous(memory_format=LAST), torch.empty_like(x)
    rest = (random(3), [2, 16], [random(2, 3, 1, 1)], 1)
    torch.library.opcheck(plain.OP_IN_PLACE, (x, *rest, whole[:, 1:4]))
    norms = (3, None, random(3), 1e-5, [4], [])
    for dense in (None, out):
        torch.library.opcheck(into.OP, (x, *rest, whole[:, 1:4], dense))
        torch.library.opcheck(norm.OP_INTO, (x, *norms, whole[:, 3:6], dense))


class Skip(torch.nn.Module):
    """Two producers of one concatenation, one of which is read beside it."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        whole = torch.empty(x.shape[0], 10, 5, 5)
        skip = epilogue_into(x, whole[:, :4], None, ["gelu"], dense=True)
        group_norm_act(y, 2, slot=whole[:, 4:8], dense=False)
        epilogue_(y[:, :2] * 1.0, None, ["tanh"], slot=whole[:, 8:])
        return whole * skip.mean()


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # torch's own decompositions
def test_compiled_and_exported_modules_see_what_is_written() -> None:
    x, y = random(3, 4, 5, 5), random(3, 4, 5, 5, seed=1)
    parts = [epilogue(x, None, ["gelu"]), group_norm_act(y, 2)]
    parts.append(epilogue(y[:, :2] * 1.0, None, ["tanh"]))
    expected = torch.cat(parts, 1) * parts[0].mean()
    assert torch.equal(Skip()(x, y), expected)
    compiled = torch.compile(Skip(), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, y), expected, rtol=0, atol=0)
    batch = torch.export.Dim("batch")
    exported = torch.export.export(Skip(), (x, y), dynamic_shapes=[{0: batch}, {0: batch}])
    for program in (exported, exported.run_decompositions({})):
        got = program.module()(x[:2], y[:2])
        torch.testing.assert_close(got, Skip()(x[:2], y[:2]), rtol=0, atol=0)


CONV = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_a_program_of_kernels_that_write_there_has_the_same_bits(
    dtype: torch.dtype, last: bool
) -> None:
    w = Writer({"x": (3, 6, 6)})
    skip = w.op("conv2d", "x", w.constant(5, 3, 3, 3), w.constant(5), **CONV)
    low = w.op("conv2d", skip, w.constant(7, 5, 3, 3), w.constant(7), **CONV)
    low = w.op("group_norm", low, "", "", groups=1, eps=1e-5, epilogue=(("unary", "silu"),))
    both = w.op("concat", low, skip, dim=1)
    out = w.op("conv2d", both, w.constant(2, 12, 3, 3), "", **CONV)
    program = w.program(out)
    x = random(2, 3, 6, 6, dtype=dtype)
    with_it, without = (
        ProgramModule(program, torch.device("cpu"), dtype, last, join=join)
        for join in (True, False)
    )
    assert [found.rule for found in with_it.matches].count("join_concat") == 1
    assert torch.equal(with_it({"x": x}, 2)[0], without({"x": x}, 2)[0])
