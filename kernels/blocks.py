"""Tensors as [samples, middle, last]: what the kernels with a step chain know of shapes and memory.

A *block* is a run of dimensions that the kernels index by one number: of [B, C, H, W] the blocks
are samples, channels and pixels, of [B, N, D] under a layer norm samples, rows and D. So one kernel
serves every number of dimensions, and both memory formats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fastdiff.errors import FastdiffError

Blocks = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
MAX_SAMPLE = 2**31 - 1  # elements of a sample: within one, kernels index with 32 bits


def channel_blocks(dims: int, channel_dim: int = 1) -> Blocks:
    """Dimensions of samples, channels and pixels of a tensor of ``dims`` dimensions."""
    channel = channel_dim % dims
    return (0,), (channel,), tuple(d for d in range(1, dims) if d != channel)


def last_blocks(dims: int, last: int) -> Blocks:
    """Dimensions of samples, of what follows them, and the ``last`` ones."""
    return (0,), tuple(range(1, dims - last)), tuple(range(dims - last, dims))


def sizes_by_block(shape: Sequence[int], blocks: Blocks) -> tuple[int, int, int]:
    """How many indices each block has."""
    # Lists, not generators: torch.compile sees through these alone.
    samples, middle, last = [math.prod([shape[d] for d in block]) for block in blocks]
    return samples, middle, last


def innermost(x: Tensor, blocks: Blocks) -> int | None:
    """The block, 1 or 2, that runs with stride 1 through x's gapless memory, or None if x has gaps
    or another order. Of two (one has a single index) the larger.
    """
    samples, middle, last = sizes_by_block(x.shape, blocks)
    sizes, strides = (samples, middle, last), [_stride(x, block) for block in blocks]
    for inner, expected in (
        (2, (middle * last, last, 1)),
        (1, (middle * last, 1, middle)),
    ):
        if inner == 2 and last == 1:
            continue
        pairs = zip(sizes, strides, expected, strict=True)
        if all(size == 1 or stride == want for size, stride, want in pairs):
            return inner
    return None


def gapless(x: Tensor, blocks: Blocks) -> Tensor:
    """x, or where its memory is in no order that the kernels know, a contiguous copy."""
    return x.contiguous() if innermost(x, blocks) is None else x


def empty_output(x: Tensor, blocks: Blocks) -> Tensor:
    """An uninitialised tensor in x's dtype and memory format; contiguous where x has gaps."""
    if innermost(x, blocks) is None:
        return x.new_empty(x.shape)
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)


def check_sample(x: Tensor) -> None:
    """Refuses samples of more elements than 32 bits index."""
    elements = math.prod(x.shape[1:])
    if elements > MAX_SAMPLE:
        raise FastdiffError(
            f"x: expected samples of at most {MAX_SAMPLE} elements, got {elements}: {list(x.shape)}"
        )


def spread(operand: Tensor, x: Tensor, blocks: Blocks) -> tuple[Tensor, tuple[int, int, int]]:
    """The operand over x's shape, with a stride for each block, 0 where it is broadcast.

    An operand whose memory has no such strides is copied into x's memory format first.
    """
    view = operand.expand(x.shape)
    strides = strides_by_block(view, blocks)
    if strides is None:
        view = torch.empty_like(x, dtype=operand.dtype).copy_(view)
        strides = strides_by_block(view, blocks)
    return view, strides or (0, 0, 0)


def strides_by_block(view: Tensor, blocks: Blocks) -> tuple[int, int, int] | None:
    """The stride that runs through each block, 0 where it has one index or is broadcast, or None
    where some block has no such stride.
    """
    samples, middle, last = (_stride(view, block) for block in blocks)
    if samples is None or middle is None or last is None:
        return None
    return samples, middle, last


def alignment(*extents: int) -> int:
    """The largest power of two up to 16 that divides all: how far loads can be widened."""
    return math.gcd(16, *extents)


def _stride(view: Tensor, block: Sequence[int]) -> int | None:
    """The one stride that runs through a block, or None where there is none."""
    step = extent = 0
    for d in reversed(block):
        size, stride = view.shape[d], view.stride(d)
        if size == 1:
            continue
        if not extent:
            step, extent = stride, 1
        elif stride != step * extent:
            return None
        extent *= size
    return step
