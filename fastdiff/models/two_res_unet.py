"""TwoResUNet: a U-Net of ConvNeXt blocks with two skips a level, 128x128 by default."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from fastdiff.errors import FastdiffError
from fastdiff.models.convnext_block import ConvNextBlock
from fastdiff.models.sinusoidal import Sinusoidal
from fastdiff.models.two_res_levels import DownLevel, UpLevel


@dataclass(frozen=True)
class TwoResUNetConfig:
    """Sizes of a TwoResUNet.

    ``in_channels``: image channels. ``height``, ``width``: of the image in pixels, divisible by
    2^(levels - 1). ``dim``: features of the first convolution, even (half of the time embedding
    are sines). ``multipliers``: features after each level, of ``dim``; as many as levels.
    ``n_context``: width of the context vector, 0 for none. ``gated_skips``: each skip passes a
    ``SkipGate``.
    """

    in_channels: int = 3
    height: int = 128
    width: int = 128
    dim: int = 64
    multipliers: tuple[int, ...] = (1, 2, 4, 8)
    n_context: int = 0
    gated_skips: bool = False

    def __post_init__(self) -> None:
        limits = {
            "in_channels": (1, 64),
            "height": (1, 1024),
            "width": (1, 1024),
            "dim": (4, 1024),
            "n_context": (0, 4096),
        }
        for name, (low, high) in limits.items():
            if not _is_integer(getattr(self, name), low, high):
                raise FastdiffError(
                    f"{name}: expected an integer from {low} to {high}, got {getattr(self, name)!r}"
                )
        if self.dim % 2:
            raise FastdiffError(f"dim: expected an even number, got {self.dim}")
        given = self.multipliers
        if not (
            isinstance(given, (list, tuple))
            and 1 <= len(given) <= 8
            and all(_is_integer(m, 1, 4096 // self.dim) for m in given)
        ):
            raise FastdiffError(
                "multipliers: expected 1 to 8 integers, one a level, from 1 to "
                f"{4096 // self.dim} (4096 features), got {given!r}"
            )
        # A checkpoint's JSON has lists; as a tuple the configuration equals the one saved.
        object.__setattr__(self, "multipliers", tuple(given))
        step = 2 ** (len(given) - 1)
        for name in ("height", "width"):
            if getattr(self, name) % step:
                raise FastdiffError(
                    f"{name}: expected a number divisible by {step} for {len(given)} levels, "
                    f"got {getattr(self, name)}"
                )
        if not isinstance(self.gated_skips, bool):
            raise FastdiffError(f"gated_skips: expected True or False, got {self.gated_skips!r}")


def _is_integer(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


class TwoResUNet(nn.Module):
    """eps(x, t, context) for images of any size that the levels divide."""

    def __init__(self, config: TwoResUNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TwoResUNetConfig()
        dim, e = config.dim, 4 * config.dim
        widths = [dim, *(dim * m for m in config.multipliers)]
        pairs = list(pairwise(widths))
        self.init_conv = nn.Conv2d(config.in_channels, dim, 7, padding=3)
        self.time_embedding = Sinusoidal(dim)
        self.time_mlp = nn.Sequential(nn.Linear(dim, e), nn.GELU(), nn.Linear(e, e))
        # No bias: a context of zeros adds nothing.
        self.of_context = nn.Linear(config.n_context, e, bias=False) if config.n_context else None
        self.downs = nn.ModuleList(
            DownLevel(i, o, e, last=k == len(pairs) - 1) for k, (i, o) in enumerate(pairs)
        )
        self.mid1 = ConvNextBlock(widths[-1], widths[-1], e)
        self.mid2 = ConvNextBlock(widths[-1], widths[-1], e)
        self.ups = nn.ModuleList(
            UpLevel(o, i, e, last=k == len(pairs) - 1, gated=config.gated_skips)
            for k, (i, o) in enumerate(reversed(pairs))
        )
        self.final_block = ConvNextBlock(2 * dim, dim, e)
        self.final_conv = nn.Conv2d(dim, config.in_channels, 1)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """The predicted noise, [B, C, H, W].

        ``x``: [B, C, H, W] in [-1, 1]. ``t``: the integer timestep as a float, [B].
        ``context``: [B, n_context]; None, and a row of zeros, mean unconditional.
        """
        e = self.time_mlp(self.time_embedding(t))  # [B, 4 dim]
        if self.of_context is not None and context is not None:
            e = e + self.of_context(context)
        first = x = self.init_conv(x)  # [B, dim, H, W]
        skips: list[Tensor] = []
        for level in self.downs:
            x, *made = level(x, e)
            skips += made
        x = self.mid2(self.mid1(x, e), e)
        for level in self.ups:  # what was made last is taken first
            x = level(x, e, skips.pop(), skips.pop())
        out: Tensor = self.final_conv(self.final_block(torch.cat((x, first), dim=1), e))
        return out
