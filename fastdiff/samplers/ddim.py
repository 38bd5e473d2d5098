"""DDIM (Song et al. 2021, equation 12) as a table."""

from __future__ import annotations

import numpy as np

from fastdiff.errors import FastdiffError
from fastdiff.samplers.clamp import Clamp, clamp_columns
from fastdiff.samplers.prediction import x0_and_eps
from fastdiff.samplers.spacing import levels
from fastdiff.samplers.table import SamplerTable
from fastdiff.schedules import Schedule

DEFAULT_STEPS = 25


def ddim(
    schedule: Schedule,
    steps: int | None = None,
    *,
    eta: float = 0.0,
    clip: Clamp = None,
    spacing: str = "trailing",
) -> SamplerTable:
    """The table of DDIM over ``steps`` rows (25 unless given).

    x_{k+1} = sqrt(ab_below) x0 + sqrt(1 - ab_below - sigma^2) eps + sigma z_k
    sigma = eta sqrt((1 - ab_below) / (1 - ab)) sqrt(1 - ab / ab_below)

    x0 and eps follow from x_k and m_k by the model's prediction type. ``eta``: 0 is
    deterministic, 1 has DDPM's small variance. ``clip=(lo, hi)`` clamps x0.
    """
    if isinstance(eta, bool) or not isinstance(eta, (int, float)) or not 0.0 <= eta <= 1.0:
        raise FastdiffError(f"eta: expected a number from 0 to 1, got {eta!r}")
    visited = levels(schedule, min(DEFAULT_STEPS, schedule.T) if steps is None else steps, spacing)
    level, below = visited[:-1], visited[1:]
    ab, ab_below = schedule.alpha_bar[level], schedule.alpha_bar[below]
    sigma = eta * np.sqrt((1.0 - ab_below) / (1.0 - ab)) * np.sqrt(1.0 - ab / ab_below)
    direction = np.sqrt(1.0 - ab_below - sigma**2)
    x0, eps = x0_and_eps(schedule, level)
    columns = {"t": schedule.t[level], "x0_from_x": x0.from_x, "x0_from_m": x0.from_m}
    step = eps * direction
    if clip is None:
        step = step + x0 * np.sqrt(ab_below)
    else:
        columns["x0"] = np.sqrt(ab_below)
        columns |= clamp_columns(clip)
    columns |= {"x[0]": step.from_x, "m[0]": step.from_m}
    name = f"ddim:{len(level)}" + (f",eta={eta:g}" if eta else "")
    columns["noise"] = sigma
    return SamplerTable.build(name, columns)
