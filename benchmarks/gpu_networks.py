"""The networks whose steps gpu.py measures, as models with all that the engine needs to know."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import fastdiff
from fastdiff import DiffusionModel, schedules
from fastdiff.models.ddpm_unet import CONFIGURATIONS, DDPMUnet


def ddpm_cifar10(**changes: Any) -> DiffusionModel:
    """The DDPM U-Net of CIFAR-10 (Ho et al. 2020), 35.7 M random weights; its sizes may differ."""
    config = dataclasses.replace(CONFIGURATIONS["cifar10-32"], **changes)
    torch.manual_seed(0)
    module = DDPMUnet(config).eval()
    shape = (3, config.height, config.width)
    return DiffusionModel(module, schedules.linear(), shape, name="ddpm-cifar10")


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
