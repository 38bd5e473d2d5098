"""``wavefront_stage`` in plain torch, and what describes a stage's steps and operands.

What the kernel is held against, and what the op runs on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Step = tuple[str, str | int]


@dataclass(frozen=True, eq=False)
class RingOperand:
    """An operand read from the cache: for output j cache[b, positions[s, m, groups[j]] +
    offsets[j]], 0 where the position is -1.

    ``positions``: int32 [S, M, G']. ``groups``, ``offsets``: int32 [N].
    """

    positions: Tensor
    groups: Tensor
    offsets: Tensor


_UNARY: dict[str, Any] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda y: functional.gelu(y, approximate="tanh"),
    "silu": functional.silu,
    "elu": functional.elu,
}


def _unary(y: Tensor, kind: str) -> Tensor:
    out: Tensor = _UNARY[kind](y) if kind in _UNARY else getattr(torch, kind)(y)
    return out


def _gathered(cache: Tensor, first: Tensor, groups: Tensor, offsets: Tensor) -> Tensor:
    """cache[b, first[m, groups[k]] + offsets[k]], float32 [n, cells, k]; 0 where first is -1."""
    place = first[:, groups.long()].long()
    inside = place >= 0
    values = cache[:, torch.where(inside, place + offsets, 0)].float()
    return torch.where(inside, values, 0.0)


def wavefront_stage_reference(
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
) -> None:
    """The arguments and the equation are those of ``wavefront_stage``; nothing is checked."""
    s = int(subtime)
    if not 0 <= s < len(writes):
        return
    cells = torch.nonzero(writes[s] >= 0).flatten()
    if not len(cells):
        return
    first = reads[s, cells]
    a = _gathered(cache, first, groups, offsets)
    if before is not None:
        inside = first[:, groups.long()] >= 0
        a = torch.where(inside, _unary(a, before), 0.0).to(cache.dtype).float()
    y = a @ weight.float()
    if bias is not None:
        y = y + bias
    for name, what in steps:
        if name == "unary":
            y = _unary(y, str(what))
            continue
        operand = operands[int(what)]
        if isinstance(operand, RingOperand):
            o = _gathered(cache, operand.positions[s, cells], operand.groups, operand.offsets)
        else:
            o = operand[:, None]
        y = getattr(torch, name)(y, o)
    cache[:, (writes[s, cells, None] + out_offsets).long()] = y.to(cache.dtype)
