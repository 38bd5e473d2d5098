"""DDIM (Song et al. 2021, equation 12) as a table, and its inversion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastdiff.samplers.form import Form, Rows, X, Z
from fastdiff.samplers.options import Clip, begin, checked_clip, number, steps_or
from fastdiff.samplers.path import path
from fastdiff.samplers.table import SamplerTable
from fastdiff.schedules import AnySchedule, Schedule

DEFAULT_STEPS = 25


def ddim(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    eta: float = 0.0,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of DDIM over ``steps`` rows (25 unless given).

    x_{k+1} = alpha' x0 + sqrt(sigma'^2 - s^2) eps + s z_k
    s = eta (sigma' / sigma) sqrt(sigma^2 - sigma'^2 (alpha / alpha')^2)

    x0 and eps follow from x_k and m_k by the model's prediction type. ``eta``: 0 is deterministic,
    1 has DDPM's small variance. ``clip=(lo, hi)`` clamps x0, and leaves eps as it was. ``spacing``,
    ``strength``: ``samplers/spacing.py``, ``samplers/path.py``.
    """
    eta = number("eta", eta, 0.0, 1.0)
    rows = begin(schedule, steps, DEFAULT_STEPS, spacing, strength, clip, signal=False)
    alpha, sigma = rows.path.alpha, rows.path.sigma
    for k in range(len(rows.path)):
        jump = sigma[k] ** 2 - (sigma[k + 1] * alpha[k] / alpha[k + 1]) ** 2
        s = eta * sigma[k + 1] / sigma[k] * np.sqrt(jump)
        x0 = rows.x0(k) if clip is None else Form.of("x0")
        rows.add(alpha[k + 1] * x0 + np.sqrt(sigma[k + 1] ** 2 - s**2) * rows.eps(k) + s * Z)
    return rows.table("ddim" + (f",eta={eta:g}" if eta else ""), clamp_m=False)


def ddim_inverse(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table that walks DDIM's path backwards, from an image to its noise; 25 rows.

    x_{k+1} = alpha' x0 + sigma' eps, the levels rising. The model is asked at x_k with the time of
    x_{k+1}: the answer that DDIM will need on its way down, as well as x_k can give it (Dhariwal &
    Nichol 2021, section F). ``ddim`` over the same levels comes back to the image up to that
    approximation. ``strength`` below 1 stops earlier.
    """
    down = path(schedule, steps_or(schedule, steps, DEFAULT_STEPS), spacing, strength)
    up = down.take(slice(None, None, -1))
    asked = replace(up, t=np.roll(up.t, -1), in_scale=np.roll(up.in_scale, -1))
    if isinstance(schedule, Schedule) and schedule.prediction == "x0":
        # Of a clean image, x0 says nothing of eps: take the answer for what it is asked about.
        eps_at_first = Rows(up.take([1, 1]), None).eps(0)
    else:
        eps_at_first = None
    rows = Rows(asked, checked_clip(clip))
    for k in range(len(asked)):
        eps = eps_at_first if k == 0 and eps_at_first else rows.eps(k)
        x0 = rows.x0(k) if clip is None else Form.of("x0")
        if k == 0 and eps_at_first:
            x0 = X
        rows.add(up.alpha[k + 1] * x0 + up.sigma[k + 1] * eps)
    return rows.table("ddim_inverse", clamp_m=False, to_noise=True)
