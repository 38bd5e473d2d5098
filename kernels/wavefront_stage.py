"""One stage of a PixelCNN's wavefront: an op's channels at the cells whose time has come, on a GPU.

For every sample b, cell m that is active at the subtime s, and output j:

    A[k] = before(cache[b, reads[s, m, groups[k]] + offsets[k]]), 0 where the group is outside
    y[j] = steps(sum_k A[k] weight[k, j] + bias[j])
    cache[b, writes[s, m] + out_offsets[j]] = y[j]

The subtime is read from device memory and all places from tables made beforehand, so that one
captured launch serves every subtime. What the values mean: ``fastdiff/pixelcnn/wavefront.py``.

Layout: a product of n * M rows by N columns; row m * n + b, so that a cell's samples stand
together and a program whose cells are all inactive returns at once. A program makes BLOCK_M x
BLOCK_N of them over all of K. Tiles are small, so that a row of 7 cells still makes 8 programs at
N = 128: each reads K * BLOCK_N weights, from L2 after the first. Bytes moved, by element: each of A
once per BLOCK_N outputs, each weight once per BLOCK_M rows, outputs and operands once. Loads that
wait for one another are the price of a table: subtime, then place, then value. Operands are asked
for before the product, whose loop then covers their wait. Not yet measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastdiff.errors import FastdiffError

from .activations import KINDS, rounded, unary
from .launch import (
    INTERPRETED,
    check_device,
    check_same_device,
    check_tensor,
    device_guard,
    runs_reference,
)
from .wavefront_reference import RingOperand, Step, wavefront_stage_reference

MAX_STEPS = 8
MAX_OPERANDS = 4
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
INTS = (torch.int32,)
WITH_OPERAND = ("add", "sub", "mul", "div")
MOVES_ZERO = ("sigmoid", "exp", "log", "cos", "rsqrt")
# On its way to the kernel a chain is one integer, 5 bits a step: 1 + kind of a unary, or 16 +
# 4 * (place in WITH_OPERAND) + operand. The operands' sorts are another, 3 bits each.
N_STEPS = tl.constexpr(MAX_STEPS)
NONE, RING, RINGS, FIXED, FIXED_FOR_ALL = (tl.constexpr(i) for i in range(5))

# Tiles (BLOCK_M, BLOCK_N), the largest first: the first that makes as many programs as a GPU of
# 108 to 148 multiprocessors can run at once, nearly, is taken.
TILES = ((64, 64), (32, 64), (32, 32), (16, 32), (16, 16))
ENOUGH_PROGRAMS = 100


@dataclass(frozen=True)
class Columns:
    """What a launch may count on in a stage's columns; ``columns_of`` finds it.

    ``run``: 0, or groups[k] = k // run and offsets[k] = offsets[0] + k % run, so that the columns
    of a group lie side by side and are loaded at once (where 16 divides run). A plan whose groups
    begin at different channels adds these to its positions to have it so. ``aligned``: a power of
    two up to 16 of which offsets[0] and all positions that are inside are multiples. A row of A is
    loaded 16 bytes at a time where as many elements are aligned, and E is a multiple of 16.
    """

    run: int = 0
    aligned: int = 1


ANY = Columns()


def columns_of(reads: Tensor, groups: Tensor, offsets: Tensor) -> Columns:
    """The ``Columns`` of a stage's tables. Reads them on the host: for a plan, before capture."""
    count, columns = reads.shape[-1], len(groups)
    run = columns // count if count and columns % count == 0 else 0
    if not run:
        return ANY
    k, first = torch.arange(columns), offsets[:1].cpu()
    groups, offsets = groups.cpu().long(), offsets.cpu().long()
    if not (torch.equal(groups, k // run) and torch.equal(offsets, first + k % run)):
        return ANY
    places = torch.cat([reads[reads >= 0].cpu(), first])
    return Columns(run, next(a for a in (16, 8, 4, 2, 1) if not (places % a).any()))


@triton.jit  # type: ignore[untyped-decorator]
def _position(values, cell, exists, SORT: tl.constexpr):  # type: ignore[no-untyped-def]
    """Where each row of a ring operand of one group begins."""
    position = -1
    if SORT == RING:
        position = tl.load(values + cell, mask=exists, other=-1)
    return position


@triton.jit  # type: ignore[untyped-decorator]
def _operand(  # type: ignore[no-untyped-def]
    own, position, values, groups, offsets, count, SORT: tl.constexpr, N: tl.constexpr,
    sample, cell, column, active, fits,
):  # fmt: skip
    """An operand of the tile, float32 [BLOCK_M or 1, BLOCK_N]; 0 where there is none."""
    where = active[:, None] & fits[None, :]
    if SORT == NONE:
        found = 0.0
    elif SORT == FIXED_FOR_ALL:
        found = tl.load(values + column, mask=fits, other=0.0)[None, :]
    elif SORT == FIXED:
        at = values + sample[:, None] * N + column[None, :]
        found = tl.load(at, mask=where, other=0.0)
    else:
        if SORT == RING:
            first = position[:, None]
        else:
            group = tl.load(groups + column, mask=fits, other=0)
            first = tl.load(values + (cell * count)[:, None] + group[None, :], where, other=-1)
        offset = tl.load(offsets + column, mask=fits, other=0)
        at = own[:, None] + (first + offset[None, :])
        found = tl.load(at, mask=where & (first >= 0), other=0.0).to(tl.float32)
    return found


@triton.jit  # type: ignore[untyped-decorator]
def _with_operand(y, o, STEP: tl.constexpr):  # type: ignore[no-untyped-def]
    if STEP < 20:
        y = y + o
    elif STEP < 24:
        y = y - o
    elif STEP < 28:
        y = y * o
    else:
        y = tl.div_rn(y, tl.broadcast_to(o, y.shape))
    return y


@triton.jit  # type: ignore[untyped-decorator]
def _chain(y, CHAIN: tl.constexpr, x0, x1, x2, x3):  # type: ignore[no-untyped-def]
    """The steps of y; ``x0``: operand 0."""
    for i in tl.static_range(N_STEPS):
        if (CHAIN >> (5 * i)) & 31 > 15:
            if (CHAIN >> (5 * i)) & 3 == 0:
                y = _with_operand(y, x0, (CHAIN >> (5 * i)) & 31)
            elif (CHAIN >> (5 * i)) & 3 == 1:
                y = _with_operand(y, x1, (CHAIN >> (5 * i)) & 31)
            elif (CHAIN >> (5 * i)) & 3 == 2:
                y = _with_operand(y, x2, (CHAIN >> (5 * i)) & 31)
            else:
                y = _with_operand(y, x3, (CHAIN >> (5 * i)) & 31)
        elif (CHAIN >> (5 * i)) & 31 > 0:
            y = unary(y, ((CHAIN >> (5 * i)) & 31) - 1)
    return y


# What changes from request to request is not specialised: it would compile the kernel anew.
@triton.jit(do_not_specialize=["samples", "cells", "subtimes"])  # type: ignore[untyped-decorator]
def wavefront_stage_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915
    cache, subtime, reads, groups, offsets, weight, bias, writes, out_offsets,
    v0, g0, o0, c0,
    v1, g1, o1, c1,
    v2, g2, o2, c2,
    v3, g3, o3, c3,
    samples, cells, subtimes, elements,
    K: tl.constexpr, N: tl.constexpr, GROUPS: tl.constexpr,
    RUN: tl.constexpr, ALIGNED: tl.constexpr,
    BEFORE: tl.constexpr, MOVES_ZERO: tl.constexpr, CHAIN: tl.constexpr, SORTS: tl.constexpr,
    PRECISION: tl.constexpr, WIDEN: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Rows of program_id(0), columns of program_id(1). ``v0``: an operand's values or positions,
    with its groups, offsets and count of groups. RUN, ALIGNED: see ``Columns``. BEFORE: a unary
    kind or -1. MOVES_ZERO: what it makes of 0 is not 0. WIDEN: the same products from float32
    operands, since the interpreter multiplies bfloat16's bits.
    """
    s = tl.load(subtime)
    if (s < 0) | (s >= subtimes):
        return
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    sample = (row % samples).to(tl.int64)
    cell = s.to(tl.int64) * cells + row // samples
    exists = row < samples * cells
    SORT0: tl.constexpr = SORTS & 7
    SORT1: tl.constexpr = (SORTS >> 3) & 7
    SORT2: tl.constexpr = (SORTS >> 6) & 7
    SORT3: tl.constexpr = (SORTS >> 9) & 7
    # Places first, all at once: each load that waits for another costs as much as some products.
    write = tl.load(writes + cell, mask=exists, other=-1)
    place = reads + cell * GROUPS
    if RUN > 0:
        first = tl.load(place, mask=exists, other=-1)
        offset = tl.load(offsets)
    p0 = _position(v0, cell, exists, SORT0)
    p1 = _position(v1, cell, exists, SORT1)
    p2 = _position(v2, cell, exists, SORT2)
    p3 = _position(v3, cell, exists, SORT3)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    fits = column < N
    out = tl.load(out_offsets + column, mask=fits, other=0)
    if bias is not None:
        b = tl.load(bias + column, mask=fits, other=0.0)
    if tl.max(write, 0) < 0:
        return
    active = write >= 0
    own = cache + sample * elements
    x0 = _operand(own, p0, v0, g0, o0, c0, SORT0, N, sample, cell, column, active, fits)
    x1 = _operand(own, p1, v1, g1, o1, c1, SORT1, N, sample, cell, column, active, fits)
    x2 = _operand(own, p2, v2, g2, o2, c2, SORT2, N, sample, cell, column, active, fits)
    x3 = _operand(own, p3, v3, g3, o3, c3, SORT3, N, sample, cell, column, active, fits)

    y = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    if K > 0:
        k = tl.arange(0, BLOCK_K)
        for start in range(0, K, BLOCK_K):
            if RUN > 0:  # a multiple of BLOCK_K: the block lies in one group
                inside = (active & (first >= 0))[:, None]
                # A product that the compiler sees is a multiple of ALIGNED.
                at = tl.where(inside, first[:, None] + offset, 0) // ALIGNED * ALIGNED
                at = at + start % RUN + k[None, :]
                live = fits[None, :]
                if GROUPS > 1:  # asked for before it is needed; the last block's own once more
                    following = tl.minimum(start + BLOCK_K, K - 1) // RUN
                    first = tl.load(place + following, mask=exists, other=-1)
            else:
                within = start + k < K
                group = tl.load(groups + start + k, mask=within, other=0)
                position = tl.load(
                    place[:, None] + group[None, :],
                    mask=active[:, None] & within[None, :],
                    other=-1,
                )
                inside = position >= 0
                at = position + tl.load(offsets + start + k, mask=within, other=0)[None, :]
                live = within[:, None] & fits[None, :]
            a = tl.load(own[:, None] + at, mask=inside, other=0.0)
            w = tl.load(weight + (start + k)[:, None] * N + column[None, :], mask=live, other=0.0)
            if BEFORE >= 0:
                seen = unary(a.to(tl.float32), BEFORE)
                if MOVES_ZERO:
                    seen = tl.where(inside, seen, 0.0)
                a = rounded(seen, cache.dtype.element_ty)
            if WIDEN:
                a, w = a.to(tl.float32), w.to(tl.float32)
            y = tl.dot(a, w, y, input_precision=PRECISION)
    if bias is not None:
        y += b[None, :]

    y = _chain(y, CHAIN, x0, x1, x2, x3)
    tl.store(
        own[:, None] + (write[:, None] + out[None, :]),
        rounded(y, cache.dtype.element_ty),
        mask=active[:, None] & fits[None, :],
    )


def launch_options(
    rows: int, columns: int, outputs: int, run: int, dtype: torch.dtype
) -> dict[str, Any]:
    """Block sizes, warps and stages of a launch; ``columns``: K, ``outputs``: N."""
    exact = dtype == torch.float32
    # A float32 product without tensor cores holds BLOCK_K of A and weight in registers.
    m, n = next(
        (m, n)
        for m, n in TILES
        if (m, n) == TILES[-1]
        or (
            triton.cdiv(rows, m) * triton.cdiv(outputs, n) >= ENOUGH_PROGRAMS
            and not (exact and m * n > 32 * 64)
        )
    )
    k = 32 if exact else 64
    while run and run % k:
        k //= 2
    if not run:
        k = max(16, min(k, triton.next_power_of_2(columns)))
    return {
        "BLOCK_M": m,
        "BLOCK_N": n,
        "BLOCK_K": k,
        "num_warps": 4 if exact or m * n > 16 * 32 else 2,
        # Few programs have little but their own loads under way to cover a load's wait.
        "num_stages": 6 if m == 16 else 4,
        "enable_fp_fusion": True,
    }


def _launch(
    cache: Tensor, subtime: Tensor, reads: Tensor, groups: Tensor, offsets: Tensor,
    weight: Tensor, bias: Tensor | None, writes: Tensor, out_offsets: Tensor,
    codes: Sequence[int], operands: Sequence[Tensor | RingOperand], before: int,
    columns: Columns, allow_tf32: bool,
) -> None:  # fmt: skip
    check_device("cache", cache.device)
    (n, elements), (subtimes, cells), (count, outputs) = cache.shape, writes.shape, weight.shape
    if not (n and subtimes and cells and outputs):
        return
    run = columns.run if columns.run % 16 == 0 else 0  # a block of 16 columns is the least
    options = launch_options(n * cells, count, outputs, run, cache.dtype)
    arguments: dict[str, Any] = {}
    sorts = 0
    for i in range(MAX_OPERANDS):
        parts: tuple[Any, ...] = (None, None, None, 1)
        sort = NONE.value
        if i < len(operands):
            o = operands[i]
            if isinstance(o, RingOperand):
                parts = (o.positions, o.groups, o.offsets, o.positions.shape[2])
                sort = RING.value if o.positions.shape[2] == 1 else RINGS.value
            else:
                parts = (o, None, None, 1)
                sort = FIXED.value if o.shape[0] == n and n > 1 else FIXED_FOR_ALL.value
        sorts |= sort << (3 * i)
        arguments |= dict(zip((f"v{i}", f"g{i}", f"o{i}", f"c{i}"), parts, strict=True))
    grid = (
        triton.cdiv(n * cells, options["BLOCK_M"]),
        triton.cdiv(outputs, options["BLOCK_N"]),
    )
    with device_guard(cache.device):
        wavefront_stage_kernel[grid](
            cache, subtime, reads, groups, offsets, weight, bias, writes, out_offsets,
            **arguments, samples=n, cells=cells, subtimes=subtimes, elements=elements,
            K=count, N=outputs, GROUPS=reads.shape[2],
            RUN=run, ALIGNED=columns.aligned,
            BEFORE=before, MOVES_ZERO=before >= 0 and KINDS[before] in MOVES_ZERO,
            CHAIN=sum(code << (5 * i) for i, code in enumerate(codes)), SORTS=sorts,
            PRECISION="tf32" if allow_tf32 else "ieee",
            WIDEN=INTERPRETED and cache.dtype == torch.bfloat16,
            **options,
        )  # fmt: skip


def _decoded(code: int) -> Step:
    if code < 16:
        return "unary", KINDS[code - 1]
    return WITH_OPERAND[(code - 16) // 4], code % 4


def _stage(
    cache: Tensor, subtime: Tensor, reads: Tensor, groups: Tensor, offsets: Tensor,
    weight: Tensor, bias: Tensor | None, writes: Tensor, out_offsets: Tensor,
    codes: Sequence[int], operands: Sequence[Tensor], rings: Sequence[int], before: int,
    run: int, aligned: int, allow_tf32: bool,
) -> None:  # fmt: skip
    """The op. ``operands``: three tensors for each ring among them, one for each other; ``rings``:
    1 for a ring, 0 for a tensor, in their order.
    """
    parts = iter(operands)
    whole: list[Tensor | RingOperand] = []
    for ring in rings:
        whole.append(RingOperand(next(parts), next(parts), next(parts)) if ring else next(parts))
    tables = (cache, subtime, reads, groups, offsets, weight, bias, writes, out_offsets)
    columns = Columns(run, aligned)
    if columns != ANY and cache.device.type == "cpu":
        _check_promise(columns, columns_of(reads, groups, offsets))
    if runs_reference(cache.device):
        kind = None if before < 0 else KINDS[before]
        wavefront_stage_reference(*tables, [_decoded(c) for c in codes], whole, kind)
    else:
        _launch(*tables, codes, whole, before, columns, allow_tf32)


def _check_promise(promised: Columns, found: Columns) -> None:
    if promised.run != found.run or found.aligned % promised.aligned:
        raise FastdiffError(f"columns: expected what the tables hold, {found}, got {promised}")


OP = torch.library.custom_op(
    "fastdiff::wavefront_stage",
    _stage,
    mutates_args=("cache",),
    schema=(
        "(Tensor(a!) cache, Tensor subtime, Tensor reads, Tensor groups, Tensor offsets, "
        "Tensor weight, Tensor? bias, Tensor writes, Tensor out_offsets, int[] codes, "
        "Tensor[] operands, int[] rings, int before, int run, int aligned, bool allow_tf32) -> ()"
    ),
)


@OP.register_fake
def _fake(*_: object) -> None:
    pass


def wavefront_stage(
    cache: Tensor,
    subtime: Tensor,
    reads: Tensor,
    groups: Tensor,
    offsets: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    writes: Tensor,
    out_offsets: Tensor,
    steps: Sequence[Step] = (),
    operands: Sequence[Tensor | RingOperand] = (),
    before: str | None = None,
    *,
    columns: Columns = ANY,
    allow_tf32: bool = False,
) -> None:
    """Evaluates a stage at the cells that are active at a subtime, in place in ``cache``.

    ``cache``: float32, bfloat16 or float16 [n, E], contiguous. ``subtime``: int32 [1], a row of the
    tables; outside of 0 .. S - 1 nothing is done. ``reads``: int32 [S, M, G], the first element of
    each group of each cell, -1 outside of the image. ``groups``, ``offsets``: int32 [K]. ``weight``
    [K, N] of the cache's dtype, K may be 0. ``bias``: float32 [N] or None. ``writes``: int32
    [S, M], the first element of what a cell makes, -1 where it is not active.
    ``out_offsets``: int32 [N].

        A[k] = before(cache[b, reads[s, m, groups[k]] + offsets[k]]), 0 where reads is -1
        cache[b, writes[s, m] + out_offsets[j]] = steps(sum_k A[k] weight[k, j] + bias[j])

    ``steps``: up to 8 of ("unary", kind), ("add", i), ("sub", i), ("mul", i), ("div", i).
    ``operands``: up to 4, a ``RingOperand`` or a tensor float32 [n, N] or [1, N], the same at every
    cell. ``before``: a unary kind; a zero from outside stays zero. All of it float32, rounded once
    at the end (and A to the cache's dtype after ``before``). A stage must not read what it writes.

    ``columns``: what ``columns_of`` said of the tables; a promise that is trusted on a GPU.
    ``allow_tf32``: float32 products with 10 bits of mantissa, on tensor cores.

    Raises FastdiffError where an argument is wrong. Places are not checked.
    """
    check_tensor("cache", cache, DTYPES, [-1, -1], contiguous=True)
    n = cache.shape[0]
    check_tensor("subtime", subtime, INTS, [1])
    check_tensor("writes", writes, INTS, [-1, -1], contiguous=True)
    subtimes, cells = writes.shape
    check_tensor("reads", reads, INTS, [subtimes, cells, -1], contiguous=True)
    check_tensor("weight", weight, (cache.dtype,), [-1, -1], contiguous=True)
    count, outputs = weight.shape
    check_tensor("groups", groups, INTS, [count], contiguous=True)
    check_tensor("offsets", offsets, INTS, [count], contiguous=True)
    if bias is not None:
        check_tensor("bias", bias, (torch.float32,), [outputs], contiguous=True)
    check_tensor("out_offsets", out_offsets, INTS, [outputs], contiguous=True)
    flat: list[Tensor] = []
    if len(operands) > MAX_OPERANDS:
        raise FastdiffError(f"operands: expected at most {MAX_OPERANDS}, got {len(operands)}")
    for i, o in enumerate(operands):
        name = f"operands[{i}]"
        if isinstance(o, RingOperand):
            check_tensor(f"{name}.positions", o.positions, INTS, [subtimes, cells, -1], True)
            check_tensor(f"{name}.groups", o.groups, INTS, [outputs], True)
            check_tensor(f"{name}.offsets", o.offsets, INTS, [outputs], True)
            flat += [o.positions, o.groups, o.offsets]
        else:
            rows = 1 if isinstance(o, Tensor) and o.dim() == 2 and o.shape[0] == 1 else n
            check_tensor(name, o, (torch.float32,), [rows, outputs], contiguous=True)
            flat.append(o)
    if len(steps) > MAX_STEPS:
        raise FastdiffError(f"steps: expected at most {MAX_STEPS}, got {len(steps)}")
    codes = [_code(step, len(operands)) for step in steps]
    if before is not None and before not in KINDS:
        raise FastdiffError(f"before: expected one of {', '.join(KINDS)}, got {before!r}")
    run, width = columns.run, reads.shape[2]
    if (run and run * width != count) or columns.aligned not in (1, 2, 4, 8, 16):
        raise FastdiffError(
            f"columns: expected those of {count} columns in {width} groups, got {columns}"
        )
    check_same_device(
        cache, "cache", subtime=subtime, reads=reads, groups=groups, offsets=offsets,
        weight=weight, bias=bias, writes=writes, out_offsets=out_offsets,
        **{f"operands, tensor {i}": tensor for i, tensor in enumerate(flat)},
    )  # fmt: skip
    OP(
        cache, subtime, reads, groups, offsets, weight, bias, writes, out_offsets, codes, flat,
        [int(isinstance(o, RingOperand)) for o in operands],
        -1 if before is None else KINDS.index(before), columns.run, columns.aligned, allow_tf32,
    )  # fmt: skip


def _code(step: object, operands: int) -> int:
    match step:
        case ("unary", str(kind)) if kind in KINDS:
            return 1 + KINDS.index(kind)
        case (str(name), int(i)) if name in WITH_OPERAND and 0 <= i < operands:
            return 16 + 4 * WITH_OPERAND.index(name) + i
    raise FastdiffError(
        f"steps: expected ('unary', kind) with a kind among {', '.join(KINDS)}, or one of "
        f"{', '.join(WITH_OPERAND)} with one of {operands} operands, got {step!r}"
    )
