"""Networks that nobody here made for a program: diffusers' U-Nets, and two from torch.nn alone."""

import math

import pytest
import torch
from torch import nn

UNETS = {
    "attention": {
        "block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"), "attention_head_dim": 8,
    },
    "three levels, scale-shift": {
        "block_out_channels": (8, 16, 24), "layers_per_block": 2, "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        "resnet_time_scale_shift": "scale_shift", "attention_head_dim": 4,
    },
    "resnet sampling, fourier time": {
        "block_out_channels": (16, 16), "layers_per_block": 1, "norm_num_groups": 4,
        "down_block_types": ("ResnetDownsampleBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "ResnetUpsampleBlock2D"),
        "time_embedding_type": "fourier", "add_attention": False,
    },
    "one channel, centered": {
        "in_channels": 1, "out_channels": 1, "block_out_channels": (8, 8), "layers_per_block": 1,
        "norm_num_groups": 2, "down_block_types": ("DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D"), "center_input_sample": True,
        "attention_head_dim": None,
    },
}  # fmt: skip


class Unet(nn.Module):
    """diffusers' UNet2DModel, answering with a tensor."""

    def __init__(self, name):
        super().__init__()
        from diffusers import UNet2DModel

        torch.manual_seed(0)
        self.net = UNet2DModel(sample_size=16, **UNETS[name])

    def forward(self, x, t):
        return self.net(x, t).sample


class LayerNormUnet(nn.Module):
    """A small U-Net of residual blocks, each normalised over (C, H, W) as one."""

    def __init__(self, width=12, size=16):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.time = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width))
        self.norms = nn.ModuleList(
            nn.LayerNorm([width, s, s]) for s in (size, size // 2, size // 2)
        )
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))
        self.down = nn.Conv2d(width, width, 4, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)
        self.last = nn.Conv2d(2 * width, 3, 1)

    def block(self, k, x, e):
        return x + self.convs[k](nn.functional.relu(self.norms[k](x) + e))

    def forward(self, x, t):
        e = self.time(t[:, None])[:, :, None, None]
        top = self.block(0, self.first(x), e)
        low = self.block(2, self.block(1, self.down(top), e), e)
        return self.last(torch.cat([self.up(low), top], dim=1))


class Transformer(nn.Module):
    """A small DiT (Peebles & Xie 2023): patches, adaLN-zero blocks, a class token by context."""

    def __init__(self, width=24, heads=3, depth=2, patch=4, size=16, context=5):
        super().__init__()
        self.heads, self.patch, self.side = heads, patch, size // patch
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.place = nn.Parameter(0.1 * torch.randn(1, self.side**2, width))
        self.time = nn.Sequential(nn.Linear(2 * 8, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Linear(context, width)
        self.norms = nn.ModuleList(
            nn.LayerNorm(width, elementwise_affine=False) for _ in range(depth)
        )
        self.modulation = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(depth))
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(depth))
        self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.mlp = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU("tanh"), nn.Linear(2 * width, width))
            for _ in range(depth)
        )
        self.last = nn.Linear(width, patch * patch * 3)

    def forward(self, x, t, context):
        frequency = torch.exp(-math.log(1e4) * torch.arange(8) / 8)
        angle = t[:, None] * frequency
        c = self.time(torch.cat([angle.sin(), angle.cos()], -1)) + self.label(context)
        h = self.embed(x).flatten(2).transpose(1, 2) + self.place
        batch, tokens, width = h.shape
        for k in range(len(self.norms)):
            shift, scale, gate = self.modulation[k](nn.functional.silu(c))[:, None].chunk(3, -1)
            y = self.norms[k](h) * (1 + scale) + shift
            q, key, v = (
                a.reshape(batch, tokens, self.heads, -1).transpose(1, 2)
                for a in self.qkv[k](y).chunk(3, -1)
            )
            y = nn.functional.scaled_dot_product_attention(q, key, v)
            h = h + gate * self.out[k](y.transpose(1, 2).reshape(batch, tokens, width))
            h = h + self.mlp[k](h)
        h = self.last(h).reshape(batch, self.side, self.side, self.patch, self.patch, 3)
        return h.permute(0, 5, 1, 3, 2, 4).reshape(batch, 3, *[self.side * self.patch] * 2)


NETS = [*UNETS, "layer norm", "transformer"]


def net(name):
    """(module, an input of each kind at batch 2)."""
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([0.0, 999.0])
    torch.manual_seed(1)
    if name == "layer norm":
        return LayerNormUnet().eval(), {"x": x, "t": t / 999}
    if name == "transformer":
        return Transformer().eval(), {"x": x, "t": t, "context": torch.ones(2, 5)}
    pytest.importorskip("diffusers")
    x = x[:, :1] if UNETS[name].get("in_channels") == 1 else x
    return Unet(name).eval(), {"x": x, "t": t}


def inputs(example, batch):
    """Random inputs as large as the example's."""
    generator = torch.Generator().manual_seed(batch)
    return {
        k: torch.rand((batch, *v.shape[1:]), generator=generator) * v.abs().max()
        for k, v in example.items()
    }
