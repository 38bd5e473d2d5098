"""What the sampler's kernels share: where a tile's elements lie, their noise, the kept image.

A tile is BLOCK elements of one sample, in the row-major order of (C, H, W), which is also the
order of the noise, whatever the strides of the tensors. With BLOCK = 4 * 32 * NUM_WARPS a thread
has four neighbours: one Philox block, and one 16-byte access of a contiguous float32 tensor.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastdiff.samplers.table import INDEX, WIDTH

from .launch import check_tensor
from .philox import box_muller, philox4x32, uniform_from_word

BLOCK = 512
NUM_WARPS = 4
# What a network may answer in, and be asked in.
DTYPES = (torch.float32, torch.bfloat16, torch.float16)

COLUMNS = tl.constexpr(WIDTH)
ALPHA, SIGMA = tl.constexpr(INDEX["alpha"]), tl.constexpr(INDEX["sigma"])


@triton.jit  # type: ignore[untyped-decorator]
def this_tile(size, WIDE: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """This program's sample, tile and first element, and which of its elements exist.

    ``size``: C * H * W. WIDE: it is a multiple of 4.
    """
    row = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1) + tl.program_id(2) * tl.num_programs(1)
    start = tile.to(tl.int64) * BLOCK
    left = size - start
    if WIDE:
        left = tl.multiple_of(left, 4)
    return row, tile, start, tl.arange(0, BLOCK) < left


@triton.jit  # type: ignore[untyped-decorator]
def normal_tile(seed, step, stream, tile, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """normal(seed, step, stream) of the tile's elements, float32 [BLOCK]; seed int64."""
    block = (tile * (BLOCK // 4) + tl.arange(0, BLOCK // 4)).to(tl.uint32)
    zero = tl.zeros_like(block)
    a, b, c, d = philox4x32(
        block,
        zero + step,
        zero + stream,
        zero,
        seed.to(tl.uint32),
        (seed >> 32).to(tl.uint32),
    )
    a, b = box_muller(uniform_from_word(a), uniform_from_word(b))
    c, d = box_muller(uniform_from_word(c), uniform_from_word(d))
    return tl.interleave(tl.interleave(a, c), tl.interleave(b, d))


@triton.jit  # type: ignore[untyped-decorator]
def tile_pointers(  # type: ignore[no-untyped-def]
    base, row, start, stride_b, stride_c, stride_h, stride_w,
    DENSE: tl.constexpr, PIXELS: tl.constexpr, ROW: tl.constexpr,
    WIDE: tl.constexpr, BIG: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Pointers to the elements start.. of sample ``row``, [BLOCK]; strides in elements.

    DENSE: a sample is contiguous, whatever the batch's stride; the rest is then not looked at.
    PIXELS: H * W; ROW: W. WIDE: starts are multiples of 4. BIG: a sample may need 64-bit offsets.
    """
    lane = tl.arange(0, BLOCK)
    if DENSE:
        first = row * stride_b + start
        if WIDE:
            first = tl.multiple_of(first, 4)
        pointers = base + first + lane
    else:
        element = start + lane if BIG else start.to(tl.int32) + lane
        pixel = element % PIXELS
        offset = (element // PIXELS) * stride_c
        offset += (pixel // ROW) * stride_h + (pixel % ROW) * stride_w
        pointers = base + row * stride_b + offset
    return pointers


@triton.jit  # type: ignore[untyped-decorator]
def kept_mixed(  # type: ignore[no-untyped-def]
    value, image, mask, alpha, sigma, seed, row, start, tile, size, live,
    PIXELS: tl.constexpr, WIDE: tl.constexpr, BIG: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """mask * value + (1 - mask) * (alpha * image + sigma * eps), float32 [BLOCK]."""
    pointers = tile_pointers(
        image, row, start, size, 0, 0, 0,
        DENSE=True, PIXELS=PIXELS, ROW=1, WIDE=WIDE, BIG=BIG, BLOCK=BLOCK,
    )  # fmt: skip
    known = alpha * tl.load(pointers, mask=live, other=0.0)
    if sigma != 0.0:
        known = tl.fma(sigma, normal_tile(seed, 0, 0, tile, BLOCK), known)
    lane = tl.arange(0, BLOCK)
    element = start + lane if BIG else start.to(tl.int32) + lane
    drawn = tl.load(mask + row * PIXELS + element % PIXELS, mask=live, other=0.0)
    return tl.fma(drawn, value, (1.0 - drawn) * known)


@triton.jit  # type: ignore[untyped-decorator]
def store_model_in(  # type: ignore[no-untyped-def]
    model_in, value, row, batch, start, live, stride_b, stride_c, stride_h, stride_w,
    TWICE: tl.constexpr, DENSE: tl.constexpr, PIXELS: tl.constexpr, ROW: tl.constexpr,
    WIDE: tl.constexpr, BIG: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes the next call's input; TWICE: of 2 * batch samples, whose halves are alike."""
    rounded = value.to(model_in.dtype.element_ty)
    for half in tl.static_range(2 if TWICE else 1):
        pointers = tile_pointers(
            model_in, row + half * batch, start, stride_b, stride_c, stride_h, stride_w,
            DENSE, PIXELS, ROW, WIDE, BIG, BLOCK,
        )  # fmt: skip
        tl.store(pointers, rounded, mask=live)


def check_model_in(model_in: Tensor, x: Tensor) -> None:
    """Refuses what the next call's input cannot be written to; once or twice as many as x."""
    if isinstance(model_in, Tensor) and model_in.dim() and model_in.shape[0] == 2 * x.shape[0]:
        check_tensor("model_in", model_in, DTYPES, model_in.shape[:1] + x.shape[1:])
    else:
        check_tensor("model_in", model_in, DTYPES, x.shape)


def dense(tensor: Tensor) -> bool:
    """Whether each sample of [B, C, H, W], B > 0, is contiguous."""
    return tensor[0].is_contiguous()


def strides(tensor: Tensor) -> tuple[int, ...]:
    """Those of [B, C, H, W], the batch's made a sample's size where one sample says nothing."""
    own = tensor.stride()
    return (tensor[0].numel() if tensor.shape[0] == 1 else own[0], *own[1:])


def tiling(x: Tensor, others: list[Tensor], with_mask: bool) -> dict[str, int | bool]:
    """The constexprs PIXELS, ROW, WIDE, BIG and BLOCK for x [B, C, H, W] and strided ``others``."""
    size, (height, width) = x[0].numel(), x.shape[2:]
    strided = [other for other in others if not dense(other)]
    by_pixel = with_mask or bool(strided)
    reach = [
        sum((n - 1) * stride for n, stride in zip(other.shape[1:], other.stride()[1:], strict=True))
        for other in strided
    ]
    return {
        # 1 where nobody asks, so that one kernel serves all sizes.
        "PIXELS": height * width if by_pixel else 1,
        "ROW": width if strided else 1,
        "WIDE": all(n % 4 == 0 for n in [size, *(strides(o)[0] for o in others if dense(o))]),
        "BIG": max([size + BLOCK, *reach]) >= 2**31,
        "BLOCK": BLOCK,
    }
