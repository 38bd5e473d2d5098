"""DDPM ancestral sampling (Ho et al. 2020, algorithm 2) as a table."""

from __future__ import annotations

import numpy as np

from fastdiff.errors import FastdiffError
from fastdiff.samplers.clamp import Clamp, clamp_columns
from fastdiff.samplers.prediction import Affine, x0_and_eps
from fastdiff.samplers.spacing import levels
from fastdiff.samplers.table import SamplerTable
from fastdiff.schedules import Schedule

VARIANCES = ("large", "small")


def ddpm(
    schedule: Schedule,
    steps: int | None = None,
    *,
    variance: str = "large",
    noise: bool = True,
    clip: Clamp = None,
    spacing: str = "trailing",
) -> SamplerTable:
    """The table of DDPM over ``steps`` rows (all T levels unless given).

    x_{k+1} = (x_k - eps beta / sqrt(1 - alpha_bar)) / sqrt(alpha) + sigma z_k, with
    sigma^2 = beta (``variance="large"``, the course's choice) or
    beta (1 - alpha_bar_below) / (1 - alpha_bar) (``"small"``), and no noise in the last row.

    ``noise=False`` is the course's deliberate mistake: it forgets to add noise back, the
    images leave the distribution that the model was trained on and collapse to blobs.
    ``clip=(lo, hi)`` clamps x0 in every row (algorithm 2 through equation 7).
    """
    if variance not in VARIANCES:
        raise FastdiffError(f"variance: expected one of {', '.join(VARIANCES)}, got {variance!r}")
    if not isinstance(noise, (bool, np.bool_)):
        raise FastdiffError(f"noise: expected True or False, got {noise!r}")
    visited = levels(schedule, schedule.T if steps is None else steps, spacing)
    level, below = visited[:-1], visited[1:]
    ab, ab_below = schedule.alpha_bar[level], schedule.alpha_bar[below]
    alpha = np.array(
        [schedule.alpha_between(int(i), int(j)) for i, j in zip(level, below, strict=True)]
    )
    beta = 1.0 - alpha
    sigma2 = beta if variance == "large" else beta * (1.0 - ab_below) / (1.0 - ab)
    x0, eps = x0_and_eps(schedule, level)
    columns = {"t": schedule.t[level], "x0_from_x": x0.from_x, "x0_from_m": x0.from_m}
    # The mean of q(x_below | x, x0), in x and x0 (equation 7) and in x and eps (equation 11).
    x_part = np.sqrt(alpha) * (1.0 - ab_below) / (1.0 - ab)
    x0_part = np.sqrt(ab_below) * beta / (1.0 - ab)
    if clip is None:
        one = Affine(np.ones(len(level)), np.zeros(len(level)))
        mean = one * x_part + x0 * x0_part
        # Equal on paper, but the course's alpha_bar is not the product of its alpha, and its
        # loop is written with eps. Where no signal is left (zero SNR) only x0 can say it.
        some = alpha > 0
        root = np.sqrt(np.where(some, alpha, 1.0))
        by_eps = one * (1.0 / root) + eps * (-beta / np.sqrt(1.0 - ab) / root)
        columns["x[0]"] = np.where(some, by_eps.from_x, mean.from_x)
        columns["m[0]"] = np.where(some, by_eps.from_m, mean.from_m)
    else:
        columns |= {"x[0]": x_part, "x0": x0_part}
        columns |= clamp_columns(clip)
    columns["noise"] = np.sqrt(sigma2) * (below > 0) if noise else np.zeros(len(level))
    name = f"ddpm:{len(level)}" + ("" if noise else ",noise=False")
    return SamplerTable.build(name, columns)
