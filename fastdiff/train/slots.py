"""Which image each slot of a batch shows, and how: a function of (seed, step), no random state.

Slot b of step s draws from key ``seed + b``, counter step ``s``, stream 2: first one normal per
pixel value (the noise of a denoiser; others leave it out), then four uniforms for level, context
dropping, mirroring and a spare. Epoch e is the order that sorts one word per image, key ``seed``
with its top bit set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdiff import noise
from fastdiff.data.dataset import ImageSet
from fastdiff.train.config import TrainConfig

ALL = slice(None)


@dataclass(frozen=True)
class Shown:
    """The slots of one step, B of them: all of its batch, or a share."""

    slot: npt.NDArray[np.int64]  # [B], their places in the whole batch
    seeds: npt.NDArray[np.uint64]  # [B]
    index: npt.NDArray[np.int64]  # [B], into the images
    u_level: npt.NDArray[np.float32]  # [B], in (0, 1]
    context: npt.NDArray[np.float32]  # [B, width], dropped rows are zero
    mirrored: npt.NDArray[np.bool_]  # [B]

    def of(self, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The images [B, C, H, W] that are shown, of all of them [N, C, H, W]."""
        shown = images[self.index]
        shown[self.mirrored] = shown[self.mirrored][..., ::-1]
        return shown


class Slots:
    """``slots(step)`` says what that step shows, whenever and wherever it is asked.

    ``share``: which slots of each batch, all unless given; the others are not drawn.
    """

    def __init__(self, images: ImageSet, config: TrainConfig, share: slice = ALL) -> None:
        self.images, self.config = images, config
        self.slot = np.arange(config.batch_size)[share]
        self.seeds = noise.as_seeds(config.seed, config.batch_size)[share]
        self.pixels = int(np.prod(images.x.shape[1:]))
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def _index(self, position: int) -> int:
        epoch, k = divmod(position, len(self.images))
        if epoch != self._epoch:
            key = np.array([self.config.seed + 2**63], dtype=np.uint64)
            words = noise.words(key, epoch, noise.STREAM_TRAIN, len(self.images))[0]
            self._order, self._epoch = np.argsort(words, kind="stable"), epoch
        return int(self._order[k])

    def __call__(self, step: int) -> Shown:
        """The slots of optimiser step ``step``, counted from 0."""
        config, size = self.config, self.config.batch_size
        index = np.array([self._index(step * size + int(b)) for b in self.slot])
        whole = -(-self.pixels // 4) * 4
        u = noise.uniform(self.seeds, step, noise.STREAM_TRAIN, 4, first_element=whole)
        context = self.images.context[index] * (u[:, 1] > config.drop)[:, None]
        mirrored = (u[:, 2] <= 0.5) & config.flip
        return Shown(self.slot, self.seeds, index, u[:, 0], context, mirrored)
