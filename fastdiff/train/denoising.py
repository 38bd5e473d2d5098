"""Training to denoise: x_t of a random level in, the (weighted) error of the prediction out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL.Image import Image
from torch import Tensor, nn

from fastdiff import noise
from fastdiff.data.dataset import ImageSet
from fastdiff.data.pictures import from_pixels, grid, to_pixels
from fastdiff.engine import compile as compile_engine
from fastdiff.metrics.noise_error import noise_error
from fastdiff.models.kinds import AnyModel, expect_diffusion
from fastdiff.models.model import DiffusionModel
from fastdiff.schedules import Schedule
from fastdiff.train.config import TrainConfig
from fastdiff.train.slots import ALL, Slots
from fastdiff.train.weighting import denoising_loss, level_weights


@dataclass(frozen=True)
class Batch:
    """x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps, and what the net needs to undo it."""

    x_t: Tensor  # [B, C, H, W]
    t: Tensor  # [B], the schedule's unit
    context: Tensor  # [B, width], dropped rows are zero
    target: Tensor  # [B, C, H, W], what the net is to predict: eps, x0 or v
    weight: Tensor  # [B], how much the sample's level counts in the loss

    def to(self, device: torch.device) -> Batch:
        """The batch on that device, x_t in channels-last order."""
        x_t = self.x_t.to(device, memory_format=torch.channels_last)
        return Batch(x_t, *(v.to(device) for v in (self.t, self.context, self.target, self.weight)))


class Batches:
    """``batches(step)`` gives the batch of that step, whenever and wherever it is asked.

    ``share``: which slots of it, all unless given.
    """

    def __init__(
        self, images: ImageSet, schedule: Schedule, config: TrainConfig, share: slice = ALL
    ) -> None:
        self.x = from_pixels(images.x)
        self.schedule, self.size = schedule, config.batch_size
        self.weights = level_weights(schedule, config).astype(np.float32)
        self.slots = Slots(images, config, share)

    def __call__(self, step: int) -> Batch:
        """The batch of optimiser step ``step``, counted from 0."""
        shown = self.slots(step)
        x0 = shown.of(self.x)
        eps = noise.normal(shown.seeds, step, noise.STREAM_TRAIN, x0[0].size).reshape(x0.shape)
        # Levels spread over the batch, one per stratum: the same mean, less variance
        # (Kingma et al. 2021, appendix I.1).
        T = self.schedule.T
        at = (shown.slot + shown.u_level) / self.size * T
        level = np.minimum(at, T - 1).astype(np.int64) + 1
        ab = self.schedule.alpha_bar[level].astype(np.float32)[:, None, None, None]
        x_t = np.sqrt(ab) * x0 + np.sqrt(1 - ab) * eps
        target: npt.NDArray[np.floating[Any]] = eps
        if self.schedule.prediction == "x0":
            target = x0
        elif self.schedule.prediction == "v":
            target = np.sqrt(ab) * eps - np.sqrt(1 - ab) * x0
        t = self.schedule.t[level].astype(np.float32)
        told = (x_t, t, shown.context, target, self.weights[level])
        return Batch(*(torch.from_numpy(np.ascontiguousarray(v)) for v in told))


class Denoising:
    """The objective of a DiffusionModel."""

    memory_format = torch.channels_last

    def __init__(
        self, model: DiffusionModel, images: ImageSet, config: TrainConfig, share: slice = ALL
    ) -> None:
        self.config = config
        self.facts: dict[str, Any] = {"schedule": model.levels.to_dict()}
        self.batches = Batches(images, model.levels, config, share)
        self.conditional = model.context_width > 0

    def predict(self, module: nn.Module, batch: Batch) -> Tensor:
        """What the network takes the noise (or x0, or v) to be."""
        context = (batch.context,) if self.conditional else ()
        out: Tensor = module(batch.x_t, batch.t, *context)
        return out

    def loss(self, predicted: Tensor, batch: Batch) -> Tensor:
        """The mean squared (or absolute) error, weighted by level where that was asked for."""
        return denoising_loss(predicted, batch.target, batch.weight, self.config)

    def settle(self, module: nn.Module, device: torch.device) -> None:
        """Nothing: a denoiser does with the average of the trained norms."""

    def judge(self, model: AnyModel, held_out: ImageSet) -> dict[str, float]:
        """The mean squared noise error at a few levels."""
        errors = noise_error(expect_diffusion(model), held_out, draws=1)
        return {f"noise_error_{e.fraction:g}": e.mean for e in errors}

    def sample_grid(self, model: AnyModel, device: torch.device) -> Image:
        """8 images a class, or 64."""
        engine = compile_engine(expect_diffusion(model), backend="eager", device=str(device))
        names = [name for name in model.labels for _ in range(8)]
        samples = engine.sample(len(names) or 64, seed=0, context=names or None)
        return grid(to_pixels(samples.images), groups=names or None)
