"""Convolutions that see only what is already drawn: rows above, pixels to the left, colours before.

A mask is applied to the weights once, when they are made or loaded: the taps that it hides *are*
zero, and evaluation (and torch.export) sees an ordinary convolution.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from fastdiff.errors import FastdiffError


class MaskConv2d(nn.Conv2d):
    """A convolution of stride 1 that keeps height and width, with its hidden taps exactly zero.

    ``mask``: bool, broadcast to the weight [out, in, kh, kw]; True where a tap may see its
    input. kh and kw are odd. ``dilation``: along both.

    Weights with anything but zero at a hidden tap are refused when they are loaded. In training
    mode the forward goes through the mask, so that those taps get no gradient and stay zero
    under any optimiser, and leaves out the rows of taps below the centre that see nothing.
    """

    mask: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mask: Tensor,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        kh, kw = mask.shape[-2:]
        above, beside = dilation * (kh // 2), dilation * (kw // 2)
        super().__init__(
            in_channels, out_channels, (kh, kw), 1, (above, beside), dilation, bias=bias
        )
        # Not in the state: a mask belongs to the architecture, a file has no say in it.
        self.register_buffer("mask", mask.expand(self.weight.shape).clone(), persistent=False)
        seeing = [k for k in range(kh) if bool(self.mask[:, :, k].any())]
        self._rows = 1 + max([kh // 2, *seeing])
        below = dilation * (self._rows - 1) - above
        self._around = (beside, beside, above, below)
        with torch.no_grad():
            self.weight.masked_fill_(~self.mask, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, out, H, W]."""
        if not self.training:
            return super().forward(x)
        weight = (self.weight * self.mask)[:, :, : self._rows]
        return conv2d(pad(x, self._around), weight, self.bias, dilation=self.dilation)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        weight = state_dict.get(prefix + "weight")
        if weight is not None and weight.shape == self.mask.shape:
            hidden = weight[~self.mask.to(weight.device)]
            if bool((hidden != 0).any()):
                raise FastdiffError(
                    f"weights: expected zeros at the masked taps of {prefix}weight, "
                    f"got {float(hidden.abs().max()):g}"
                )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
