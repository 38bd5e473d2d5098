"""One row of a sampler after the network has answered, in one pass over memory.

For sample b at row k = rows[b] of the table (``fastdiff/samplers/table.py``), in float32:

    m       = uncond + guidance * (m - uncond) where k < guided_rows, times factor
    x0      = clamp(x0_from_x x_k + x0_from_m m, x0_lo, x0_hi)
    m_k     = (x0 - x0_from_x x_k) / x0_from_m where clamp_m is 1, else m
    x_{k+1} = sum_j x[j] x_{k-j} + sum_j m[j] m_{k-j} + x0 weight * x0 + noise z_k
    x_{k+1} = mask x_{k+1} + (1 - mask) (alpha[k+1] image + sigma[k+1] eps)
    model_in = in_scale[k+1] x_{k+1}

Row, table and count are read from device memory, so that one captured launch serves every row.

Layout: a program makes BLOCK elements of one sample; what depends on the row is the same for all
of it. Moves, in bytes per element: 8 for x, 2 or 4 for m and as much for model_in (twice that
under guidance: uncond, and both halves of model_in); with history 4 to write each of the two rings
and 4 per older x or m whose weight in this row is not 0; 4 for the image, 4 / C for the mask, 4 to
write x0. DDIM with a bfloat16 network: 12; guided: 16. Noise costs no memory and is made only
where its weight is not 0. Contiguous tensors take 8 or 16 bytes a thread at once; channels-last
ones are reached element by element, C * 2 or C * 4 bytes apart, and count on L2 to put the
channels' sectors together. Not yet measured on a GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastdiff.errors import FastdiffError
from fastdiff.samplers.table import INDEX, M_DEPTH, WIDTH, X_DEPTH

from .launch import (
    check_device,
    check_same_device,
    check_tensor,
    device_guard,
    row_grid,
    runs_reference,
)
from .reference_update import sampler_update_reference
from .sampler_tile import (
    ALPHA,
    BLOCK,
    COLUMNS,
    DTYPES,
    NUM_WARPS,
    SIGMA,
    check_model_in,
    dense,
    kept_mixed,
    normal_tile,
    store_model_in,
    strides,
    this_tile,
    tile_pointers,
    tiling,
)

IN_SCALE, NOISE = tl.constexpr(INDEX["in_scale"]), tl.constexpr(INDEX["noise"])
M0, X0 = tl.constexpr(INDEX["m[0]"]), tl.constexpr(INDEX["x[0]"])  # older ones follow
CLEAN = tl.constexpr(INDEX["x0"])
FROM_X, FROM_M = tl.constexpr(INDEX["x0_from_x"]), tl.constexpr(INDEX["x0_from_m"])
LOW, HIGH = tl.constexpr(INDEX["x0_lo"]), tl.constexpr(INDEX["x0_hi"])
CLAMP_M = tl.constexpr(INDEX["clamp_m"])


@triton.jit  # type: ignore[untyped-decorator]
def _with_past(  # type: ignore[no-untyped-def]
    total, past, weights, k, row, start, batch, size, live,
    DEPTH: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """total + sum_j weights[j] * (what row k - j left in slot (k - j) % DEPTH), j = 1 .. DEPTH.

    A slot that no row of this request has filled, or whose weight is 0, is not read: it may hold
    anything.
    """
    for back in tl.static_range(1, DEPTH + 1):
        weight = tl.where(k >= back, tl.load(weights + back), 0.0)
        slot = ((k + DEPTH - back) % DEPTH).to(tl.int64)
        pointers = tile_pointers(
            past, slot * batch + row, start, size, 0, 0, 0, True, 1, 1, WIDE, True, BLOCK
        )
        # Predicated, not a branch: the loads of all slots are under way together.
        used = live & (tl.broadcast_to(weight, [BLOCK]) != 0.0)
        total = tl.fma(weight, tl.load(pointers, mask=used, other=0.0), total)
    return total


@triton.jit
def _guided(cond, pointers, guidance, factor, row, guided, live):  # type: ignore[no-untyped-def]
    """(u + guidance * (cond - u)) * factor where ``guided``, with u at ``pointers``; else cond."""
    uncond = tl.load(pointers, mask=live & guided, other=0.0).to(tl.float32)
    m = tl.fma(tl.load(guidance + row), cond - uncond, uncond)
    if factor is not None:
        m *= tl.load(factor + row)
    return tl.where(guided, m, cond)


@triton.jit  # type: ignore[untyped-decorator]
def _store_past(  # type: ignore[no-untyped-def]
    past, value, k, row, start, batch, size, live,
    DEPTH: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Puts what row k saw into its slot."""
    slot = (k % DEPTH).to(tl.int64) * batch + row
    pointers = tile_pointers(past, slot, start, size, 0, 0, 0, True, 1, 1, WIDE, True, BLOCK)
    tl.store(pointers, value, mask=live)


# batch and size are not specialised: a kernel for each "divisible by 16" would be compiled anew.
@triton.jit(do_not_specialize=["batch", "size"])  # type: ignore[untyped-decorator]
def sampler_update_kernel(  # type: ignore[no-untyped-def]
    x, m, table, rows, count, seeds, x_past, m_past, model_in,
    uncond, guidance, factor, guided_rows, image, mask, x0,
    batch, size,
    m_b, m_c, m_h, m_w,
    uncond_b, uncond_c, uncond_h, uncond_w,
    in_b, in_c, in_h, in_w,
    X_PAST: tl.constexpr, M_PAST: tl.constexpr, TWICE: tl.constexpr,
    M_DENSE: tl.constexpr, UNCOND_DENSE: tl.constexpr, IN_DENSE: tl.constexpr,
    PIXELS: tl.constexpr, ROW: tl.constexpr,
    WIDE: tl.constexpr, BIG: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The row of sample program_id(0), BLOCK elements of it; pointers that are None take no part.

    TWICE: model_in has 2 * batch samples, both halves alike. The others: see sampler_tile.py.
    """
    row, tile, start, live = this_tile(size, WIDE, BLOCK)
    k, rows_used = tl.load(rows + row), tl.load(count)
    # Asked for before the row is known, since neither waits for the other.
    x_pointers = tile_pointers(x, row, start, size, 0, 0, 0, True, PIXELS, ROW, WIDE, BIG, BLOCK)
    now = tl.load(x_pointers, mask=live, other=0.0)
    answer = tl.load(
        tile_pointers(m, row, start, m_b, m_c, m_h, m_w, M_DENSE, PIXELS, ROW, WIDE, BIG, BLOCK),
        mask=live,
        other=0.0,
    ).to(tl.float32)
    if k >= rows_used:
        return

    weights = table + k.to(tl.int64) * COLUMNS
    if uncond is not None:
        limit = rows_used
        if guided_rows is not None:
            limit = tl.load(guided_rows)
        pointers = tile_pointers(
            uncond, row, start, uncond_b, uncond_c, uncond_h, uncond_w,
            UNCOND_DENSE, PIXELS, ROW, WIDE, BIG, BLOCK,
        )  # fmt: skip
        guided = tl.broadcast_to(k, [BLOCK]) < limit
        answer = _guided(answer, pointers, guidance, factor, row, guided, live)

    from_x, from_m = tl.load(weights + FROM_X), tl.load(weights + FROM_M)
    free = tl.fma(from_x, now, from_m * answer)
    clean = tl.maximum(free, tl.load(weights + LOW), propagate_nan=tl.PropagateNan.ALL)
    clean = tl.minimum(clean, tl.load(weights + HIGH), propagate_nan=tl.PropagateNan.ALL)
    if x0 is not None:
        tl.store(
            tile_pointers(x0, row, start, size, 0, 0, 0, True, PIXELS, ROW, WIDE, BIG, BLOCK),
            clean,
            mask=live,
        )
    clamp_m = tl.load(weights + CLAMP_M)
    inverse = tl.div_rn(1.0, tl.where(clamp_m != 0.0, from_m, 1.0))
    clamps = tl.broadcast_to(clamp_m, [BLOCK]) != 0.0
    # An output whose x0 lies inside the bounds stays as it is, to the last digit.
    moved = tl.fma(-from_x, now, clean) * inverse
    answer = tl.where(clamps & (clean != free), moved, answer)

    total = tl.fma(tl.load(weights + M0), answer, tl.load(weights + X0) * now)
    if X_PAST:
        total = _with_past(
            total, x_past, weights + X0, k, row, start, batch, size, live, X_PAST, WIDE, BLOCK
        )
    if M_PAST:
        total = _with_past(
            total, m_past, weights + M0, k, row, start, batch, size, live, M_PAST, WIDE, BLOCK
        )
    clean_weight = tl.load(weights + CLEAN)
    # A row that does not use x0 must not see it: 0 * inf would be nan.
    total = tl.where(clean_weight != 0.0, tl.fma(clean_weight, clean, total), total)
    noise_weight = tl.load(weights + NOISE)
    seed = tl.load(seeds + row)
    if noise_weight != 0.0:
        total = tl.fma(noise_weight, normal_tile(seed, k, 1, tile, BLOCK), total)

    more = k + 1 < rows_used
    following = weights + COLUMNS
    if mask is not None:
        total = kept_mixed(
            total, image, mask,
            tl.load(following + ALPHA, mask=more, other=1.0),  # after the last row: the image
            tl.load(following + SIGMA, mask=more, other=0.0),
            seed, row, start, tile, size, live, PIXELS, WIDE, BIG, BLOCK,
        )  # fmt: skip

    if X_PAST or M_PAST:
        # The slot written is one that was read; nothing says that the same thread did it.
        tl.debug_barrier()
    if X_PAST:
        _store_past(x_past, now, k, row, start, batch, size, live, X_PAST, WIDE, BLOCK)
    if M_PAST:
        _store_past(m_past, answer, k, row, start, batch, size, live, M_PAST, WIDE, BLOCK)
    tl.store(x_pointers, total, mask=live)
    store_model_in(
        model_in, tl.load(following + IN_SCALE, mask=more, other=1.0) * total,
        row, batch, start, live, in_b, in_c, in_h, in_w,
        TWICE, IN_DENSE, PIXELS, ROW, WIDE, BIG, BLOCK,
    )  # fmt: skip


def _launch(
    x: Tensor,
    m: Tensor,
    table: Tensor,
    rows: Tensor,
    count: Tensor,
    seeds: Tensor,
    x_past: Tensor,
    m_past: Tensor,
    model_in: Tensor,
    uncond: Tensor | None,
    guidance: Tensor | None,
    factor: Tensor | None,
    guided_rows: Tensor | None,
    image: Tensor | None,
    mask: Tensor | None,
    x0: Tensor | None,
) -> None:
    check_device("x", x.device)
    if not x.numel():
        return
    batch, size = x.shape[0], x[0].numel()
    other = m if uncond is None else uncond
    with device_guard(x.device):
        sampler_update_kernel[row_grid(batch, triton.cdiv(size, BLOCK))](
            x, m, table, rows, count, seeds, x_past, m_past, model_in,
            uncond, guidance, factor, guided_rows, image, mask, x0,
            batch, size,
            *strides(m), *strides(other), *strides(model_in),
            X_PAST=x_past.shape[0],
            M_PAST=m_past.shape[0],
            TWICE=model_in.shape[0] == 2 * batch,
            M_DENSE=dense(m),
            UNCOND_DENSE=dense(other),
            IN_DENSE=dense(model_in),
            **tiling(x, [m, other, model_in], mask is not None),
            num_warps=NUM_WARPS,
            enable_fp_fusion=False,  # what must be fused says so
        )  # fmt: skip


OP = torch.library.custom_op(
    "fastdiff::sampler_update",
    _launch,
    mutates_args=("x", "x_past", "m_past", "model_in", "x0"),
    schema="(Tensor(a!) x, Tensor m, Tensor table, Tensor rows, Tensor count, Tensor seeds, "
    "Tensor(b!) x_past, Tensor(c!) m_past, Tensor(d!) model_in, Tensor? uncond, "
    "Tensor? guidance, Tensor? factor, Tensor? guided_rows, Tensor? image, Tensor? mask, "
    "Tensor(e!)? x0) -> ()",
)


@OP.register_fake
def _fake(*_: Tensor | None) -> None:
    pass  # all is in place


@OP.register_kernel("cpu")
def _on_cpu(x: Tensor, *others: Tensor | None) -> None:
    (sampler_update_reference if runs_reference(x.device) else _launch)(x, *others)  # type: ignore[arg-type]


def sampler_update(
    x: Tensor,
    m: Tensor,
    table: Tensor,
    rows: Tensor,
    count: Tensor,
    seeds: Tensor,
    x_past: Tensor,
    m_past: Tensor,
    model_in: Tensor,
    uncond: Tensor | None = None,
    guidance: Tensor | None = None,
    factor: Tensor | None = None,
    guided_rows: Tensor | None = None,
    image: Tensor | None = None,
    mask: Tensor | None = None,
    x0: Tensor | None = None,
) -> None:
    """Runs each sample's row on the network's output, in place; the equations stand above.

    ``x``: float32 [B, C, H, W] contiguous, x_k before and x_{k+1} after. ``m``: the network's
    output, under guidance the conditional one, like x in float32, bfloat16 or float16, of any
    strides. ``table``: float32 [K, 19] contiguous, ``SamplerTable.rows``, of which the first
    ``count`` rows, int32 [1], are in use (count <= K). ``rows``: int32 [B], the row k >= 0 each
    sample is at; a sample with k >= count is finished, and nothing of it is written. The caller
    counts rows up. ``seeds``: int64 [B], the bits of the unsigned seeds; row k's noise is
    normal(seed, k, stream 1).

    ``x_past``: float32 [X - 1, B, C, H, W] contiguous, where X = 1 .. 4 is the table's
    ``x_depth``: x_{k-j} lies in slot (k - j) % (X - 1), and x_k is put into its own. ``m_past``:
    the same for outputs, guided and clamped, and ``m_depth``. Slots need no clearing between
    requests. ``model_in``: [B, C, H, W], or [2 B, C, H, W] for both halves of a guided call, in
    one of m's dtypes and of any strides: in_scale[k+1] x_{k+1} is written, x itself after the last
    row.

    ``uncond``: the unconditional output, as m; ``guidance``: float32 [B]; only with each other.
    ``factor``: float32 [B], multiplies the guided output. ``guided_rows``: int32 [1], from this
    row on m alone is used; None guides them all. ``image``: float32 [B, C, H, W] and ``mask``:
    float32 [B, 1, H, W] in [0, 1], 1 where the image is drawn anew, contiguous and only with each
    other; eps is normal(seed, 0, stream 0), and after the last row the kept part is the image's
    own. ``x0``: like x, gets this row's clamped prediction of the clean image.

    What is written may not overlap anything else. Raises FastdiffError where an argument is wrong.
    """
    check_tensor("x", x, (torch.float32,), [-1, -1, -1, -1], contiguous=True)
    batch = x.shape[0]
    check_tensor("m", m, DTYPES, x.shape)
    check_tensor("table", table, (torch.float32,), [-1, WIDTH], contiguous=True)
    check_tensor("rows", rows, (torch.int32,), [batch], contiguous=True)
    check_tensor("count", count, (torch.int32,), [1])
    check_tensor("seeds", seeds, (torch.int64,), [batch], contiguous=True)
    for name, past, depth in (("x_past", x_past, X_DEPTH), ("m_past", m_past, M_DEPTH)):
        check_tensor(name, past, (torch.float32,), [-1, *x.shape], contiguous=True)
        if past.shape[0] >= depth:
            raise FastdiffError(f"{name}: expected at most {depth - 1} slots, got {past.shape[0]}")
    check_model_in(model_in, x)
    for first, second, one, other in (
        ("uncond", "guidance", uncond, guidance),
        ("image", "mask", image, mask),
    ):
        if (one is None) != (other is None):
            given, missing = (first, second) if other is None else (second, first)
            raise FastdiffError(f"{missing}: expected with {given}, got None")
    for name, value in (("factor", factor), ("guided_rows", guided_rows)):
        if value is not None and uncond is None:
            raise FastdiffError(f"{name}: expected only with uncond and guidance")
    floats = (torch.float32,)
    for name, value, dtypes, shape, contiguous in (
        ("uncond", uncond, DTYPES, x.shape, False),
        ("guidance", guidance, floats, [batch], True),
        ("factor", factor, floats, [batch], True),
        ("guided_rows", guided_rows, (torch.int32,), [1], True),
        ("image", image, floats, x.shape, True),
        ("mask", mask, floats, [batch, 1, *x.shape[2:]], True),
        ("x0", x0, floats, x.shape, True),
    ):
        if value is not None:
            check_tensor(name, value, dtypes, shape, contiguous)
    check_same_device(
        x, "x", m=m, table=table, rows=rows, count=count, seeds=seeds, x_past=x_past,
        m_past=m_past, model_in=model_in, uncond=uncond, guidance=guidance, factor=factor,
        guided_rows=guided_rows, image=image, mask=mask, x0=x0,
    )  # fmt: skip
    OP(
        x, m, table, rows, count, seeds, x_past, m_past, model_in,
        uncond, guidance, factor, guided_rows, image, mask, x0,
    )  # fmt: skip
