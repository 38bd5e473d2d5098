"""The kernels under group norm and layer norm: statistics of a group, then normalise, then a chain.

A group is a matrix of rows and columns whose columns lie side by side: the pixels of its channels
where x is contiguous, its channels at every pixel where x is channels-last, one row under a layer
norm. A program has INSTANCES groups at once, where a group is small, or where its columns are so
few that their neighbours share a piece of memory. Three ways, by a group's size:

    one tile   up to WHOLE elements: read once, kept in registers, written once
    loop       larger: a program reads its group twice, the second time mostly from L2; written once
    split      larger and fewer than PROGRAMS: PARTS programs a group leave (count, pivot, mean,
               M2) in scratch memory, and a second launch merges them, in the order of their
               numbers and never by atomics, before it normalises

So x moves twice (read, written) plus a read that L2 may serve; scratch is 16 bytes a part. What is
written may go to a slot of a concatenation, too, or to that alone.
``kernels/normalise_launch.py`` chooses. Not yet measured on a GPU.

Statistics are float32 and hold where mean >> std. One tile: m0 = sum(x) / n, d = x - m0, and then
mean - m0 and var from d. Otherwise d = x - pivot, the pivot the mean of the first tile of the part;
it can be no farther from the mean than std * sqrt(n / tile), which bounds what var loses by
cancellation. The mean stays a sum of two float32, y = ((x - mean) - rest) / sqrt(var + eps): at
mean 1000 std, one float32 alone would be up to 3e-5 std off.
"""

import triton
import triton.language as tl

from .activations import rounded
from .steps import apply_steps, load_operand

# What a launch of the loop does: all of it, or one half of the split.
BOTH, STATISTICS, NORMALISE = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)


@triton.jit
def total(v):  # type: ignore[no-untyped-def]
    """The sum of every instance, [INSTANCES, 1, 1]."""
    return tl.sum(tl.sum(v, axis=2, keep_dims=True), axis=1, keep_dims=True)


@triton.jit  # type: ignore[untyped-decorator]
def finish(  # type: ignore[no-untyped-def]
    y,
    out,
    where,
    slot,
    slot_sample, slot_group, slot_row, slot_column,
    weight,
    bias,
    w_group, w_row, w_column,
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
    CHAIN: tl.constexpr,
    FORMS: tl.constexpr,
    WEIGHT_FORM: tl.constexpr,
):  # fmt: skip
    """Weight, bias and chain of a normalised tile, written to ``where`` in ``out`` and to its place
    in ``slot``; either may be none.
    """
    if weight is not None:
        y *= load_operand(
            weight, 0, w_group, w_row, w_column, WEIGHT_FORM,
            sample, group, row, column, instance_fits, row_fits, column_fits,
        )  # fmt: skip
    if bias is not None:
        y += load_operand(
            bias, 0, w_group, w_row, w_column, WEIGHT_FORM,
            sample, group, row, column, instance_fits, row_fits, column_fits,
        )  # fmt: skip
    y = apply_steps(
        y, CHAIN, FORMS,
        o0, s0, g0, r0, c0,
        o1, s1, g1, r1, c1,
        o2, s2, g2, r2, c2,
        o3, s3, g3, r3, c3,
        sample, group, row, column, instance_fits, row_fits, column_fits,
    )  # fmt: skip
    fits = instance_fits & row_fits & column_fits
    if out is not None:
        tl.store(out + where, rounded(y, out.dtype.element_ty), mask=fits)
    if slot is not None:
        there = sample * slot_sample + group * slot_group
        there = there + (row * slot_row + column * slot_column)
        tl.store(slot + there, rounded(y, slot.dtype.element_ty), mask=fits)


@triton.jit  # type: ignore[untyped-decorator]
def whole_kernel(  # type: ignore[no-untyped-def]
    x,
    out,
    slot,
    slot_sample, slot_group, slot_row, slot_column,
    weight,
    bias,
    instances,
    groups,
    rows,
    width,
    x_sample, x_group, x_row,
    w_group, w_row, w_column,
    inverse_count,
    eps,
    o0, s0, g0, r0, c0,
    o1, s1, g1, r1, c1,
    o2, s2, g2, r2, c2,
    o3, s3, g3, r3, c3,
    CHAIN: tl.constexpr,
    FORMS: tl.constexpr,
    WEIGHT_FORM: tl.constexpr,
    WEIGHT_ALIGNMENT: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    SLOT_ALIGNMENT: tl.constexpr,
    INSTANCES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """Groups that are one tile. ``width`` and x's strides are in units of ALIGNMENT elements, the
    slot's but for its columns' of SLOT_ALIGNMENT, ``w_group`` of WEIGHT_ALIGNMENT.
    """
    columns = width * ALIGNMENT  # so the compiler sees what divides it
    instance = (tl.program_id(0) * INSTANCES + tl.arange(0, INSTANCES))[:, None, None]
    sample, group = (instance // groups).to(tl.int64), (instance % groups).to(tl.int64)
    row = tl.arange(0, ROWS)[None, :, None]
    column = tl.arange(0, COLUMNS)[None, None, :]
    instance_fits, row_fits, column_fits = instance < instances, row < rows, column < columns
    fits = instance_fits & row_fits & column_fits
    where = sample * (x_sample * ALIGNMENT) + group * (x_group * ALIGNMENT)
    where = where + (row * (x_row * ALIGNMENT) + column)
    v = tl.load(x + where, mask=fits, other=0.0).to(tl.float32)
    d = tl.where(fits, v - total(v) * inverse_count, 0.0)
    delta = total(d) * inverse_count
    var = total(d * d) * inverse_count - delta * delta
    var = tl.where(var < 0, 0.0, var)  # nan passes
    finish(
        (d - delta) * tl.rsqrt(var + eps), out, where, slot,
        slot_sample * SLOT_ALIGNMENT, slot_group * SLOT_ALIGNMENT,
        slot_row * SLOT_ALIGNMENT, slot_column, weight, bias,
        w_group * WEIGHT_ALIGNMENT, w_row, w_column,
        o0, s0, g0, r0, c0,
        o1, s1, g1, r1, c1,
        o2, s2, g2, r2, c2,
        o3, s3, g3, r3, c3,
        sample, group, row, column, instance_fits, row_fits, column_fits,
        CHAIN, FORMS, WEIGHT_FORM,
    )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def tile_statistics(  # type: ignore[no-untyped-def]
    x,
    where,
    instance_fits,
    rows,
    columns,
    x_row,
    across,
    first,
    last,
    INSTANCES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """(count, pivot, delta, M2) of tiles ``first`` .. ``last`` - 1: mean = pivot + delta."""
    row = (first // across) * ROWS + tl.arange(0, ROWS)[None, :, None]
    column = (first % across) * COLUMNS + tl.arange(0, COLUMNS)[None, None, :]
    fits = instance_fits & (row < rows) & (column < columns)
    v = tl.load(x + (where + (row * x_row + column)), mask=fits, other=0.0).to(tl.float32)
    of_tile = tl.minimum(rows - (first // across) * ROWS, ROWS) * tl.minimum(
        columns - (first % across) * COLUMNS, COLUMNS
    )
    pivot = total(v) / tl.maximum(of_tile, 1)
    sums = tl.zeros([INSTANCES, ROWS, COLUMNS], tl.float32)
    squares = tl.zeros([INSTANCES, ROWS, COLUMNS], tl.float32)
    count = of_tile * 0
    for tile in range(first, last):
        row = (tile // across) * ROWS + tl.arange(0, ROWS)[None, :, None]
        column = (tile % across) * COLUMNS + tl.arange(0, COLUMNS)[None, None, :]
        fits = instance_fits & (row < rows) & (column < columns)
        v = tl.load(x + (where + (row * x_row + column)), mask=fits, other=0.0).to(tl.float32)
        d = tl.where(fits, v - pivot, 0.0)
        sums += d
        squares = tl.fma(d, d, squares)
        count += tl.minimum(rows - (tile // across) * ROWS, ROWS) * tl.minimum(
            columns - (tile % across) * COLUMNS, COLUMNS
        )
    s = total(sums)
    delta = s / tl.maximum(count, 1)
    return count, pivot, delta, total(squares) - s * delta


@triton.jit  # type: ignore[untyped-decorator]
def merged_statistics(  # type: ignore[no-untyped-def]
    scratch, instance, instance_fits, inverse_count, PARTS: tl.constexpr
):
    """(pivot, delta, M2) of all parts of a group, from what they left in ``scratch``."""
    part = (instance * PARTS + tl.arange(0, PARTS)[None, None, :]).to(tl.int64) * 4
    count = tl.load(scratch + part, mask=instance_fits, other=0.0)
    pivots = tl.load(scratch + part + 1, mask=instance_fits, other=0.0)
    deltas = tl.load(scratch + part + 2, mask=instance_fits, other=0.0)
    m2 = tl.load(scratch + part + 3, mask=instance_fits, other=0.0)
    first = instance.to(tl.int64) * (PARTS * 4)
    pivot = tl.load(scratch + first + 1, mask=instance_fits, other=0.0)
    off = tl.where(count > 0, (pivots - pivot) + deltas, 0.0)
    delta = total(count * off) * inverse_count
    off -= delta
    return pivot, delta, total(m2 + count * off * off)


@triton.jit  # type: ignore[untyped-decorator]
def loop_kernel(  # type: ignore[no-untyped-def]
    x,
    out,
    slot,
    slot_sample, slot_group, slot_row, slot_column,
    scratch,
    weight,
    bias,
    instances,
    groups,
    rows,
    width,
    x_sample, x_group, x_row,
    w_group, w_row, w_column,
    inverse_count,
    eps,
    o0, s0, g0, r0, c0,
    o1, s1, g1, r1, c1,
    o2, s2, g2, r2, c2,
    o3, s3, g3, r3, c3,
    CHAIN: tl.constexpr,
    FORMS: tl.constexpr,
    WEIGHT_FORM: tl.constexpr,
    WEIGHT_ALIGNMENT: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    SLOT_ALIGNMENT: tl.constexpr,
    INSTANCES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PARTS: tl.constexpr,
    STAGE: tl.constexpr,
):  # fmt: skip
    """Part program_id(1) of groups of many tiles. Units as in ``whole_kernel``."""
    columns = width * ALIGNMENT
    x_row = x_row * ALIGNMENT
    instance = (tl.program_id(0) * INSTANCES + tl.arange(0, INSTANCES))[:, None, None]
    sample, group = (instance // groups).to(tl.int64), (instance % groups).to(tl.int64)
    instance_fits = instance < instances
    where = sample * (x_sample * ALIGNMENT) + group * (x_group * ALIGNMENT)
    across = tl.cdiv(columns, COLUMNS)
    tiles = tl.cdiv(rows, ROWS) * across
    each = tl.cdiv(tiles, PARTS)
    first = tl.program_id(1) * each
    last = tl.minimum(first + each, tiles)
    if STAGE == NORMALISE:
        pivot, delta, m2 = merged_statistics(scratch, instance, instance_fits, inverse_count, PARTS)
    else:
        count, pivot, delta, m2 = tile_statistics(
            x, where, instance_fits, rows, columns, x_row, across, first, last,
            INSTANCES, ROWS, COLUMNS,
        )  # fmt: skip
    if STAGE == STATISTICS:
        at = scratch + (instance * PARTS + tl.program_id(1)).to(tl.int64) * 4
        tl.store(at, pivot * 0 + count, mask=instance_fits)
        tl.store(at + 1, pivot, mask=instance_fits)
        tl.store(at + 2, delta, mask=instance_fits)
        tl.store(at + 3, m2, mask=instance_fits)
    else:
        var = m2 * inverse_count
        var = tl.where(var < 0, 0.0, var)  # nan passes
        scale = tl.rsqrt(var + eps)
        mean = pivot + delta
        of_delta = mean - pivot
        rest = (pivot - (mean - of_delta)) + (delta - of_delta)  # what rounding the sum left out
        for tile in range(first, last):
            row = (tile // across) * ROWS + tl.arange(0, ROWS)[None, :, None]
            column = (tile % across) * COLUMNS + tl.arange(0, COLUMNS)[None, None, :]
            row_fits, column_fits = row < rows, column < columns
            here = where + (row * x_row + column)
            v = tl.load(x + here, mask=instance_fits & row_fits & column_fits).to(tl.float32)
            finish(
                ((v - mean) - rest) * scale, out, here, slot,
                slot_sample * SLOT_ALIGNMENT, slot_group * SLOT_ALIGNMENT,
                slot_row * SLOT_ALIGNMENT, slot_column, weight, bias,
                w_group * WEIGHT_ALIGNMENT, w_row, w_column,
                o0, s0, g0, r0, c0,
                o1, s1, g1, r1, c1,
                o2, s2, g2, r2, c2,
                o3, s3, g3, r3, c3,
                sample, group, row, column, instance_fits, row_fits, column_fits,
                CHAIN, FORMS, WEIGHT_FORM,
            )  # fmt: skip
