"""The features in which pictures are compared: a small classifier's last hidden layer.

They are our own, trained on the data of the model that they judge (``recipes/``), named and
versioned: distances under different features have nothing to do with one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fastdiff.data.pictures import from_pixels, to_pixels
from fastdiff.errors import FastdiffError
from fastdiff.metrics.frechet import Float64Array, Statistics

MAX_CHANNELS = 1024
MAX_CLASSES = 10_000


class NotFiniteError(FastdiffError):
    """Pictures with nan or infinity in them: their sampler ran away."""


@dataclass(frozen=True)
class FeatureNetConfig:
    """Sizes of a :class:`FeatureNet`: channels of the picture, of its three levels, its heads."""

    in_channels: int = 3
    widths: tuple[int, int, int] = (32, 64, 96)
    n_features: int = 64
    n_classes: int = 5
    n_families: int = 0

    def __post_init__(self) -> None:
        sizes = (self.in_channels, *self.widths, self.n_features)
        if len(self.widths) != 3 or not all(
            type(v) is int and 1 <= v <= MAX_CHANNELS for v in sizes
        ):
            raise FastdiffError(f"sizes: expected 1 to {MAX_CHANNELS} channels, got {sizes}")
        heads = (self.n_classes, self.n_families)
        if not all(type(v) is int and 0 <= v <= MAX_CLASSES for v in heads) or not self.n_classes:
            raise FastdiffError(f"heads: expected 1 to {MAX_CLASSES} classes, got {heads}")


class FeatureNet(nn.Module):
    """Six 3x3 convolutions over three levels, averaged over the picture.

    Two heads are trained on the features, classes and finer families; neither is used to compare
    pictures. ``scale`` makes the unit of a distance, see ``recipes/sprites16_features.py``.
    """

    def __init__(self, config: FeatureNetConfig) -> None:
        super().__init__()
        self.config = config
        a, b, c = config.widths
        self.body = nn.Sequential(
            *_conv(config.in_channels, a),
            *_conv(a, a),
            nn.MaxPool2d(2),
            *_conv(a, b),
            *_conv(b, b),
            nn.MaxPool2d(2),
            *_conv(b, c),
            *_conv(c, config.n_features),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.classes = nn.Linear(config.n_features, config.n_classes)
        self.families = (
            nn.Linear(config.n_features, config.n_families) if config.n_families else None
        )
        self.register_buffer("scale", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, n_features] of x [B, C, H, W] in [-1, 1], not scaled."""
        out: Tensor = self.body(x)
        return out


def _conv(inside: int, outside: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
    return conv, nn.BatchNorm2d(outside), nn.GELU()


@dataclass(frozen=True)
class Features:
    """A trained feature net with what it compares to: the held-out pictures and the floor.

    ``name`` ends in its version. ``held_out``: statistics of the held-out pictures, each with its
    mirror image where ``mirrored`` says that the generator draws both. ``counts``: held-out
    pictures of each of ``labels``. ``training``, float64 [N, n_features], and ``training_label``,
    int64 [N]: the training pictures' features, the floor of a distance (``metrics/floor.py``).
    """

    name: str
    net: FeatureNet
    sample_shape: tuple[int, int, int]  # C, H, W
    labels: tuple[str, ...]
    held_out: Statistics
    counts: npt.NDArray[np.int64]
    training: Float64Array
    training_label: npt.NDArray[np.int64]
    facts: dict[str, Any]

    @torch.inference_mode()
    def of(self, images: npt.NDArray[Any], batch_size: int = 256) -> Float64Array:
        """Features float64 [n, n_features] of images float [n, C, H, W] in [-1, 1].

        The images are judged as people see them, rounded to 8 bits.
        Raises FastdiffError where the shape is another or a value is not finite.
        """
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1:] != self.sample_shape:
            raise FastdiffError(
                f"images: features {self.name} are of pictures {list(self.sample_shape)}, "
                f"got {list(images.shape[1:])}"
            )
        if not np.isfinite(images).all():
            raise NotFiniteError("images: expected finite values, got nan or infinity")
        x = from_pixels(to_pixels(images))
        found = np.empty((len(x), self.net.config.n_features))
        for first in range(0, len(x), batch_size):
            part = torch.from_numpy(x[first : first + batch_size])
            found[first : first + len(part)] = (self.net(part) * self.net.scale).numpy()
        return found
