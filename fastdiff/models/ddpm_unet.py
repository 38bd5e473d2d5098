"""DDPMUnet: the U-Net of Ho et al. 2020, its tensors named as in diffusers' ``UNet2DModel``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from fastdiff.errors import FastdiffError
from fastdiff.models.ddpm_blocks import (
    BlockOptions,
    Downsample,
    ResnetBlock,
    SelfAttention,
    Upsample,
)
from fastdiff.models.sinusoidal import Sinusoidal


@dataclass(frozen=True)
class DDPMUnetConfig:
    """Sizes of a DDPMUnet.

    ``in_channels``, ``out_channels`` (None: the same), ``height``, ``width``: of images, height and
    width divisible by 2^(levels - 1). ``channels``: one number a level. ``blocks``: residual blocks
    a level on the way down, one more on the way up. ``attention``: whether a level's blocks are
    each followed by self-attention. ``mid_attention``: the same between the two blocks in the
    middle; ``mid_norm``: with a group norm, as the others have. ``head_width``: channels of an
    attention head, None is one head. ``groups``, ``eps``: of all group norms. ``dropout``: before
    each block's second convolution, in training. ``scale_shift``: the time scales and shifts rather
    than being added. ``down_padding``: 0 or 1, of the strided convolutions
    (``ddpm_blocks.Downsample``). ``cosine_first``, ``time_shift``: of the time embedding
    (``sinusoidal.Sinusoidal``; Ho et al.: False, 1). ``n_context``: width of the context, 0: none.

    The defaults are those of 35.7 million parameters for 32x32 (CIFAR-10).
    """

    in_channels: int = 3
    out_channels: int | None = None
    height: int = 32
    width: int = 32
    channels: tuple[int, ...] = (128, 256, 256, 256)
    blocks: int = 2
    attention: tuple[bool, ...] = (False, True, False, False)
    mid_attention: bool = True
    mid_norm: bool = True
    head_width: int | None = None
    groups: int = 32
    eps: float = 1e-6
    dropout: float = 0.0
    scale_shift: bool = False
    down_padding: int = 0
    cosine_first: bool = False
    time_shift: float = 1.0
    n_context: int = 0

    def __post_init__(self) -> None:
        # A checkpoint's metadata has lists.
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "attention", tuple(self.attention))
        limits = {"in_channels": (1, 64), "height": (1, 1024), "width": (1, 1024)}
        limits |= {"blocks": (1, 16), "groups": (1, 1024), "n_context": (0, 4096)}
        limits["down_padding"] = (0, 1)
        for name, (least, most) in limits.items():
            _expect_integer(name, getattr(self, name), least, most)
        if self.out_channels is not None:
            _expect_integer("out_channels", self.out_channels, 1, 64)
        if not 1 <= len(self.channels) <= 8:
            raise FastdiffError(f"channels: expected 1 to 8 levels, got {len(self.channels)}")
        for value in self.channels:
            _expect_integer("channels", value, 1, 4096)
            _expect_multiple("channels", value, self.groups)
        _expect_multiple("channels", self.channels[0], 2)  # half of them sines
        if len(self.attention) != len(self.channels):
            raise FastdiffError(
                f"attention: expected {len(self.channels)} levels, got {len(self.attention)}"
            )
        if self.head_width is not None:
            _expect_integer("head_width", self.head_width, 1, 4096)
            attended = [c for c, a in zip(self.channels, self.attention, strict=True) if a]
            for value in attended + [self.channels[-1]] * self.mid_attention:
                _expect_multiple("channels with attention", value, self.head_width)
        step = 2 ** (len(self.channels) - 1)
        _expect_multiple("height", self.height, step)
        _expect_multiple("width", self.width, step)
        if not 0 <= self.dropout < 1:
            raise FastdiffError(f"dropout: expected 0 <= dropout < 1, got {self.dropout}")
        if not self.eps > 0:
            raise FastdiffError(f"eps: expected a positive number, got {self.eps}")


def _expect_integer(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise FastdiffError(f"{name}: expected an integer from {least} to {most}, got {value!r}")


def _expect_multiple(name: str, value: int, of: int) -> None:
    if value % of:
        raise FastdiffError(f"{name}: expected a multiple of {of}, got {value}")


# Ho et al.'s networks for CIFAR-10 and for 256x256 (35.7 and 113.7 million parameters), and one of
# 3.7 million for 28x28 grey digits.
CONFIGURATIONS = {
    "mnist-28": DDPMUnetConfig(
        in_channels=1, height=28, width=28, channels=(64, 96, 128), blocks=1,
        attention=(False, True, False),
    ),
    "cifar10-32": DDPMUnetConfig(),
    "celebahq-256": DDPMUnetConfig(
        height=256, width=256, channels=(128, 128, 256, 256, 512, 512),
        attention=(False, False, False, False, True, False),
    ),
}  # fmt: skip


class TimeEmbedding(nn.Module):
    """Linear, SiLU, Linear: [B, width] -> [B, 4 width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, 4 * width)
        self.linear_2 = nn.Linear(4 * width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, width] -> [B, 4 width]."""
        h: Tensor = self.linear_2(silu(self.linear_1(x)))
        return h


class Level(nn.Module):
    """Blocks of one resolution, each with attention where the level has it, and what leaves it.

    ``inputs``: channels that each block takes; ``out_channels``: those that all of them give.
    """

    def __init__(
        self,
        inputs: list[int],
        out_channels: int,
        head_width: int | None,
        options: BlockOptions,
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(c, out_channels, options) for c in inputs)
        attended = len(inputs) if head_width is not None else 0
        self.attentions = nn.ModuleList(
            SelfAttention(out_channels, head_width or 1, options) for _ in range(attended)
        )

    def block(self, index: int, x: Tensor, time: Tensor) -> Tensor:
        """The block of that index, and its attention."""
        h: Tensor = self.resnets[index](x, time)
        return self.attentions[index](h) if self.attentions else h


class DownLevel(Level):
    """A level on the way down: gives every block's output, and half the resolution at the end."""

    def __init__(
        self,
        inputs: list[int],
        out_channels: int,
        head_width: int | None,
        options: BlockOptions,
        padding: int | None,
    ) -> None:
        super().__init__(inputs, out_channels, head_width, options)
        down = [] if padding is None else [Downsample(out_channels, padding)]
        self.downsamplers = nn.ModuleList(down)

    def forward(self, x: Tensor, time: Tensor) -> list[Tensor]:
        """What the way up will want, the last of which the next level goes on with."""
        found = []
        for index in range(len(self.resnets)):
            x = self.block(index, x, time)
            found.append(x)
        return found + [down(x) for down in self.downsamplers]


class UpLevel(Level):
    """A level on the way up: each block also takes the last output of the way down that is left."""

    def __init__(
        self,
        inputs: list[int],
        out_channels: int,
        head_width: int | None,
        options: BlockOptions,
        upsample: bool,
    ) -> None:
        super().__init__(inputs, out_channels, head_width, options)
        self.upsamplers = nn.ModuleList([Upsample(out_channels)] if upsample else [])

    def forward(self, x: Tensor, skips: list[Tensor], time: Tensor) -> Tensor:
        """x and as many of ``skips`` as there are blocks, which are taken off its end."""
        for index in range(len(self.resnets)):
            x = self.block(index, torch.cat((x, skips.pop()), dim=1), time)
        for up in self.upsamplers:
            x = up(x)
        return x


class Middle(nn.Module):
    """Two blocks at the lowest resolution, attention between them."""

    def __init__(
        self, channels: int, head_width: int | None, options: BlockOptions, normed: bool
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, options) for _ in range(2))
        self.attentions = nn.ModuleList()
        if head_width is not None:
            self.attentions.append(SelfAttention(channels, head_width, options, normed))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """[B, channels, H, W] -> the same."""
        x = self.resnets[0](x, time)
        for attention in self.attentions:
            x = attention(x)
        h: Tensor = self.resnets[1](x, time)
        return h


class DDPMUnet(nn.Module):
    """eps(x, t, context), t the integer timestep."""

    def __init__(self, config: DDPMUnetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DDPMUnetConfig()
        channels = config.channels
        first, last, levels = channels[0], channels[-1], len(channels)
        options = BlockOptions(
            4 * first, config.groups, config.eps, config.dropout, config.scale_shift
        )
        heads = [
            (config.head_width or c) if attended else None
            for c, attended in zip(channels, config.attention, strict=True)
        ]
        self.time_proj = Sinusoidal(
            first,
            shift=config.time_shift,
            cosine_first=config.cosine_first,
            computed_in=torch.float32,  # as diffusers does
        )
        self.time_embedding = TimeEmbedding(first)
        if config.n_context:
            # Of a one-hot context this is the class's embedding, and of zeros none at all.
            self.class_embedding = nn.Linear(config.n_context, 4 * first, bias=False)
        self.conv_in = nn.Conv2d(config.in_channels, first, 3, padding=1)
        self.down_blocks = nn.ModuleList()
        skips, before = [first], first
        for level, width in enumerate(channels):
            padding = config.down_padding if level < levels - 1 else None
            inputs = [before] + [width] * (config.blocks - 1)
            self.down_blocks.append(DownLevel(inputs, width, heads[level], options, padding))
            skips += [width] * (config.blocks + (padding is not None))
            before = width
        middle = (config.head_width or last) if config.mid_attention else None
        self.mid_block = Middle(last, middle, options, config.mid_norm)
        self.up_blocks = nn.ModuleList()
        for level in reversed(range(levels)):
            width, inputs = channels[level], []
            for _ in range(config.blocks + 1):
                inputs.append(before + skips.pop())
                before = width
            self.up_blocks.append(UpLevel(inputs, width, heads[level], options, level > 0))
        self.conv_norm_out = options.norm(first)
        self.conv_out = nn.Conv2d(first, config.out_channels or config.in_channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """The predicted noise, [B, out_channels, H, W].

        ``x``: [B, in_channels, H, W]. ``t``: timestep, level i's is i - 1, [B]. ``context``: [B,
        n_context]; None, and a row of zeros, mean unconditional.
        """
        embedding = self.time_embedding(self.time_proj(t))
        if context is not None and self.config.n_context:
            embedding = embedding + self.class_embedding(context)
        time = silu(embedding)  # what every block begins with
        x = self.conv_in(x)
        skips = [x]
        for down in self.down_blocks:
            skips += down(x, time)
            x = skips[-1]
        x = self.mid_block(x, time)
        for up in self.up_blocks:
            x = up(x, skips, time)
        out: Tensor = self.conv_out(silu(self.conv_norm_out(x)))
        return out
