"""Training batches as a function of (seed, step): resuming needs no random state.

Slot b of step s draws from key ``seed + b``, counter step ``s``, stream 2: first the noise, one
normal per pixel value, then four uniforms for level, context dropping, mirroring and a spare.
Epoch e is the order that sorts one word per image, key ``seed`` with its top bit set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastdiff import noise
from fastdiff.data.dataset import ImageSet
from fastdiff.data.pictures import from_pixels
from fastdiff.schedules import Schedule
from fastdiff.train.config import TrainConfig


@dataclass(frozen=True)
class Batch:
    """x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps, and what the net needs to undo it."""

    x_t: Tensor  # [B, C, H, W]
    t: Tensor  # [B], the schedule's unit
    context: Tensor  # [B, width], dropped rows are zero
    target: Tensor  # [B, C, H, W], what the net is to predict: eps, x0 or v


class Batches:
    """``batches(step)`` gives the batch of that step, whenever and wherever it is asked."""

    def __init__(self, images: ImageSet, schedule: Schedule, config: TrainConfig) -> None:
        self.x = from_pixels(images.x)
        self.context = images.context
        self.schedule = schedule
        self.config = config
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def _index(self, position: int) -> int:
        epoch, k = divmod(position, len(self.x))
        if epoch != self._epoch:
            key = np.array([self.config.seed + 2**63], dtype=np.uint64)
            words = noise.words(key, epoch, noise.STREAM_TRAIN, len(self.x))[0]
            self._order, self._epoch = np.argsort(words, kind="stable"), epoch
        return int(self._order[k])

    def __call__(self, step: int) -> Batch:
        """The batch of optimiser step ``step``, counted from 0."""
        config, (_, *shape) = self.config, self.x.shape
        size, count = config.batch_size, int(np.prod(shape))
        index = [self._index(step * size + b) for b in range(size)]
        seeds = noise.as_seeds(config.seed, size)
        eps = noise.normal(seeds, step, noise.STREAM_TRAIN, count).reshape(size, *shape)
        whole = -(-count // 4) * 4
        u = noise.uniform(seeds, step, noise.STREAM_TRAIN, 4, first_element=whole)
        # Levels spread over the batch, one per stratum: the same mean, less variance
        # (Kingma et al. 2021, appendix I.1).
        T = self.schedule.T
        level = np.minimum((np.arange(size) + u[:, 0]) / size * T, T - 1).astype(np.int64) + 1
        context = self.context[index] * (u[:, 1] > config.drop)[:, None]
        x0 = self.x[index]
        if config.flip:
            mirrored = u[:, 2] <= 0.5
            x0[mirrored] = x0[mirrored][..., ::-1]
        ab = self.schedule.alpha_bar[level].astype(np.float32)[:, None, None, None]
        x_t = np.sqrt(ab) * x0 + np.sqrt(1 - ab) * eps
        target: npt.NDArray[np.floating[Any]] = eps
        if self.schedule.prediction == "x0":
            target = x0
        elif self.schedule.prediction == "v":
            target = np.sqrt(ab) * eps - np.sqrt(1 - ab) * x0
        t = self.schedule.t[level].astype(np.float32)
        return Batch(
            *(torch.from_numpy(np.ascontiguousarray(v)) for v in (x_t, t, context, target))
        )
