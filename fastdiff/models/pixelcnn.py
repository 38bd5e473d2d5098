"""PixelCNN (van den Oord et al. 2016, "Pixel recurrent neural networks"): one pixel after another.

The image is drawn in raster order, the colours of a pixel one after another. With C colours the
features are divided into C groups: group c sees the colours up to c of the pixel itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from fastdiff.errors import FastdiffError
from fastdiff.models.masked import MaskConv2d


@dataclass(frozen=True)
class PixelCNNConfig:
    """Sizes of a PixelCNN.

    ``in_channels``: colours C. ``levels``: values that each may take. ``hidden``: the paper's h,
    a multiple of C; blocks carry 2h features. ``blocks``: residual blocks. ``n_context``: width
    of the context vector, 0 for none.
    """

    in_channels: int = 1
    height: int = 28
    width: int = 28
    levels: int = 256
    hidden: int = 128
    blocks: int = 15
    n_context: int = 0

    def __post_init__(self) -> None:
        limits = {
            "in_channels": (1, 16),
            "height": (1, 1024),
            "width": (1, 1024),
            "levels": (2, 256),
            "hidden": (1, 4096),
            "blocks": (0, 256),
            "n_context": (0, 4096),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise FastdiffError(
                    f"{name}: expected an integer from {low} to {high}, got {value!r}"
                )
        if self.hidden % self.in_channels:
            raise FastdiffError(
                f"hidden: expected a multiple of the {self.in_channels} colours, got {self.hidden}"
            )


def raster_mask(size: int) -> Tensor:
    """The taps above, and left of the centre in its row: bool [size, size]."""
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[: size // 2] = True
    mask[size // 2, : size // 2] = True
    return mask


def _colours(features: int, colours: int) -> Tensor:
    """The colour that each feature belongs to: equal groups, one after another."""
    return torch.arange(features) * colours // features


class ResidualBlock(nn.Module):
    """x + (2h -> h 1x1, h -> h masked 3x3, h -> 2h 1x1), each with ReLU before and norm after."""

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        h = config.hidden
        self.narrow = _see_own(config, 2 * h, h, 1)
        self.norm1 = nn.BatchNorm2d(h)
        self.middle = _see_own(config, h, h, 3)
        self.norm2 = nn.BatchNorm2d(h)
        self.widen = _see_own(config, h, 2 * h, 1)
        self.norm3 = nn.BatchNorm2d(2 * h)
        # No bias: a context of zeros adds nothing.
        self.of_context = nn.Linear(config.n_context, h, bias=False) if config.n_context else None

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """[B, 2h, H, W] and context [B, n_context] -> [B, 2h, H, W]."""
        h = self.norm1(self.narrow(relu(x)))
        h = self.norm2(self.middle(relu(h)))
        if self.of_context is not None and context is not None:
            h = h + self.of_context(context)[:, :, None, None]
        out: Tensor = x + self.norm3(self.widen(relu(h)))
        return out


def _see_own(config: PixelCNNConfig, inputs: int, outputs: int, size: int) -> nn.Conv2d:
    """A convolution under mask B: at its own pixel, a feature sees its own and earlier colours."""
    colours = config.in_channels
    return _masked(_colours(inputs, colours), _colours(outputs, colours), size, own=True)


def _masked(inputs: Tensor, outputs: Tensor, size: int, own: bool) -> nn.Conv2d:
    """A masked convolution between features of given colours; ``own``: mask B, else mask A."""
    centre = inputs <= outputs[:, None] if own else inputs < outputs[:, None]  # [out, in]
    if size == 1 and bool(centre.all()):
        return nn.Conv2d(len(inputs), len(outputs), 1)
    mask = raster_mask(size).expand(*centre.shape, size, size).clone()
    mask[:, :, size // 2, size // 2] = centre
    return MaskConv2d(len(inputs), len(outputs), mask)


class PixelCNN(nn.Module):
    """Logits of every pixel's levels, each given the pixels before it."""

    def __init__(self, config: PixelCNNConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PixelCNNConfig()
        h, colours = config.hidden, config.in_channels
        first = _masked(torch.arange(colours), _colours(2 * h, colours), 7, own=False)
        self.first = first
        self.norm = nn.BatchNorm2d(2 * h)
        self.blocks = nn.ModuleList(ResidualBlock(config) for _ in range(config.blocks))
        self.head1 = _see_own(config, 2 * h, h, 1)
        self.head2 = _see_own(config, h, h, 1)
        # Output k * C + c is level k of colour c, so that a reshape alone makes [levels, C].
        of_output = torch.arange(config.levels * colours) % colours
        self.out = _masked(_colours(h, colours), of_output, 1, own=True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Logits [B, levels, C, H, W].

        ``x``: [B, C, H, W], level / (levels - 1). ``context``: [B, n_context]; None, and a row of
        zeros, mean unconditional.
        """
        c = self.config
        h = self.norm(self.first(x))
        for block in self.blocks:
            h = block(h, context)
        h = relu(self.head2(relu(self.head1(relu(h)))))
        logits: Tensor = self.out(h)
        return logits.reshape(x.shape[0], c.levels, c.in_channels, *x.shape[2:])
