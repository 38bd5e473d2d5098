"""The networks whose steps gpu.py measures, as models with all that the engine needs to know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import fastdiff
from fastdiff import DiffusionModel, FastdiffError, schedules

# As google/ddpm-cifar10-32 publishes it; what is not here is UNet2DModel's own default.
CIFAR10: dict[str, Any] = {
    "sample_size": 32,
    "block_out_channels": (128, 256, 256, 256),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
    "norm_num_groups": 32,
}


class Unet(nn.Module):
    """diffusers' UNet2DModel, answering with a tensor."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        self.net = UNet2DModel(**config)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The predicted noise [B, C, H, W] of x at timesteps t [B]."""
        out: Tensor = self.net(x, t).sample
        return out


def ddpm_cifar10(**changes: Any) -> DiffusionModel:
    """The DDPM U-Net of CIFAR-10 (Ho et al. 2020), 35.7 M random weights; its config may differ.

    Raises FastdiffError where diffusers is missing.
    """
    torch.manual_seed(0)
    try:
        module = Unet(**{**CIFAR10, **changes})
    except ImportError as error:
        raise FastdiffError(
            "ddpm-cifar10: not measured, since it needs diffusers, which is not installed"
        ) from error
    size = int(module.net.config.sample_size)
    linear = schedules.Schedule(kind="linear", T=1000, time="index")
    return DiffusionModel(module.eval(), linear, (3, size, size), name="ddpm-cifar10")


def inputs(model: DiffusionModel, batch: int, device: str) -> tuple[Tensor, ...]:
    """What ``model.module`` is called with: x, middle times and, where it takes any, classes."""
    x = torch.randn(batch, *model.sample_shape, device=device)
    middle = 0.5 if model.levels.time == "fraction" else 500.0
    t = torch.full((batch,), middle, device=device)
    if not model.context_width:
        return x, t
    classes = torch.arange(batch, device=device) % model.context_width
    return x, t, torch.eye(model.context_width, device=device)[classes]


NETWORKS: dict[str, Callable[[], DiffusionModel]] = {
    "sprites16": lambda: fastdiff.load("sprites16"),
    "ddpm-cifar10": ddpm_cifar10,
}
# Of those that are not measured at every batch that gpu.py is asked for.
BATCHES: dict[str, tuple[int, ...]] = {"ddpm-cifar10": (1, 64, 512)}
