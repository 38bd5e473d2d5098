"""The parts of a DDPM U-Net (Ho et al. 2020, appendix B), named as diffusers names its own."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, scaled_dot_product_attention, silu


@dataclass(frozen=True)
class BlockOptions:
    """What all blocks of a network share: width of the time embedding, norms, dropout."""

    time_width: int
    groups: int
    eps: float
    dropout: float
    scale_shift: bool

    def norm(self, channels: int) -> nn.GroupNorm:
        """GroupNorm over ``channels``."""
        return nn.GroupNorm(self.groups, channels, eps=self.eps)


class ResnetBlock(nn.Module):
    """Norm, SiLU, 3x3, twice, plus x (by 1x1 where channels differ); the time comes in between.

    The time's features are added before the second norm, or scale and shift its output
    (``scale_shift``; Dhariwal & Nichol 2021, section 4.2): norm(h) (1 + scale) + shift.
    """

    def __init__(self, in_channels: int, out_channels: int, options: BlockOptions) -> None:
        super().__init__()
        self.scale_shift = options.scale_shift
        self.norm1 = options.norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        features = 2 * out_channels if options.scale_shift else out_channels
        self.time_emb_proj = nn.Linear(options.time_width, features)
        self.norm2 = options.norm(out_channels)
        self.dropout = nn.Dropout(options.dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut: nn.Module | None = None
        if in_channels != out_channels:
            self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x [B, in_channels, H, W], SiLU of the time's embedding [B, time_width]."""
        h = self.conv1(silu(self.norm1(x)))
        features = self.time_emb_proj(time)[:, :, None, None]
        if self.scale_shift:
            scale, shift = features.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + features)
        h = self.conv2(self.dropout(silu(h)))
        shortcut: Tensor = x if self.conv_shortcut is None else self.conv_shortcut(x)
        out: Tensor = shortcut + h
        return out


class SelfAttention(nn.Module):
    """Norm, softmax(q k^T / sqrt(head_width)) v over all pixels, a linear layer, plus x."""

    def __init__(
        self, channels: int, head_width: int, options: BlockOptions, normed: bool = True
    ) -> None:
        super().__init__()
        self.heads = channels // head_width
        self.group_norm = options.norm(channels) if normed else nn.Identity()
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> the same."""
        pixels = self.group_norm(x).flatten(2).transpose(1, 2)  # [B, H W, channels]
        q, k, v = (
            part(pixels).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.to_q, self.to_k, self.to_v)
        )  # [B, heads, H W, head_width]
        h = scaled_dot_product_attention(q, k, v)
        h = self.to_out(h.transpose(1, 2).flatten(2))
        out: Tensor = x + h.transpose(1, 2).unflatten(2, x.shape[2:])
        return out


class Downsample(nn.Module):
    """3x3 with stride 2; ``padding`` 0 pads at the right and the bottom only (Ho et al.)."""

    def __init__(self, channels: int, padding: int) -> None:
        super().__init__()
        self.one_sided = padding == 0
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> [B, channels, H / 2, W / 2]."""
        h: Tensor = self.conv(pad(x, (0, 1, 0, 1)) if self.one_sided else x)
        return h


class Upsample(nn.Module):
    """Each pixel four times, then 3x3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> [B, channels, 2 H, 2 W]."""
        h: Tensor = self.conv(interpolate(x, scale_factor=2.0, mode="nearest"))
        return h
