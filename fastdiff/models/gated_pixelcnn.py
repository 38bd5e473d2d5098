"""Gated PixelCNN (van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders").

Two stacks of features: the vertical one sees the rows above, the horizontal one besides the pixels
to the left, so that the receptive field has no blind spot. Grey images, dilated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import elu

from fastdiff.errors import FastdiffError
from fastdiff.models.masked import MaskConv2d


@dataclass(frozen=True)
class GatedPixelCNNConfig:
    """Sizes of a GatedPixelCNN.

    ``hidden``: features of each stack. ``dilations``: one a layer. ``levels``: values that a
    pixel may take. ``n_context``: width of the context vector, 0 for none.
    """

    height: int = 28
    width: int = 28
    levels: int = 256
    hidden: int = 64
    dilations: tuple[int, ...] = (1, 2, 1, 4, 1, 2, 1)
    n_context: int = 0

    def __post_init__(self) -> None:
        limits = {
            "height": (1, 1024),
            "width": (1, 1024),
            "levels": (2, 256),
            "hidden": (1, 4096),
            "n_context": (0, 4096),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise FastdiffError(
                    f"{name}: expected an integer from {low} to {high}, got {value!r}"
                )
        # A checkpoint's JSON has lists for tuples.
        given = self.dilations
        ok = isinstance(given, (list, tuple)) and len(given) <= 256
        if not ok or not all(type(d) is int and 1 <= d <= 1024 for d in given):
            raise FastdiffError(
                f"dilations: expected up to 256 integers from 1 to 1024, got {given!r}"
            )
        object.__setattr__(self, "dilations", tuple(given))


def _rows(seen: int) -> Tensor:
    """A 3x3 mask of the vertical stack: the first ``seen`` rows of taps."""
    mask = torch.zeros(3, 3, dtype=torch.bool)
    mask[:seen] = True
    return mask


def _columns(seen: int) -> Tensor:
    """A 1x3 mask of the horizontal stack: the first ``seen`` taps."""
    return _rows(seen).T[:1]


def _gate(x: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=1)
    return torch.tanh(a) * torch.sigmoid(b)


class GatedLayer(nn.Module):
    """One step of both stacks; the horizontal one reads the vertical one and is residual."""

    def __init__(self, hidden: int, dilation: int, n_context: int) -> None:
        super().__init__()
        # The vertical features of a row hold the rows above it alone, so a layer may read them
        # along the whole of that row.
        self.conv_vert = MaskConv2d(hidden, 2 * hidden, _rows(2), dilation)
        self.conv_horiz = MaskConv2d(hidden, 2 * hidden, _columns(2), dilation)
        self.conv_vert_to_horiz = nn.Conv2d(2 * hidden, 2 * hidden, 1)
        self.conv_horiz_1x1 = nn.Conv2d(hidden, hidden, 1)
        # No bias: a context of zeros adds nothing.
        self.of_context = nn.Linear(n_context, 4 * hidden, bias=False) if n_context else None

    def forward(self, v: Tensor, h: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Stacks [B, hidden, H, W] and context [B, n_context] -> the next stacks."""
        vertical = self.conv_vert(v)
        horizontal = self.conv_horiz(h)
        if self.of_context is not None and context is not None:
            to_v, to_h = self.of_context(context)[:, :, None, None].chunk(2, dim=1)
            vertical, horizontal = vertical + to_v, horizontal + to_h
        horizontal = horizontal + self.conv_vert_to_horiz(vertical)
        return _gate(vertical), self.conv_horiz_1x1(_gate(horizontal)) + h


class GatedPixelCNN(nn.Module):
    """Logits of every pixel's levels, each given the pixels before it."""

    def __init__(self, config: GatedPixelCNNConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or GatedPixelCNNConfig()
        self.conv_vstack = MaskConv2d(1, config.hidden, _rows(1))
        self.conv_hstack = MaskConv2d(1, config.hidden, _columns(1))
        self.conv_layers = nn.ModuleList(
            GatedLayer(config.hidden, dilation, config.n_context) for dilation in config.dilations
        )
        self.conv_out = nn.Conv2d(config.hidden, config.levels, 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Logits [B, levels, 1, H, W].

        ``x``: [B, 1, H, W], 2 level / (levels - 1) - 1. ``context``: [B, n_context]; None, and a
        row of zeros, mean unconditional.
        """
        v, h = self.conv_vstack(x), self.conv_hstack(x)
        for layer in self.conv_layers:
            v, h = layer(v, h, context)
        logits: Tensor = self.conv_out(elu(h))
        return logits.reshape(x.shape[0], self.config.levels, 1, *x.shape[2:])
