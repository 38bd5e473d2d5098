"""What a model's answer says of x0 and eps: both are affine in x and the model output m.

With x = alpha x0 + sigma eps:

    eps    x0 = (x - sigma m) / alpha
    x0     x0 = m
    v      v = alpha eps - sigma x0, alpha^2 + sigma^2 = 1           (Salimans & Ho 2022)
    edm    x0 = c_skip x + c_out m, the model sees c_in x            (Karras et al. 2022, table 1)

so whatever a sampler wants with x0 and eps, its table can say in x and m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastdiff.samplers.table import Float64Array
from fastdiff.schedules import AnySchedule, EDMSchedule, Schedule


@dataclass(frozen=True)
class Affine:
    """``from_x * x + from_m * m``, each float64 [K], one a row."""

    from_x: Float64Array
    from_m: Float64Array

    def __mul__(self, weight: Float64Array) -> Affine:
        return Affine(self.from_x * weight, self.from_m * weight)

    def __add__(self, other: Affine) -> Affine:
        return Affine(self.from_x + other.from_x, self.from_m + other.from_m)


def x0_and_eps(schedule: Schedule, level: npt.NDArray[np.int64]) -> tuple[Affine, Affine]:
    """(x0, eps) at the levels [K], in the model's prediction type."""
    ab = schedule.alpha_bar[level]
    return predicted(schedule, np.sqrt(ab), np.sqrt(1.0 - ab))


def predicted(
    schedule: AnySchedule, alpha: Float64Array, sigma: Float64Array
) -> tuple[Affine, Affine]:
    """(x0, eps) where x = alpha x0 + sigma eps, float64 [K] each.

    What a model cannot say is infinite or nan: x0 of eps without signal, eps of x0 without noise.
    """
    one, zero = np.ones(len(alpha)), np.zeros(len(alpha))
    if isinstance(schedule, EDMSchedule):
        data = schedule.sigma_data
        both = sigma**2 + data**2
        skip, out = data**2 / both, sigma * data / np.sqrt(both)
        return Affine(skip, out), Affine(sigma / both, -data / np.sqrt(both))
    with np.errstate(divide="ignore"):
        if schedule.prediction == "eps":
            return Affine(1.0 / alpha, -sigma / alpha), Affine(zero, one)
        if schedule.prediction == "x0":
            return Affine(zero, one), Affine(1.0 / sigma, -alpha / sigma)
    return Affine(alpha, -sigma), Affine(sigma, alpha)
