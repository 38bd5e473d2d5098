"""Bits per dimension: how many bits a pixel value costs under a model, the lower the better."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from fastdiff.data.dataset import ImageSet
from fastdiff.data.pictures import to_levels
from fastdiff.errors import FastdiffError
from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.models.device import device_of


@dataclass(frozen=True)
class BitsPerDimension:
    """The mean over ``images`` images, and its standard error over them."""

    mean: float
    standard_error: float
    images: int

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.standard_error:.4f}"


@torch.inference_mode()
def bits_per_dimension(
    model: AutoregressiveModel,
    images: ImageSet,
    batch_size: int = 100,
    progress: Callable[[int], object] | None = None,
) -> BitsPerDimension:
    """-log2 p(image) / (C H W), averaged over the images.

    The images' contexts are used where they have the model's width; images without any are judged
    unconditionally. ``progress`` is told after each batch how many images it had. The module is
    used as it is, in eval mode and on its own device.

    Raises FastdiffError where there is no image, none of the model's shape, or it trains.
    """
    model.check_eval()
    C, H, W = model.sample_shape
    if not len(images) or images.x.shape[1:] != (H, W, C):
        raise FastdiffError(
            f"images: expected at least one of {[H, W, C]}, got {list(images.x.shape)}"
        )
    width = images.context.shape[1]
    if width not in (0, model.context_width):
        raise FastdiffError(
            f"images: expected a context of width {model.context_width}, got {width}"
        )
    if batch_size < 1:
        raise FastdiffError(f"batch_size: expected at least 1, got {batch_size}")
    device = device_of(model.module)
    bits = np.zeros(len(images))
    for first in range(0, len(images), batch_size):
        part = slice(first, first + batch_size)
        levels = torch.from_numpy(to_levels(images.x[part], model.levels)).long()
        context = torch.from_numpy(images.context[part]).to(device) if width else None
        logits = model(model.input_of(levels).to(device), context).float()
        nats = cross_entropy(logits, levels.to(device), reduction="none")
        bits[part] = nats.double().mean(dim=(1, 2, 3)).cpu().numpy() / math.log(2.0)
        if progress is not None:
            progress(len(levels))
    spread = float(bits.std(ddof=1) / math.sqrt(len(bits))) if len(bits) > 1 else 0.0
    return BitsPerDimension(float(bits.mean()), spread, len(bits))
