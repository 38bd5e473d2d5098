"""Group norm, FiLM and what follows it in one op; the kernels are ``kernels/normalise.py``'s.

    y = chain((x - mean) / sqrt(var + eps) * weight + bias)

mean and (biased) var over the channels of a group and all pixels of a sample, float32. One group is
a layer norm over (C, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from fastdiff.errors import FastdiffError

from . import blocks as b
from .launch import check_device, check_same_device, check_tensor, runs_reference
from .normalise_launch import Shape, launch
from .slots import check_slot, fill, slot_arguments
from .steps import DTYPES, Step, apply_reference, chain_arguments, check_chain


def group_norm_act_reference(
    x: Tensor,
    groups: int,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    codes: Sequence[int],
    operands: Sequence[Tensor],
) -> Tensor:
    """The op in plain torch, float32 throughout.

    In two passes over x, unlike torch's own on a CPU, which is off by 0.1 where a channels-last x
    has mean 1000 std.
    """
    g = x.float().reshape(x.shape[0], groups, -1)
    g = g - g.mean(-1, keepdim=True)
    var = g.square().mean(-1, keepdim=True)
    y = ((g - g.mean(-1, keepdim=True)) * torch.rsqrt(var + eps)).reshape(x.shape)
    per_channel = [-1] + [1] * (x.dim() - 2)
    if weight is not None:
        y = y * weight.float().reshape(per_channel)
    if bias is not None:
        y = y + bias.float().reshape(per_channel)
    return apply_reference(y, codes, operands).to(x.dtype)


def _fake(
    x: Tensor,
    groups: int,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    codes: list[int],
    operands: list[Tensor],
) -> Tensor:
    return b.empty_output(x, b.channel_blocks(x.dim()))


def _make(
    x: Tensor,
    groups: int,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    codes: list[int],
    operands: list[Tensor],
) -> Tensor:
    out = b.empty_output(x, b.channel_blocks(x.dim()))
    _fill(x, groups, weight, bias, eps, codes, operands, None, out)
    return out


def _fill(
    x: Tensor,
    groups: int,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    codes: list[int],
    operands: list[Tensor],
    slot: Tensor | None,
    out: Tensor | None,
) -> None:
    """``out`` as ``empty_output`` makes it."""
    blocks = b.channel_blocks(x.dim())
    if not x.numel():
        return
    if runs_reference(x.device):
        fill(group_norm_act_reference(x, groups, weight, bias, eps, codes, operands), out, slot)
        return
    check_device("x", x.device)
    x = b.gapless(x, blocks)
    samples, channels, pixels = b.sizes_by_block(x.shape, blocks)
    own = channels // groups
    by_pixels = b.innermost(x, blocks) == 2

    def place(sample: int, channel: int, pixel: int) -> tuple[int, int, int, int]:
        row, column = (channel, pixel) if by_pixels else (pixel, channel)
        return sample, channel * own, row, column

    shape = Shape(
        samples=samples,
        groups=groups,
        rows=own if by_pixels else pixels,
        columns=pixels if by_pixels else own,
        strides=place(channels * pixels, *((pixels, 1) if by_pixels else (1, channels))),
        weight_strides=place(0, 1, 0),
    )
    chain = chain_arguments(codes, operands, x, blocks, place)
    launch(x, out, weight, bias, eps, shape, chain, slot_arguments(slot, blocks, place))


_ARGUMENTS = (
    "Tensor x, int groups, Tensor? weight, Tensor? bias, float eps, int[] codes, Tensor[] operands"
)
OP = torch.library.custom_op(
    "fastdiff::group_norm_act", _make, mutates_args=(), schema=f"({_ARGUMENTS}) -> Tensor"
)
OP.register_fake(_fake)
OP_INTO = torch.library.custom_op(
    "fastdiff::group_norm_act_into",
    _fill,
    mutates_args=("slot", "out"),
    schema=f"({_ARGUMENTS}, Tensor(a!) slot, Tensor(b!)? out) -> ()",
)


def film(
    x: Tensor,
    steps: Sequence[Step],
    operands: Sequence[Tensor],
    activation: str | None,
    scale: Tensor | None,
    shift: Tensor | None,
    channel_dim: int,
) -> tuple[list[Step], list[Tensor]]:
    """The chain that multiplies by 1 + scale, adds shift, activates, and then does ``steps``.

    A scale or shift [B, C] is taken for [B, 1 ..., C, 1 ...].
    """
    before: list[Step] = []
    chain_operands = list(operands)
    for name, operand in (("scale", scale), ("add", shift)):
        if operand is not None:
            before.append((name, len(chain_operands)))
            sizes = [1] * x.dim()
            if isinstance(operand, Tensor) and operand.dim() == 2 < x.dim():
                sizes[0], sizes[channel_dim] = operand.shape
                chain_operands.append(operand.reshape(sizes))
            else:
                chain_operands.append(operand)
    if activation is not None:
        before.append(("unary", activation))
    return [*before, *steps], chain_operands


def group_norm_act(
    x: Tensor,
    groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    steps: Sequence[Step] = (),
    operands: Sequence[Tensor] = (),
    *,
    activation: str | None = None,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    slot: Tensor | None = None,
    dense: bool = True,
) -> Tensor:
    """chain(group_norm(x)), a new tensor in x's dtype and memory format.

    ``x``: [B, C, ...] float32, bfloat16 or float16, contiguous or channels-last (others are copied
    first); ``groups`` divides C. ``weight``, ``bias``: [C] or None. ``steps`` and ``operands``: see
    ``kernels/steps.py``; before them come FiLM, * (1 + ``scale``) + ``shift`` (each [B, C] or
    broadcast against x), and the unary kind ``activation``, where given. ``slot``:
    a tensor of x's shape that gets the same numbers (``kernels/slots.py`` says which) and shares
    memory with no other argument; without ``dense`` it alone does, and is what is returned. Raises
    FastdiffError where an argument is wrong.
    """
    dims = x.dim() if isinstance(x, Tensor) and x.dim() > 1 else 4
    check_tensor("x", x, DTYPES, [-1] * dims)
    b.check_sample(x)
    if isinstance(groups, bool) or not isinstance(groups, int) or not _divides(groups, x.shape[1]):
        raise FastdiffError(f"groups: expected a divisor of {x.shape[1]} channels, got {groups!r}")
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            check_tensor(name, value, DTYPES, [x.shape[1]])
    check_same_device(x, "x", weight=weight, bias=bias)
    steps, operands = film(x, steps, operands, activation, scale, shift, channel_dim=1)
    blocks = b.channel_blocks(dims)
    codes = check_chain(x, steps, operands, blocks)
    if slot is None:
        return cast(Tensor, OP(x, groups, weight, bias, float(eps), codes, operands))
    check_slot(slot, x, DTYPES, blocks)
    out = b.empty_output(x, blocks) if dense else None
    OP_INTO(x, groups, weight, bias, float(eps), codes, operands, slot, out)
    return slot if out is None else out


def _divides(groups: int, channels: int) -> bool:
    return groups >= 1 and channels % groups == 0
