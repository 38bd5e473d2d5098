"""The mean squared noise error of a model on images, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fastdiff import noise
from fastdiff.data.dataset import ImageSet
from fastdiff.data.pictures import from_pixels
from fastdiff.errors import FastdiffError
from fastdiff.models.device import device_of
from fastdiff.models.model import DiffusionModel
from fastdiff.samplers.prediction import x0_and_eps

FRACTIONS = (0.02, 0.2, 0.6, 0.9)


@dataclass(frozen=True)
class NoiseError:
    """Mean of (eps - predicted eps)^2 at level round(fraction * T), whatever the model predicts.

    ``standard_error`` is that of the mean, over images.
    ``predict_zero`` is the error of always answering 0, close to 1: what a model must be under.
    """

    fraction: float
    level: int
    mean: float
    standard_error: float
    predict_zero: float


@torch.inference_mode()
def noise_error(
    model: DiffusionModel,
    images: ImageSet,
    fractions: Sequence[float] = FRACTIONS,
    draws: int = 4,
    seed: int = 0,
    batch_size: int = 256,
) -> list[NoiseError]:
    """The error at each fraction of T over all images, ``draws`` fixed noises each.

    The noise of image k and draw d is normal(seed + k, step=d), so that the figure is the same
    every time and for every model. The standard error is over images.
    """
    if not len(images) or images.context.shape[1] != model.context_width:
        raise FastdiffError(
            f"images: expected at least one, with a context of width {model.context_width}, "
            f"got {len(images)} of width {images.context.shape[1]}"
        )
    x0, device = from_pixels(images.x), device_of(model.module)
    seeds = noise.as_seeds(seed, len(x0))
    found = []
    for fraction in fractions:
        level = min(max(round(fraction * model.levels.T), 1), model.levels.T)
        ab, t = model.levels.alpha_bar[level], model.levels.t[level]
        _, eps_of = x0_and_eps(model.levels, np.array([level]))
        error = np.zeros(len(x0))
        zero = np.zeros(len(x0))
        for draw in range(draws):
            eps = noise.normal(seeds, draw, noise.STREAM_TRAIN, x0[0].size).reshape(x0.shape)
            x_t = (np.sqrt(ab) * x0 + np.sqrt(1 - ab) * eps).astype(np.float32)
            for first in range(0, len(x0), batch_size):
                part = slice(first, first + batch_size)
                x = torch.from_numpy(x_t[part]).to(device)
                context = torch.from_numpy(images.context[part]).to(device)
                times = torch.full((len(x),), float(t), device=device)
                out = model(x, times, context).double().cpu().numpy()
                told = eps_of.from_x * x_t[part] + eps_of.from_m * out
                error[part] += ((eps[part] - told) ** 2).mean(axis=(1, 2, 3)) / draws
                zero[part] += (eps[part].astype(np.float64) ** 2).mean(axis=(1, 2, 3)) / draws
        spread = float(error.std(ddof=1) / np.sqrt(len(error))) if len(error) > 1 else 0.0
        found.append(NoiseError(fraction, level, float(error.mean()), spread, float(zero.mean())))
    return found
