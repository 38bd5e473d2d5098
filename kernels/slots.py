"""Slots: where a kernel writes its output besides, or instead of, a tensor of its own; as a rule
the channels of a concatenation that are its.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fastdiff.errors import FastdiffError

from .blocks import MAX_SAMPLE, Blocks, alignment, strides_by_block
from .launch import check_same_device, check_tensor

# By which strides (of samples, groups, rows, columns) a kernel finds its way in a slot.
AXES = ("sample", "group", "row", "column")


def check_slot(slot: Tensor, x: Tensor, dtypes: Sequence[torch.dtype], blocks: Blocks) -> None:
    """Refuses a slot that is not of x's shape, or whose memory is in no order that kernels know.

    Each of ``blocks`` needs one stride, as the channels of a contiguous or channels-last tensor
    have it; which of them runs through memory with stride 1 does not matter, but for the time.
    """
    check_tensor("slot", slot, dtypes, list(x.shape))
    check_same_device(x, "x", slot=slot)
    strides = strides_by_block(slot, blocks)
    spread = [s for size, s in zip(slot.shape, slot.stride(), strict=True) if size > 1]
    if strides is None or 0 in spread:
        raise FastdiffError(
            f"slot: expected channels of a contiguous or channels-last tensor, got strides "
            f"{slot.stride()} of {list(slot.shape)}"
        )
    sides = zip(slot.shape[1:], slot.stride()[1:], strict=True)
    if sum((size - 1) * stride for size, stride in sides) > MAX_SAMPLE:
        raise FastdiffError(
            f"slot: expected samples that span at most {MAX_SAMPLE} elements, got strides "
            f"{slot.stride()} of {list(slot.shape)}"
        )


def slot_arguments(
    slot: Tensor | None,
    blocks: Blocks = ((), (), ()),
    place: Callable[[int, int, int], tuple[int, int, int, int]] = lambda *_: (0, 0, 0, 0),
    axes: Sequence[str] = AXES,
) -> dict[str, Any]:
    """A slot, or none, for a launch; ``place``: from strides by block to strides by ``AXES``.

    The strides but for the column's are in units of SLOT_ALIGNMENT elements, so that the compiler
    sees what divides them.
    """
    strides = (0, 0, 0, 0)
    if slot is not None:
        strides = place(*(strides_by_block(slot, blocks) or (0, 0, 0)))
    unit = alignment(*strides[:3])
    units = dict(zip(AXES, (*(stride // unit for stride in strides[:3]), strides[3]), strict=True))
    return {
        "slot": slot,
        "SLOT_ALIGNMENT": unit,
        **{f"slot_{axis}": units[axis] for axis in axes},
    }


def fill(result: Tensor, *outputs: Tensor | None) -> None:
    """What a reference made, in the outputs that there are."""
    for output in outputs:
        if output is not None:
            output.copy_(result)
