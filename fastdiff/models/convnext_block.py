"""What TwoResUNet is made of: a ConvNeXt block that is told the time, and a gate for a skip."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class ConvNextBlock(nn.Module):
    """shortcut(x) + net(depthwise(x) + of_time(GELU(e))).

    ``net`` is GroupNorm(1), 3x3, GELU, GroupNorm(1), 3x3, with ``mult`` * out features between
    its convolutions; the shortcut is 1x1 where the widths differ. After Liu et al. 2022 ("A
    ConvNet for the 2020s"): a depthwise 7x7 first, one norm and one activation behind it.
    """

    def __init__(self, in_channels: int, out_channels: int, embedding: int, mult: int = 2) -> None:
        super().__init__()
        hidden = mult * out_channels
        self.depthwise = nn.Conv2d(in_channels, in_channels, 7, padding=3, groups=in_channels)
        self.of_time = nn.Linear(embedding, in_channels)
        # One group: a mean and a variance of the whole sample, as in the block's first U-Nets.
        self.net = nn.Sequential(
            nn.GroupNorm(1, in_channels),
            nn.Conv2d(in_channels, hidden, 3, padding=1),
            nn.GELU(),
            nn.GroupNorm(1, hidden),
            nn.Conv2d(hidden, out_channels, 3, padding=1),
        )
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """[B, in_channels, H, W] and the embedding e [B, embedding] -> [B, out_channels, H, W]."""
        shift = self.of_time(functional.gelu(e))[:, :, None, None]  # [B, in_channels, 1, 1]
        h: Tensor = self.net(self.depthwise(x) + shift) + self.shortcut(x)
        return h


class SkipGate(nn.Module):
    """x * sigmoid(score(relu(of_decoder(g) + of_skip(x)))): what of a skip the decoder lets in.

    All three are 1x1 convolutions, ``score`` to one channel: one weight in (0, 1) a position, the
    additive attention of Oktay et al. 2018 ("Attention U-Net", equations 1 and 2), here without
    resampling, as g and x have one size.
    """

    def __init__(self, decoder_channels: int, skip_channels: int) -> None:
        super().__init__()
        self.of_decoder = nn.Conv2d(decoder_channels, skip_channels, 1)
        self.of_skip = nn.Conv2d(skip_channels, skip_channels, 1)
        self.score = nn.Conv2d(skip_channels, 1, 1)

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        """The skip x [B, skip_channels, H, W], weighted by itself and the decoder's
        g [B, decoder_channels, H, W].
        """
        h = functional.relu(self.of_decoder(g) + self.of_skip(x))
        weight: Tensor = functional.sigmoid(self.score(h))  # [B, 1, H, W]
        return weight * x
