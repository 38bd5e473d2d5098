"""Euler's method in rho = sigma / alpha, plain and ancestral (Karras et al. 2022; k-diffusion).

With y = x / alpha the probability flow is dy = eps drho. One Euler step of it is DDIM's step, and
the ancestral one DDIM's with eta = 1, which is DDPM's with the small variance: three names for the
same tables, told apart by the spacing that people use them with.
"""

from __future__ import annotations

import numpy as np

from fastdiff.samplers.form import X, Z
from fastdiff.samplers.options import Clip, begin, number
from fastdiff.samplers.table import SamplerTable
from fastdiff.schedules import AnySchedule

DEFAULT_STEPS = 25


def euler(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of Euler's method, y' = y + (rho' - rho) eps; 25 rows unless given."""
    rows = begin(schedule, steps, DEFAULT_STEPS, spacing, strength, clip)
    alpha, rho = rows.path.alpha, rows.path.rho
    for k in range(len(rows.path)):
        y = X / alpha[k] + (rho[k + 1] - rho[k]) * rows.eps(k)
        rows.add(alpha[k + 1] * y)
    return rows.table("euler")


def euler_ancestral(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    eta: float = 1.0,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of Euler's method down to rho_down < rho', and noise back up to rho'.

    rho_up = eta rho' sqrt(1 - rho'^2 / rho^2), rho_down^2 = rho'^2 - rho_up^2; 25 rows.
    """
    eta = number("eta", eta, 0.0, 1.0)
    rows = begin(schedule, steps, DEFAULT_STEPS, spacing, strength, clip)
    alpha, rho = rows.path.alpha, rows.path.rho
    for k in range(len(rows.path)):
        up, down = ancestral(rho[k], rho[k + 1], eta)
        y = X / alpha[k] + (down - rho[k]) * rows.eps(k) + up * Z
        rows.add(alpha[k + 1] * y)
    return rows.table("euler_ancestral" + (f",eta={eta:g}" if eta != 1 else ""))


def ancestral(rho: float, below: float, eta: float) -> tuple[float, float]:
    """(rho_up, rho_down) of an ancestral step from ``rho`` to ``below``."""
    up = eta * below * np.sqrt(1.0 - below**2 / rho**2)
    return float(up), float(np.sqrt(below**2 - up**2))
