"""The levels of TwoResUNet: two blocks at one size, then the next size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastdiff.models.convnext_block import ConvNextBlock, SkipGate


class DownLevel(nn.Module):
    """Two blocks at one size, then half of it (the same size at the ``last`` level)."""

    def __init__(self, in_channels: int, out_channels: int, embedding: int, last: bool) -> None:
        super().__init__()
        self.block1 = ConvNextBlock(in_channels, in_channels, embedding)
        self.block2 = ConvNextBlock(in_channels, in_channels, embedding)
        self.down = down(in_channels, out_channels, last)

    def forward(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, i, H, W] -> [B, o, H/2, W/2], and what each block made, [B, i, H, W]."""
        first = self.block1(x, e)
        second = self.block2(first, e)
        return self.down(second), first, second


class UpLevel(nn.Module):
    """Two blocks at one size, each with a skip, then twice the size (the same at the ``last``)."""

    def __init__(
        self, in_channels: int, out_channels: int, embedding: int, last: bool, gated: bool
    ) -> None:
        super().__init__()
        both = in_channels + out_channels  # a skip is as wide as what this level gives
        self.block1 = ConvNextBlock(both, in_channels, embedding)
        self.block2 = ConvNextBlock(both, in_channels, embedding)
        self.gate1 = SkipGate(in_channels, out_channels) if gated else None
        self.gate2 = SkipGate(in_channels, out_channels) if gated else None
        self.up = up(in_channels, out_channels, last)

    def forward(self, x: Tensor, e: Tensor, skip1: Tensor, skip2: Tensor) -> Tensor:
        """[B, i, H, W] and two skips [B, o, H, W] -> [B, o, 2H, 2W]."""
        if self.gate1 is not None:
            skip1 = self.gate1(skip1, x)
        x = self.block1(torch.cat((x, skip1), dim=1), e)
        if self.gate2 is not None:
            skip2 = self.gate2(skip2, x)
        out: Tensor = self.up(self.block2(torch.cat((x, skip2), dim=1), e))
        return out


def down(in_channels: int, out_channels: int, last: bool) -> nn.Module:
    """[B, i, H, W] -> [B, o, H/2, W/2]: every 2x2 square into channels, then 1x1; 3x3 at the
    same size where ``last``.

    Channel 4c + 2r + s of what the 1x1 reads is channel c at row r and column s of the square, as
    in einops' "b c (h p1) (w p2) -> b (c p1 p2) h w": other programs' weights fit as they are.
    """
    if last:
        return nn.Conv2d(in_channels, out_channels, 3, padding=1)
    return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * in_channels, out_channels, 1))


def up(in_channels: int, out_channels: int, last: bool) -> nn.Module:
    """[B, i, H, W] -> [B, o, 2H, 2W]: each pixel four times, then 3x3; only 3x3 if ``last``."""
    same = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    return same if last else nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), same)
