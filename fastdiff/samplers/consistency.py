"""Samplers for consistency-distilled models: LCM and TCD, as tables.

Both jump all the way to an estimate and go back up by noise. They visit the levels of the
distillation, multiples of T // ``original_steps``, evenly chosen from the top.
"""

from __future__ import annotations

import numpy as np

from fastdiff.errors import FastdiffError
from fastdiff.samplers.form import Rows, X, Z
from fastdiff.samplers.options import Clip, checked_clip, needs_levels, number, whole
from fastdiff.samplers.path import at_levels
from fastdiff.samplers.table import SamplerTable
from fastdiff.schedules import AnySchedule, Schedule

DEFAULT_STEPS = 4
ORIGINAL_STEPS = 50
SIGMA_DATA = 0.5  # of the boundary condition's c_skip and c_out


def lcm(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    original_steps: int = ORIGINAL_STEPS,
    timestep_scaling: float = 10.0,
    clip: Clip = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of latent consistency sampling (Luo et al. 2023, algorithm 3); 4 rows.

    f = c_skip x + c_out x0, x_{k+1} = alpha' f + sigma' z, the last row f itself. With s =
    ``timestep_scaling`` * t (t the integer timestep), c_skip = 0.25 / (s^2 + 0.25) and c_out =
    s / sqrt(s^2 + 0.25).
    """
    rows = _distilled(needs_levels(schedule, "lcm"), steps, original_steps, strength, clip)
    path = rows.path
    scaled = number("timestep_scaling", timestep_scaling, 0.0) * (path.level - 1.0)
    skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
    out = scaled / np.sqrt(scaled**2 + SIGMA_DATA**2)
    for k in range(len(path)):
        f = skip[k] * X + out[k] * rows.x0(k)
        rows.add(path.alpha[k + 1] * f + path.sigma[k + 1] * Z)
    return rows.table("lcm")


def tcd(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    gamma: float = 0.3,
    original_steps: int = ORIGINAL_STEPS,
    clip: Clip = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of trajectory consistency sampling (Zheng et al. 2024, algorithm 4); 4 rows.

    Down to timestep s = floor((1 - ``gamma``) t'), x_s = alpha_s x0 + sigma_s eps, and by noise
    back up to t': x_{k+1} = (alpha' / alpha_s) x_s + sqrt(1 - (alpha' / alpha_s)^2) z. ``gamma`` 0
    is deterministic, 1 fully stochastic. The last row goes to the image.
    """
    schedule = needs_levels(schedule, "tcd")
    gamma = number("gamma", gamma, 0.0, 1.0)
    rows = _distilled(schedule, steps, original_steps, strength, clip)
    path = rows.path
    # One level above the timestep; floored with a hair more, so that 0.7 * 990 is 693.
    below = np.floor((1.0 - gamma) * (path.level - 1.0) + 1e-9).astype(np.int64) + 1
    signal = np.where(path.level == 0, 1.0, np.sqrt(schedule.alpha_bar[below]))
    for k in range(len(path)):
        s = signal[k + 1]
        x_s = s * rows.x0(k) + float(np.sqrt(1.0 - s**2)) * rows.eps(k)
        up = path.alpha[k + 1] / s
        rows.add(up * x_s + float(np.sqrt(1.0 - up**2)) * Z)
    return rows.table(f"tcd,gamma={gamma:g}")


def _distilled(
    schedule: Schedule, steps: int | None, original_steps: int, strength: float, clip: Clip
) -> Rows:
    original = min(whole("original_steps", original_steps, 1), schedule.T)
    count = DEFAULT_STEPS if steps is None else whole("steps", steps, 1)
    if count > original:
        raise FastdiffError(
            f"steps: expected at most original_steps {original}, the levels of the distillation, "
            f"got {count}"
        )
    levels = np.arange(original, 0, -1) * (schedule.T // original)
    chosen = np.floor(np.linspace(0, original, count, endpoint=False)).astype(np.int64)
    visited = at_levels(schedule, np.append(levels[chosen], 0)).last(strength)
    return Rows(visited.with_signal(), checked_clip(clip))
