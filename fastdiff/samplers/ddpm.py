"""DDPM ancestral sampling (Ho et al. 2020, algorithm 2) as a table."""

from __future__ import annotations

import numpy as np

from fastdiff.errors import FastdiffError
from fastdiff.samplers.clamp import Clamp, clamp_columns
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

    x_{k+1} = (x_k - m_k beta / sqrt(1 - alpha_bar)) / sqrt(alpha) + sigma z_k, with
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
    columns = {
        "t": schedule.t[level],
        "x0_from_x": 1.0 / np.sqrt(ab),
        "x0_from_m": -np.sqrt(1.0 - ab) / np.sqrt(ab),
    }
    if clip is None:
        columns["x[0]"] = 1.0 / np.sqrt(alpha)
        columns["m[0]"] = -beta / np.sqrt(1.0 - ab) / np.sqrt(alpha)
    else:
        columns["x[0]"] = np.sqrt(alpha) * (1.0 - ab_below) / (1.0 - ab)
        columns["x0"] = np.sqrt(ab_below) * beta / (1.0 - ab)
        columns |= clamp_columns(clip)
    columns["noise"] = np.sqrt(sigma2) * (below > 0) if noise else np.zeros(len(level))
    name = f"ddpm:{len(level)}" + ("" if noise else ",noise=False")
    return SamplerTable.build(name, columns)
