"""Layer norm over the last dimensions and what follows it; kernels of ``kernels/normalise.py``.

    y = chain((x - mean) / sqrt(var + eps) * weight + bias)

mean and (biased) var over the last ``dims`` dimensions, float32: a row of D elements is a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from fastdiff.errors import FastdiffError

from . import blocks as b
from .group_norm_act import film
from .launch import check_device, check_same_device, check_tensor, runs_reference
from .normalise_launch import Shape, launch
from .steps import DTYPES, Step, apply_reference, chain_arguments, check_chain


def layer_norm_act_reference(
    x: Tensor,
    dims: int,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    codes: Sequence[int],
    operands: Sequence[Tensor],
) -> Tensor:
    """The op in plain torch, float32 throughout."""
    gamma, beta = (None if v is None else v.float() for v in (weight, bias))
    y = functional.layer_norm(x.float(), x.shape[x.dim() - dims :], gamma, beta, eps)
    return apply_reference(y, codes, operands).to(x.dtype)


def _fake(
    x: Tensor,
    dims: int,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    codes: list[int],
    operands: list[Tensor],
) -> Tensor:
    return x.new_empty(x.shape)


def _make(
    x: Tensor,
    dims: int,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    codes: list[int],
    operands: list[Tensor],
) -> Tensor:
    out = x.new_empty(x.shape)
    if not x.numel():
        return out
    if runs_reference(x.device):
        return out.copy_(layer_norm_act_reference(x, dims, weight, bias, eps, codes, operands))
    check_device("x", x.device)
    x = x.contiguous()
    blocks = b.last_blocks(x.dim(), dims)
    samples, rows, width = b.sizes_by_block(x.shape, blocks)

    def place(sample: int, row: int, element: int) -> tuple[int, int, int, int]:
        return sample, row, 0, element

    shape = Shape(
        samples=samples,
        groups=rows,
        rows=1,
        columns=width,
        strides=place(rows * width, width, 1),
        weight_strides=place(0, 0, 1),
    )
    launch(x, out, weight, bias, eps, shape, chain_arguments(codes, operands, x, blocks, place))
    return out


OP = torch.library.custom_op(
    "fastdiff::layer_norm_act",
    _make,
    mutates_args=(),
    schema=(
        "(Tensor x, int dims, Tensor? weight, Tensor? bias, float eps, int[] codes, "
        "Tensor[] operands) -> Tensor"
    ),
)
OP.register_fake(_fake)


def layer_norm_act(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    steps: Sequence[Step] = (),
    operands: Sequence[Tensor] = (),
    *,
    dims: int = 1,
    activation: str | None = None,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
) -> Tensor:
    """chain(layer_norm(x)) over the last ``dims`` dimensions, contiguous, in x's dtype.

    ``x``: [B, ..., D] float32, bfloat16 or float16 (copied first where not contiguous). ``weight``,
    ``bias``: of the last ``dims`` sizes, or None. The rest as in ``group_norm_act``, but that a
    ``scale`` or ``shift`` of two dimensions is [B, D], and that ``steps.fits`` wants
    ``last_blocks(x.dim(), dims)``. Raises FastdiffError where an argument is wrong.
    """
    n = x.dim() if isinstance(x, Tensor) and x.dim() > 1 else 3
    check_tensor("x", x, DTYPES, [-1] * n)
    b.check_sample(x)
    if isinstance(dims, bool) or not isinstance(dims, int) or not 1 <= dims < n:
        raise FastdiffError(f"dims: expected an integer from 1 to {n - 1}, got {dims!r}")
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            check_tensor(name, value, DTYPES, x.shape[n - dims :])
    check_same_device(x, "x", weight=weight, bias=bias)
    steps, operands = film(x, steps, operands, activation, scale, shift, channel_dim=-1)
    codes = check_chain(x, steps, operands, b.last_blocks(n, dims))
    return cast(Tensor, OP(x, dims, weight, bias, float(eps), codes, operands))
