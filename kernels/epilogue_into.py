"""An epilogue whose output goes to a slot of a concatenation: the kernel is ``kernels/epilogue``'s.

    slot = chain(x + bias[channel])

Where others read the output, too, it is also written to a dense tensor: one write more instead of
a launch, a read and a write, which is what copying it into the concatenation would take.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import blocks as b
from .epilogue import check, epilogue_reference, launch
from .launch import check_device, runs_reference
from .slots import check_slot, fill
from .steps import DTYPES, Step


def _fill(
    x: Tensor,
    bias: Tensor | None,
    codes: list[int],
    operands: list[Tensor],
    channel_dim: int,
    slot: Tensor,
    out: Tensor | None,
) -> None:
    """``out`` as ``empty_output`` makes it."""
    if runs_reference(x.device):
        fill(epilogue_reference(x, bias, codes, operands, channel_dim), out, slot)
        return
    check_device("x", x.device)
    blocks = b.channel_blocks(x.dim(), channel_dim)
    launch(b.gapless(x, blocks), out, slot, bias, codes, operands, blocks)


OP = torch.library.custom_op(
    "fastdiff::epilogue_into",
    _fill,
    mutates_args=("slot", "out"),
    schema=(
        "(Tensor x, Tensor? bias, int[] codes, Tensor[] operands, int channel_dim, "
        "Tensor(a!) slot, Tensor(b!)? out) -> ()"
    ),
)


def epilogue_into(
    x: Tensor,
    slot: Tensor,
    bias: Tensor | None,
    steps: Sequence[Step] = (),
    operands: Sequence[Tensor] = (),
    channel_dim: int = 1,
    dense: bool = False,
) -> Tensor:
    """``slot``, filled with chain(x + bias); with ``dense`` a new tensor with the same numbers.

    ``slot``: of x's shape, with one stride for each of samples, channels and pixels
    (``kernels/slots.py``); it shares memory with no other argument. The others, and what the new
    tensor is like: as in ``epilogue``. Raises FastdiffError where an argument is wrong.
    """
    codes = check(x, bias, steps, operands, channel_dim)
    blocks = b.channel_blocks(x.dim(), channel_dim)
    check_slot(slot, x, DTYPES, blocks)
    out = b.empty_output(x, blocks) if dense else None
    OP(x, bias, codes, list(operands), channel_dim, slot, out)
    return slot if out is None else out
