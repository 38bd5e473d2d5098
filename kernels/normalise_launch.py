"""How a group norm or layer norm is cut into programs, and launched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from .blocks import alignment
from .launch import device_guard
from .normalise import BOTH, NORMALISE, STATISTICS, loop_kernel, whole_kernel
from .slots import slot_arguments
from .steps import Chain, form

WHOLE = 16384  # elements of the largest group that stays in registers, 32 a thread
SMALL = 1024  # elements that a program has at least, if there are as many
LOOP = 4096  # elements of a tile of the loop
ELEMENTS = 16  # of a thread of the one tile, until there are MAX_WARPS
MAX_WARPS, LOOP_WARPS = 16, 8
PIECE_BYTES = 64  # of memory side by side that a program should have
PROGRAMS = 256  # that fill a GPU: 1.9 a multiprocessor of an H100
MAX_PARTS = 64
NO_SLOT = slot_arguments(None)


@dataclass(frozen=True)
class Shape:
    """x as the kernels see it: ``strides`` and ``weight_strides`` by sample, group, row, column."""

    samples: int
    groups: int
    rows: int
    columns: int
    strides: tuple[int, int, int, int]
    weight_strides: tuple[int, int, int, int]


@dataclass(frozen=True)
class Plan:
    """How a launch is cut: a tile's sides, and into how many parts a group (0: it is one tile)."""

    instances: int
    rows: int
    columns: int
    parts: int
    warps: int


def plan(shape: Shape, item_bytes: int) -> Plan:
    """The plan for a shape; ``item_bytes`` of an element of x."""
    count = shape.samples * shape.groups
    rows, columns = triton.next_power_of_2(shape.rows), triton.next_power_of_2(shape.columns)
    whole = rows * columns <= WHOLE
    columns = min(columns, WHOLE if whole else LOOP)
    together = 1
    if shape.rows > 1 and shape.strides[1] == shape.columns:  # the next group's columns are beside
        while together * shape.columns * item_bytes < PIECE_BYTES and together < shape.groups:
            together *= 2
    if whole:
        while together * rows * columns < SMALL and together < count:
            together *= 2
        while together * rows * columns > WHOLE:
            together //= 2
        warps = together * rows * columns // (32 * ELEMENTS)
        return Plan(together, rows, columns, 0, min(max(warps, 1), MAX_WARPS))
    together = min(together, LOOP // columns)
    rows = min(rows, max(LOOP // (together * columns), 1))
    tiles = triton.cdiv(shape.rows, rows) * triton.cdiv(shape.columns, columns)
    programs = triton.cdiv(count, together)
    parts = 1
    while parts * programs < PROGRAMS and parts < MAX_PARTS and parts * 2 <= tiles:
        parts *= 2
    return Plan(together, rows, columns, parts, LOOP_WARPS)


def launch(
    x: Tensor,
    out: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    shape: Shape,
    chain: Chain,
    slot: dict[str, Any] | None = None,
) -> None:
    """Fills ``out``, which lies as x does, with the chain of x normalised, and the slot.

    ``slot``: what ``slots.slot_arguments`` says of it.
    """
    cut = plan(shape, x.element_size())
    count = shape.samples * shape.groups
    x_sample, x_group, x_row, _ = shape.strides
    unit = alignment(shape.columns, x_sample, x_group, x_row)
    _, w_group, w_row, w_column = shape.weight_strides
    w_unit = alignment(w_group)
    arguments = {
        "weight": weight if weight is None else weight.contiguous(),
        "bias": bias if bias is None else bias.contiguous(),
        "instances": count,
        "groups": shape.groups,
        "rows": shape.rows,
        "width": shape.columns // unit,
        "x_sample": x_sample // unit,
        "x_group": x_group // unit,
        "x_row": x_row // unit,
        "w_group": w_group // w_unit,
        "w_row": w_row,
        "w_column": w_column,
        "inverse_count": 1.0 / (shape.rows * shape.columns),
        "eps": eps,
        **(slot or NO_SLOT),
        **chain.arguments,
        **chain.constants,
        "WEIGHT_FORM": form(shape.weight_strides),
        "WEIGHT_ALIGNMENT": w_unit,
        "ALIGNMENT": unit,
        "INSTANCES": cut.instances,
        "ROWS": cut.rows,
        "COLUMNS": cut.columns,
        "num_warps": cut.warps,
        "enable_fp_fusion": True,
    }
    programs = triton.cdiv(count, cut.instances)
    with device_guard(x.device):
        if cut.parts == 0:
            whole_kernel[(programs,)](x, out, **arguments)
        elif cut.parts == 1:
            loop_kernel[(programs,)](x, out, scratch=None, **arguments, PARTS=1, STAGE=BOTH.value)
        else:
            scratch = torch.empty(count, cut.parts, 4, dtype=torch.float32, device=x.device)
            for stage in (STATISTICS, NORMALISE):
                loop_kernel[(programs, cut.parts)](
                    x, out, scratch=scratch, **arguments, PARTS=cut.parts, STAGE=stage.value
                )
