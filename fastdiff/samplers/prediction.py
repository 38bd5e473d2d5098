"""What a model's answer says of x0 and eps: both are affine in x and the model output m.

    x = sqrt(ab) x0 + sqrt(1 - ab) eps           v = sqrt(ab) eps - sqrt(1 - ab) x0

so whatever a sampler wants with x0 and eps, its table can say in x and m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastdiff.samplers.table import Float64Array
from fastdiff.schedules import Schedule


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
    signal = np.sqrt(schedule.alpha_bar[level])
    noise = np.sqrt(1.0 - schedule.alpha_bar[level])
    one, zero = np.ones(len(level)), np.zeros(len(level))
    if schedule.prediction == "eps":
        return Affine(1.0 / signal, -noise / signal), Affine(zero, one)
    if schedule.prediction == "x0":
        return Affine(zero, one), Affine(1.0 / noise, -signal / noise)
    return Affine(signal, -noise), Affine(noise, signal)
