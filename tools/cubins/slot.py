"""A slot among a kernel's arguments (``kernels/slots.py``), as it is launched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Slot:
    """``alignment``: what divides its strides. ``aligned``: whether it begins at a multiple of 16
    bytes. ``dense``: whether there is an output beside it.
    """

    alignment: int
    aligned: bool
    dense: bool


def slot_of(
    slot: Slot | None, dtype: str, axes: Sequence[str]
) -> tuple[dict[str, str], dict[str, Any], tuple[str, ...]]:
    """Types, constants and aligned arguments of a slot whose columns lie side by side, or of none;
    ``axes``: those of the kernel's strides before the column's.
    """
    strides = [f"slot_{axis}" for axis in axes]
    if slot is None:  # strides 0, which are multiples of 16
        names = (*strides, "slot_column")
        return dict.fromkeys(names, "i32"), {"slot": None, "SLOT_ALIGNMENT": 16}, names
    signature = {"slot": f"*{dtype}", **dict.fromkeys(strides, "i32")}
    constants = {"slot_column": 1, "SLOT_ALIGNMENT": slot.alignment}
    return signature, constants, ("slot",) if slot.aligned else ()
