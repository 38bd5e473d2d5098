"""Training to tell each pixel's level from those before it: cross-entropy in bits per dimension."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor, nn

from fastdiff.data.dataset import ImageSet
from fastdiff.data.pictures import from_levels, grid, to_levels
from fastdiff.errors import FastdiffError
from fastdiff.metrics.bits_per_dimension import bits_per_dimension
from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.models.kinds import AnyModel, expect_autoregressive
from fastdiff.pixelcnn.naive import sample_naive
from fastdiff.train.config import TrainConfig
from fastdiff.train.norms import measure_norms
from fastdiff.train.slots import ALL, Slots

# Two rows of a grid: the reference draws a pixel a forward, and training waits for it.
UNCONDITIONAL = 16
OF_EACH_CLASS = 2
# Batches that the averaged weights see, to measure batch norms of their own. Statistics of small
# batches are worse ones: on MNIST, 16 images at a time cost 0.015 bits more than 100.
NORM_BATCHES, NORM_BATCH_SIZE = 8, 128


@dataclass(frozen=True)
class LevelBatch:
    """Images as the network sees them and as what it is to predict."""

    x: Tensor  # [B, C, H, W], the network's own unit
    levels: Tensor  # int64 [B, C, H, W]
    context: Tensor  # [B, width], dropped rows are zero

    def to(self, device: torch.device) -> LevelBatch:
        """The batch on that device."""
        return LevelBatch(*(v.to(device) for v in (self.x, self.levels, self.context)))


class LevelBatches:
    """``batches(step)`` gives the batch of that step, whenever and wherever it is asked.

    ``share``: which slots of it, all unless given.
    """

    def __init__(
        self,
        model: AutoregressiveModel,
        images: ImageSet,
        config: TrainConfig,
        share: slice = ALL,
    ) -> None:
        self.model = model
        self.levels = to_levels(images.x, model.levels)
        self.slots = Slots(images, config, share)

    def of_size(self, batch_size: int) -> LevelBatches:
        """Whole batches of another size from the same images."""
        other = copy.copy(self)
        other.slots = Slots(self.slots.images, replace(self.slots.config, batch_size=batch_size))
        return other

    def __call__(self, step: int) -> LevelBatch:
        """The batch of optimiser step ``step``, counted from 0."""
        shown = self.slots(step)
        levels = torch.from_numpy(shown.of(self.levels)).long()
        return LevelBatch(self.model.input_of(levels), levels, torch.from_numpy(shown.context))


class LevelPrediction:
    """The objective of an AutoregressiveModel."""

    memory_format = torch.contiguous_format

    def __init__(
        self,
        model: AutoregressiveModel,
        images: ImageSet,
        config: TrainConfig,
        share: slice = ALL,
    ) -> None:
        for name, only in (("loss", "l2"), ("weighting", "none")):
            if getattr(config, name) != only:
                raise FastdiffError(
                    f"{name}: expected a model that denoises, {model.name!r} draws pixel by pixel"
                )
        self.facts: dict[str, Any] = {"levels": model.levels}
        self.batches = LevelBatches(model, images, config, share)
        self.norm_batches = self.batches.of_size(NORM_BATCH_SIZE)
        self.conditional = model.context_width > 0

    def predict(self, module: nn.Module, batch: LevelBatch) -> Tensor:
        """Logits of every pixel's levels."""
        out: Tensor = module(batch.x, batch.context) if self.conditional else module(batch.x)
        return out

    def loss(self, predicted: Tensor, batch: LevelBatch) -> Tensor:
        """The mean cross-entropy, in bits."""
        return nn.functional.cross_entropy(predicted, batch.levels) / math.log(2.0)

    def settle(self, module: nn.Module, device: torch.device) -> None:
        """Measures the batch norms of the averaged weights."""

        def show(k: int) -> None:
            self.predict(module, self.norm_batches(k).to(device))

        measure_norms(module, show, NORM_BATCHES)

    def judge(self, model: AnyModel, held_out: ImageSet) -> dict[str, float]:
        """Bits per dimension."""
        found = bits_per_dimension(expect_autoregressive(model), held_out)
        return {"bits_per_dimension": found.mean}

    def sample_grid(self, model: AnyModel, device: torch.device) -> Image:
        """A few images, by the reference."""
        model = expect_autoregressive(model)
        names = [name for name in model.labels for _ in range(OF_EACH_CLASS)]
        context = torch.eye(len(model.labels)).repeat_interleave(OF_EACH_CLASS, 0)
        seeds = range(len(names) or UNCONDITIONAL)
        levels = sample_naive(model, list(seeds), context if names else None)
        return grid(from_levels(levels, model.levels), groups=names or None)
