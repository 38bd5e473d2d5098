"""DDPM ancestral sampling (Ho et al. 2020, algorithm 2) as a table."""

from __future__ import annotations

import numpy as np

from fastdiff.errors import FastdiffError
from fastdiff.samplers.form import Form, Rows, X, Z
from fastdiff.samplers.options import Clip, begin
from fastdiff.samplers.table import SamplerTable
from fastdiff.schedules import MAX_LEVELS, AnySchedule, Schedule

VARIANCES = ("large", "small")
EDM_STEPS = 256


def ddpm(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    variance: str = "large",
    noise: bool = True,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of DDPM over ``steps`` rows (all T levels unless given; 256 without levels).

    x_{k+1} = (x_k - eps beta / sigma) / r + s z_k with r = sqrt(alpha_jump) and s^2 = beta
    (``variance="large"``, the course's choice) or beta sigma'^2 / sigma^2 (``"small"``), and no
    noise in the last row.

    ``noise=False`` is the course's deliberate mistake: it forgets to add noise back, the
    images leave the distribution that the model was trained on and collapse to blobs.
    ``clip=(lo, hi)`` clamps x0 in every row (algorithm 2 through equation 7).
    """
    if variance not in VARIANCES:
        raise FastdiffError(f"variance: expected one of {', '.join(VARIANCES)}, got {variance!r}")
    if not isinstance(noise, (bool, np.bool_)):
        raise FastdiffError(f"noise: expected True or False, got {noise!r}")
    default = MAX_LEVELS if isinstance(schedule, Schedule) else EDM_STEPS
    rows = begin(schedule, steps, default, spacing, strength, clip, signal=False)
    sigma = rows.path.sigma
    for k in range(len(rows.path)):
        r, beta = _jump(rows, k)
        if clip is None and r > 0:
            # Equal on paper to the mean by x0, but the course's alpha_bar is not the product of
            # its alpha, and its loop is written with eps (equation 11).
            mean = X / r - rows.eps(k) * (beta / (sigma[k] * r))
        else:  # the mean of q(x_below | x, x0), equation 7; without signal only x0 can say it
            x0 = rows.x0(k) if clip is None else Form.of("x0")
            below = sigma[k + 1] ** 2
            mean = X * (r * below / sigma[k] ** 2)
            mean = mean + x0 * (rows.path.alpha[k + 1] * beta / sigma[k] ** 2)
        variance2 = beta if variance == "large" else beta * sigma[k + 1] ** 2 / sigma[k] ** 2
        last = sigma[k + 1] == 0
        rows.add(mean if last or not noise else mean + np.sqrt(variance2) * Z)
    return rows.table("ddpm" + ("" if noise else ",noise=False"), clamp_m=False)


def _jump(rows: Rows, k: int) -> tuple[float, float]:
    """(r, beta) of the jump from node k + 1 up to node k: x_k = r x_{k+1} + sqrt(beta) eps."""
    path = rows.path
    level, below = path.level[k : k + 2]
    if isinstance(path.schedule, Schedule) and level == int(level) and below == int(below):
        alpha = path.schedule.alpha_between(int(level), int(below))
        return float(np.sqrt(alpha)), 1.0 - alpha
    r = path.alpha[k] / path.alpha[k + 1]
    return float(r), float(path.sigma[k] ** 2 - (r * path.sigma[k + 1]) ** 2)
