"""Step chains: what is done to a value before it is written; shared by the kernels that have one.

A chain is up to 8 steps, each ("unary", kind), or the kind alone, or ("add", i), ("mul", i),
("scale", i) with operand i: y + o, y * o, y * (1 + o). Operands broadcast against the output and
are read where they lie. The kernels see every tensor as [sample, group, row, column]; what these
are, the op decides, and an operand has a stride along each, 0 where it is broadcast. Along which of
them an operand varies, its form, is known when a kernel is compiled: one element is loaded once,
one per channel once a row or a column.

On its way to a kernel a step is an integer, 5 bits: 1 + kind of a unary, 16 + i, 20 + i, 24 + i for
add, mul and scale. The chain is one integer of eight of them, the forms one of four times 3 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from fastdiff.errors import FastdiffError

from .activations import KINDS, unary
from .blocks import Blocks, channel_blocks, spread
from .launch import check_same_device

Step = str | tuple[str, str | int]

MAX_STEPS = 8
MAX_OPERANDS = 4
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
WITH_OPERAND = ("add", "mul", "scale")
STEP_BITS, FORM_BITS = 5, 3  # in the kernels as numbers: an int must not be shifted by a constexpr
INSTANCE, ROW, COLUMN = 1, 2, 4  # the bits of a form
N_STEPS = tl.constexpr(MAX_STEPS)


@triton.jit  # type: ignore[untyped-decorator]
def load_operand(  # type: ignore[no-untyped-def]
    at,
    by_sample,
    by_group,
    by_row,
    by_column,
    FORM: tl.constexpr,
    sample,
    group,
    row,
    column,
    instance_fits,
    row_fits,
    column_fits,
):
    """An operand as float32, of a shape that broadcasts against the tile.

    ``sample`` and ``group`` (int64), ``row``, ``column``: tensors of as many dimensions as the tile
    has, with what of them is within the output.
    """
    if FORM == 0:
        value = tl.load(at)
    else:
        fits = instance_fits if FORM & 1 else True
        fits = fits & (row_fits if FORM & 2 else True)
        fits = fits & (column_fits if FORM & 4 else True)
        where = sample * by_sample + group * by_group if FORM & 1 else 0
        where = where + (row * by_row if FORM & 2 else 0)
        where = where + (column * by_column if FORM & 4 else 0)
        value = tl.load(at + where, mask=fits)
    return value.to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def apply_step(  # type: ignore[no-untyped-def]
    y,
    STEP: tl.constexpr,
    FORMS: tl.constexpr,
    at,
    by_sample,
    by_group,
    by_row,
    by_column,
    sample,
    group,
    row,
    column,
    instance_fits,
    row_fits,
    column_fits,
):
    """y after one step; the operand's place and strides are those of its index."""
    o = load_operand(
        at, by_sample, by_group, by_row, by_column, (FORMS >> (3 * (STEP & 3))) & 7,
        sample, group, row, column, instance_fits, row_fits, column_fits,
    )  # fmt: skip
    if STEP < 20:
        y = y + o
    elif STEP < 24:
        y = y * o
    else:
        y = tl.fma(y, o, y)
    return y


@triton.jit  # type: ignore[untyped-decorator]
def apply_steps(  # type: ignore[no-untyped-def]
    y,
    CHAIN: tl.constexpr,
    FORMS: tl.constexpr,
    o0, s0, g0, r0, c0,
    o1, s1, g1, r1, c1,
    o2, s2, g2, r2, c2,
    o3, s3, g3, r3, c3,
    sample,
    group,
    row,
    column,
    instance_fits,
    row_fits,
    column_fits,
):  # fmt: skip
    """The chain of y, float32. ``o0``: operand 0, then its strides: sample, group, row, column."""
    for i in tl.static_range(N_STEPS):
        if (CHAIN >> (5 * i)) & 31 > 15:
            if (CHAIN >> (5 * i)) & 3 == 0:
                y = apply_step(
                    y, (CHAIN >> (5 * i)) & 31, FORMS, o0, s0, g0, r0, c0,
                    sample, group, row, column, instance_fits, row_fits, column_fits,
                )  # fmt: skip
            elif (CHAIN >> (5 * i)) & 3 == 1:
                y = apply_step(
                    y, (CHAIN >> (5 * i)) & 31, FORMS, o1, s1, g1, r1, c1,
                    sample, group, row, column, instance_fits, row_fits, column_fits,
                )  # fmt: skip
            elif (CHAIN >> (5 * i)) & 3 == 2:
                y = apply_step(
                    y, (CHAIN >> (5 * i)) & 31, FORMS, o2, s2, g2, r2, c2,
                    sample, group, row, column, instance_fits, row_fits, column_fits,
                )  # fmt: skip
            else:
                y = apply_step(
                    y, (CHAIN >> (5 * i)) & 31, FORMS, o3, s3, g3, r3, c3,
                    sample, group, row, column, instance_fits, row_fits, column_fits,
                )  # fmt: skip
        elif (CHAIN >> (5 * i)) & 31 > 0:
            y = unary(y, ((CHAIN >> (5 * i)) & 31) - 1)
    return y


def encode(steps: Sequence[Step]) -> list[int]:
    """The chain's codes; the steps are ones that ``fits`` accepts."""
    codes = []
    for step in steps:
        name, what = ("unary", step) if isinstance(step, str) else step
        if name == "unary":
            codes.append(1 + KINDS.index(str(what)))
        else:
            codes.append(16 + 4 * WITH_OPERAND.index(name) + int(what))
    return codes


def fits(
    steps: Sequence[Step],
    operands: Sequence[Tensor],
    shape: Sequence[int],
    blocks: Blocks | None = None,
) -> str | None:
    """Why a kernel cannot run the chain on an output of ``shape``, in one sentence, or None.

    ``operands``: tensors, of which the shapes alone count. ``blocks``: what the op takes for
    samples, channels and pixels; by default [B, C, ...]. An operand may vary along the whole of a
    block or not at all along it.
    """
    blocks = channel_blocks(len(shape)) if blocks is None else blocks
    if len(steps) > MAX_STEPS:
        return f"steps: expected at most {MAX_STEPS}, got {len(steps)}"
    if len(operands) > MAX_OPERANDS:
        return f"operands: expected at most {MAX_OPERANDS} tensors, got {len(operands)}"
    for step in steps:
        if not _is_step(step, len(operands)):
            return (
                f"steps: expected a kind among {', '.join(KINDS)}, or ('add', i), ('mul', i) or "
                f"('scale', i) with i one of {len(operands)} operands, got {step!r}"
            )
    for i, operand in enumerate(operands):
        sizes = (1,) * (len(shape) - operand.dim()) + tuple(operand.shape)
        if len(sizes) > len(shape) or any(
            size not in (1, want) for size, want in zip(sizes, shape, strict=True)
        ):
            return (
                f"operands[{i}]: expected a shape that broadcasts to {list(shape)}, "
                f"got {list(operand.shape)}"
            )
        for block in blocks:
            varies = {sizes[d] != 1 for d in block if shape[d] != 1}
            if len(varies) > 1:
                return (
                    f"operands[{i}]: expected a shape that varies along all or none of dimensions "
                    f"{', '.join(map(str, block))} of {list(shape)}, got {list(operand.shape)}"
                )
    return None


def form(strides: tuple[int, int, int, int]) -> int:
    """Along which of instance, row and column a tensor varies, of its strides by sample, group, row
    and column.
    """
    sample, group, row, column = strides
    return INSTANCE * bool(sample or group) + ROW * bool(row) + COLUMN * bool(column)


def _is_step(step: object, operands: int) -> bool:
    match step:
        case str(kind) | ("unary", str(kind)):
            return kind in KINDS
        case (str(name), int(i)):
            return name in WITH_OPERAND and not isinstance(i, bool) and 0 <= i < operands
    return False


def check_chain(
    x: Tensor, steps: Sequence[Step], operands: Sequence[Tensor], blocks: Blocks
) -> list[int]:
    """The chain's codes; raises FastdiffError where it does not fit x."""
    for i, operand in enumerate(operands):
        if not isinstance(operand, Tensor) or operand.dtype not in DTYPES:
            got = operand.dtype if isinstance(operand, Tensor) else repr(operand)
            raise FastdiffError(
                f"operands[{i}]: expected a tensor of float32, bfloat16 or float16, got {got}"
            )
    reason = fits(steps, operands, x.shape, blocks)
    if reason is not None:
        raise FastdiffError(reason)
    check_same_device(x, "x", **{f"operands[{i}]": o for i, o in enumerate(operands)})
    return encode(steps)


@dataclass(frozen=True)
class Chain:
    """A chain as a kernel takes it: ``arguments`` by name, operands and strides, and constexprs."""

    arguments: dict[str, Any]
    constants: dict[str, int]


def chain_arguments(
    codes: Sequence[int],
    operands: Sequence[Tensor],
    x: Tensor,
    blocks: Blocks,
    place: Callable[[int, int, int], tuple[int, int, int, int]],
) -> Chain:
    """The chain for a launch on x. ``place``: from strides by block to strides by sample, group,
    row and column.
    """
    arguments: dict[str, Any] = {}
    forms = 0
    for i in range(MAX_OPERANDS):
        strides = (0, 0, 0, 0)
        arguments[f"o{i}"] = None
        if i < len(operands):
            operand, by_block = spread(operands[i], x, blocks)
            strides = place(*by_block)
            arguments[f"o{i}"] = operand
        forms |= form(strides) << (FORM_BITS * i)
        arguments |= dict(zip((f"s{i}", f"g{i}", f"r{i}", f"c{i}"), strides, strict=True))
    chain = sum(code << (STEP_BITS * i) for i, code in enumerate(codes))
    return Chain(arguments, {"CHAIN": chain, "FORMS": forms})


_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda y: functional.gelu(y, approximate="tanh"),
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "elu": functional.elu,
    "exp": torch.exp,
    "log": torch.log,
    "sin": torch.sin,
    "cos": torch.cos,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "neg": torch.neg,
    "abs": torch.abs,
}


def apply_reference(y: Tensor, codes: Sequence[int], operands: Sequence[Tensor]) -> Tensor:
    """The chain of y in plain torch, in y's dtype; ``codes`` from ``encode``."""
    for code in codes:
        if code < 16:
            y = _UNARY[KINDS[code - 1]](y)
            continue
        name, operand = WITH_OPERAND[(code - 16) // 4], operands[code % 4].to(y.dtype)
        if name == "add":
            y = y + operand
        elif name == "mul":
            y = y * operand
        else:
            y = y * (1 + operand)
    return y
