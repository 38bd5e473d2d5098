"""ContextUnet: the small U-Net of the public diffusion course, 16x16 and up.

The course's residual block makes a *new, untrained* 1x1 convolution inside every forward
wherever its channel counts differ, so the course's net is random even in eval mode. Here that
shortcut is a parameter. Its expectation over the course's draws is 0, which is what a course
checkpoint (it has no such key) is loaded with: see ``fastdiff.checkpoint``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fastdiff.errors import FastdiffError


@dataclass(frozen=True)
class ContextUnetConfig:
    """Sizes of a ContextUnet.

    ``in_channels``: image channels. ``n_feat``: features of the first level, a multiple of 8
    (group norm has 8 groups). ``n_cfeat``: width of the context vector. ``height``: image
    height and width in pixels, divisible by 4. ``pool``: window that makes the bottleneck
    vector; None is the whole map, height / 4. The course has it fixed at 4, which is the same
    at height 16 and cuts the map off at 20 to 28.
    """

    in_channels: int = 3
    n_feat: int = 64
    n_cfeat: int = 5
    height: int = 16
    pool: int | None = None

    def __post_init__(self) -> None:
        limits = {"in_channels": 64, "n_feat": 4096, "n_cfeat": 4096, "height": 1024}
        for name, limit in limits.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
                raise FastdiffError(f"{name}: expected an integer from 1 to {limit}, got {value!r}")
        if self.n_feat % 8:
            raise FastdiffError(f"n_feat: expected a multiple of 8, got {self.n_feat}")
        if self.height % 4:
            raise FastdiffError(f"height: expected a height divisible by 4, got {self.height}")
        side = self.height // 4
        if self.pool is not None and not (
            isinstance(self.pool, int) and side // 2 < self.pool <= side
        ):
            raise FastdiffError(
                f"pool: expected a window that fits the {side}x{side} bottleneck once, "
                f"got {self.pool!r}"
            )


class ResidualConvBlock(nn.Module):
    """Two 3x3 convolutions, each with BatchNorm and GELU; residual: (shortcut + x2) / 1.414."""

    def __init__(self, in_channels: int, out_channels: int, is_res: bool = False) -> None:
        super().__init__()
        self.is_res = is_res
        self.conv1 = _conv_bn_gelu(in_channels, out_channels)
        self.conv2 = _conv_bn_gelu(out_channels, out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if is_res and in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, out_channels, H, W]."""
        h: Tensor = self.conv2(self.conv1(x))
        # 1.414 and not sqrt(2): the course's constant, kept so that its checkpoints agree.
        return (self.shortcut(x) + h) / 1.414 if self.is_res else h


def _conv_bn_gelu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, 1, 1), nn.BatchNorm2d(out_channels), nn.GELU()
    )


class UnetDown(nn.Module):
    """Two blocks, then 2x2 max pooling: [B, i, H, W] -> [B, o, H/2, W/2]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            ResidualConvBlock(in_channels, out_channels),
            ResidualConvBlock(out_channels, out_channels),
            nn.MaxPool2d(2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, out_channels, H/2, W/2]."""
        h: Tensor = self.model(x)
        return h


class UnetUp(nn.Module):
    """Concatenation with the skip, 2x2 transposed convolution, two blocks."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.ConvTranspose2d(in_channels, out_channels, 2, 2),
            ResidualConvBlock(out_channels, out_channels),
            ResidualConvBlock(out_channels, out_channels),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Both [B, in_channels / 2, H, W] -> [B, out_channels, 2H, 2W]."""
        h: Tensor = self.model(torch.cat((x, skip), dim=1))
        return h


class EmbedFC(nn.Module):
    """Linear, GELU, Linear: [B, d] -> [B, e, 1, 1], ready to scale or shift a feature map."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.model = nn.Sequential(
            nn.Linear(in_features, out_features), nn.GELU(), nn.Linear(out_features, out_features)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_features], or [B] where that is 1 -> [B, out_features, 1, 1]."""
        h: Tensor = self.model(x.view(-1, self.in_features))
        return h[:, :, None, None]


class ContextUnet(nn.Module):
    """eps(x, t, context) for small square images."""

    def __init__(self, config: ContextUnetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ContextUnetConfig()
        n, side = config.n_feat, config.height // 4
        self.init_conv = ResidualConvBlock(config.in_channels, n, is_res=True)
        self.down1 = UnetDown(n, n)
        self.down2 = UnetDown(n, 2 * n)
        self.to_vec = nn.Sequential(nn.AvgPool2d(config.pool or side), nn.GELU())
        self.timeembed1 = EmbedFC(1, 2 * n)
        self.timeembed2 = EmbedFC(1, n)
        self.contextembed1 = EmbedFC(config.n_cfeat, 2 * n)
        self.contextembed2 = EmbedFC(config.n_cfeat, n)
        self.up0 = nn.Sequential(
            nn.ConvTranspose2d(2 * n, 2 * n, side, side), nn.GroupNorm(8, 2 * n), nn.ReLU()
        )
        self.up1 = UnetUp(4 * n, n)
        self.up2 = UnetUp(2 * n, n)
        self.out = nn.Sequential(
            nn.Conv2d(2 * n, n, 3, 1, 1),
            nn.GroupNorm(8, n),
            nn.ReLU(),
            nn.Conv2d(n, config.in_channels, 3, 1, 1),
        )

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """The predicted noise, [B, C, H, W].

        ``x``: [B, C, H, W]. ``t``: level as i / T, [B] or [B, 1]. ``context``: [B, n_cfeat];
        None, and a row of zeros, mean unconditional.
        """
        if context is None:
            context = x.new_zeros(x.shape[0], self.config.n_cfeat)
        x = self.init_conv(x)  # [B, n, H, W]
        down1 = self.down1(x)  # [B, n, H/2, W/2]
        down2 = self.down2(down1)  # [B, 2n, H/4, W/4]
        vec = self.to_vec(down2)  # [B, 2n, 1, 1]
        up = self.up0(vec)  # [B, 2n, H/4, W/4]
        up = self.up1(self.contextembed1(context) * up + self.timeembed1(t), down2)
        up = self.up2(self.contextembed2(context) * up + self.timeembed2(t), down1)
        out: Tensor = self.out(torch.cat((up, x), dim=1))
        return out
