"""x_T of every sample and the network's first input, in one pass: the prologue of a request.

    x = init_scale * eps                  or, from an image, alpha[0] image + sigma[0] eps
    x = mask x + (1 - mask) (alpha[0] image + sigma[0] eps)
    model_in = in_scale[0] x

with eps = normal(seed, 0, stream 0), float32. Layout and strides: as in ``sampler_update.py``.
Moves, in bytes per element: 4 for x, 2 or 4 for model_in (twice that for both halves of a guided
call), 4 for the image, 4 / C for the mask. Not yet measured on a GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastdiff.errors import FastdiffError
from fastdiff.samplers.table import INDEX, WIDTH

from .launch import (
    check_device,
    check_same_device,
    check_tensor,
    device_guard,
    row_grid,
    runs_reference,
)
from .reference_update import sampler_start_reference
from .sampler_tile import (
    ALPHA,
    BLOCK,
    NUM_WARPS,
    SIGMA,
    check_model_in,
    dense,
    normal_tile,
    store_model_in,
    strides,
    this_tile,
    tile_pointers,
    tiling,
)

IN_SCALE = tl.constexpr(INDEX["in_scale"])


# batch and size are not specialised: a kernel for each "divisible by 16" would be compiled anew.
@triton.jit(do_not_specialize=["batch", "size"])  # type: ignore[untyped-decorator]
def sampler_start_kernel(  # type: ignore[no-untyped-def]
    x, table, seeds, init_scale, model_in, image, mask,
    batch, size,
    in_b, in_c, in_h, in_w,
    FROM_IMAGE: tl.constexpr, NOISE: tl.constexpr, TWICE: tl.constexpr, IN_DENSE: tl.constexpr,
    PIXELS: tl.constexpr, ROW: tl.constexpr,
    WIDE: tl.constexpr, BIG: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sample program_id(0), BLOCK elements of it; an image or mask that is None takes no part."""
    row, tile, start, live = this_tile(size, WIDE, BLOCK)
    x_pointers = tile_pointers(x, row, start, size, 0, 0, 0, True, PIXELS, ROW, WIDE, BIG, BLOCK)
    if NOISE:
        eps = normal_tile(tl.load(seeds + row), 0, 0, tile, BLOCK)
        if image is not None:
            pointers = tile_pointers(
                image, row, start, size, 0, 0, 0, True, PIXELS, ROW, WIDE, BIG, BLOCK
            )
            known = tl.load(table + ALPHA) * tl.load(pointers, mask=live, other=0.0)
            known = tl.fma(tl.load(table + SIGMA), eps, known)
        if FROM_IMAGE:
            value = known
        else:
            value = tl.load(init_scale) * eps
            if mask is not None:
                lane = tl.arange(0, BLOCK)
                element = start + lane if BIG else start.to(tl.int32) + lane
                drawn = tl.load(mask + row * PIXELS + element % PIXELS, mask=live, other=0.0)
                value = tl.fma(drawn, value, (1.0 - drawn) * known)
        tl.store(x_pointers, value, mask=live)
    else:
        value = tl.load(x_pointers, mask=live, other=0.0)
    store_model_in(
        model_in, tl.load(table + IN_SCALE) * value,
        row, batch, start, live, in_b, in_c, in_h, in_w,
        TWICE, IN_DENSE, PIXELS, ROW, WIDE, BIG, BLOCK,
    )  # fmt: skip


def _launch(
    x: Tensor,
    table: Tensor,
    seeds: Tensor,
    init_scale: Tensor,
    model_in: Tensor,
    image: Tensor | None,
    mask: Tensor | None,
    from_image: bool,
    noise: bool,
) -> None:
    check_device("x", x.device)
    if not x.numel():
        return
    batch, size = x.shape[0], x[0].numel()
    with device_guard(x.device):
        sampler_start_kernel[row_grid(batch, triton.cdiv(size, BLOCK))](
            x, table, seeds, init_scale, model_in, image, mask,
            batch, size, *strides(model_in),
            FROM_IMAGE=from_image,
            NOISE=noise,
            TWICE=model_in.shape[0] == 2 * batch,
            IN_DENSE=dense(model_in),
            **tiling(x, [model_in], mask is not None),
            num_warps=NUM_WARPS,
            enable_fp_fusion=False,  # what must be fused says so
        )  # fmt: skip


OP = torch.library.custom_op(
    "fastdiff::sampler_start",
    _launch,
    mutates_args=("x", "model_in"),
    schema="(Tensor(a!) x, Tensor table, Tensor seeds, Tensor init_scale, Tensor(b!) model_in, "
    "Tensor? image, Tensor? mask, bool from_image, bool noise) -> ()",
)


@OP.register_fake
def _fake(*_: Tensor | bool | None) -> None:
    pass  # all is in place


@OP.register_kernel("cpu")
def _on_cpu(x: Tensor, *others: Tensor | bool | None) -> None:
    run = sampler_start_reference if runs_reference(x.device) else _launch
    run(x, *others)  # type: ignore[arg-type]


def sampler_start(
    x: Tensor,
    table: Tensor,
    seeds: Tensor,
    init_scale: Tensor,
    model_in: Tensor,
    image: Tensor | None = None,
    mask: Tensor | None = None,
    from_image: bool = False,
    noise: bool = True,
) -> None:
    """Makes x_0 of every sample and the network's first input; the equations stand above.

    ``x``: float32 [B, C, H, W] contiguous, written; with ``noise`` False it is given and stays.
    ``table``: float32 [K >= 1, 19] contiguous, ``SamplerTable.rows``. ``seeds``: int64 [B], the
    bits of the unsigned seeds. ``init_scale``: float32 [1], the table's. ``model_in``:
    [B, C, H, W], or [2 B, C, H, W] whose halves get the same, in float32, bfloat16 or float16, of
    any strides. ``image``: float32 [B, C, H, W] contiguous: under ``from_image`` x starts from it,
    and where ``mask`` is given, float32 [B, 1, H, W] contiguous in [0, 1], its part with mask 0 is
    kept.

    What is written may not overlap anything else. Raises FastdiffError where an argument is wrong.
    """
    floats = (torch.float32,)
    check_tensor("x", x, floats, [-1, -1, -1, -1], contiguous=True)
    check_tensor("table", table, floats, [-1, WIDTH], contiguous=True)
    if table.shape[0] == 0:
        raise FastdiffError("table: expected at least one row, got none")
    check_tensor("seeds", seeds, (torch.int64,), [x.shape[0]], contiguous=True)
    check_tensor("init_scale", init_scale, floats, [1])
    check_model_in(model_in, x)
    if image is not None:
        check_tensor("image", image, floats, x.shape, contiguous=True)
    if mask is not None:
        check_tensor("mask", mask, floats, [x.shape[0], 1, *x.shape[2:]], contiguous=True)
    if image is None and (mask is not None or from_image):
        raise FastdiffError(
            f"image: expected with {'mask' if mask is not None else 'from_image'}, got None"
        )
    if not noise and image is not None:
        raise FastdiffError("image: expected None where x is given (noise=False)")
    check_same_device(
        x, "x", table=table, seeds=seeds, init_scale=init_scale, model_in=model_in,
        image=image, mask=mask,
    )  # fmt: skip
    OP(x, table, seeds, init_scale, model_in, image, mask, from_image, noise)
