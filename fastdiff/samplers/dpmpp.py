"""DPM-Solver++ multistep (Lu et al. 2022, arXiv:2211.01095) as tables.

With lambda = ln(alpha / sigma), alpha = sqrt(alpha_bar), sigma = sqrt(1 - alpha_bar), from level s
to level t, h = lambda_t - lambda_s and D the prediction of x0 (algorithm 2 for order 2):

    x_t = sigma_t / sigma_s x_s - alpha_t (e^-h - 1) D                                  (ODE)
    x_t = sigma_t / sigma_s e^-h x_s + alpha_t (1 - e^-2h) D + sigma_t sqrt(1 - e^-2h) z    (SDE)

D is x0's prediction of this row alone in order 1, and extrapolated through those of the last rows
in orders 2 and 3. A prediction of an earlier row is affine in that row's x and m, which is what
the table's history columns are for. The last row, whose lambda_t is infinite, is of order 1.
"""

from __future__ import annotations

import numpy as np

from fastdiff.samplers.prediction import x0_and_eps
from fastdiff.samplers.spacing import levels
from fastdiff.samplers.table import SamplerTable
from fastdiff.schedules import Schedule

DEFAULT_STEPS = 20
FEW_STEPS = 15  # below, the order falls towards the end: extrapolating to lambda = inf is unstable


def dpmpp_2m(
    schedule: Schedule, steps: int | None = None, *, spacing: str = "trailing"
) -> SamplerTable:
    """The table of DPM-Solver++ (2M), second order, ``steps`` rows (20 unless given)."""
    return _build("dpmpp_2m", schedule, steps, spacing, order=2, sde=False)


def dpmpp_3m(
    schedule: Schedule, steps: int | None = None, *, spacing: str = "trailing"
) -> SamplerTable:
    """The table of DPM-Solver++ (3M), third order, ``steps`` rows (20 unless given)."""
    return _build("dpmpp_3m", schedule, steps, spacing, order=3, sde=False)


def dpmpp_2m_sde(
    schedule: Schedule, steps: int | None = None, *, spacing: str = "trailing"
) -> SamplerTable:
    """The table of SDE-DPM-Solver++ (2M), second order and stochastic, 20 rows unless given."""
    return _build("dpmpp_2m_sde", schedule, steps, spacing, order=2, sde=True)


def _build(
    name: str, schedule: Schedule, steps: int | None, spacing: str, order: int, sde: bool
) -> SamplerTable:
    visited = levels(schedule, min(DEFAULT_STEPS, schedule.T) if steps is None else steps, spacing)
    count = len(visited) - 1
    alpha = np.sqrt(schedule.alpha_bar[visited])
    sigma = np.sqrt(1.0 - schedule.alpha_bar[visited])
    with np.errstate(divide="ignore"):
        lam = np.log(alpha) - np.log(sigma)  # -inf at zero SNR, inf at the clean image
    x0, _ = x0_and_eps(schedule, visited[:-1])
    columns = {
        "t": schedule.t[visited[:-1]],
        "x0_from_x": x0.from_x,
        "x0_from_m": x0.from_m,
        "noise": np.zeros(count),
        **{f"{prefix}[{back}]": np.zeros(count) for prefix in "xm" for back in range(order)},
    }
    for k in range(count):
        h = lam[k + 1] - lam[k]
        decay = np.exp(-h)
        if sde:
            columns["x[0]"][k] = sigma[k + 1] / sigma[k] * decay
            columns["noise"][k] = sigma[k + 1] * np.sqrt(1.0 - decay**2)
        else:
            columns["x[0]"][k] = sigma[k + 1] / sigma[k]
        usable = min(order, k + 1, _order_left(k, count))
        for back, weight in enumerate(_weights(lam, k, usable, alpha[k + 1], decay, sde)):
            columns[f"x[{back}]"][k] += weight * x0.from_x[k - back]
            columns[f"m[{back}]"][k] += weight * x0.from_m[k - back]
    return SamplerTable.build(f"{name}:{count}", columns)


def _order_left(k: int, count: int) -> int:
    """The highest order that row k may have for being near the end."""
    if k == count - 1:
        return 1
    return 2 if k == count - 2 and count < FEW_STEPS else 3


def _weights(
    lam: np.ndarray[tuple[int], np.dtype[np.float64]],
    k: int,
    order: int,
    alpha: float,
    decay: float,
    sde: bool,
) -> list[float]:
    """Weights of x0's predictions of rows k, k - 1, ... in x_{k+1}."""
    gain = alpha * (1.0 - decay**2) if sde else alpha * (1.0 - decay)
    if order == 1:
        return [gain]
    h = lam[k + 1] - lam[k]
    r0 = (lam[k] - lam[k - 1]) / h
    if order == 2:
        # D + D1 / 2 with D1 = (D_k - D_{k-1}) / r0
        return [gain * (1.0 + 0.5 / r0), -gain * 0.5 / r0]
    r1 = (lam[k - 1] - lam[k - 2]) / h
    first = np.array([1.0 / r0, -1.0 / r0, 0.0])  # divided differences
    second = np.array([0.0, 1.0 / r1, -1.0 / r1]) if np.isfinite(r1) else np.zeros(3)
    share = r0 / (r0 + r1)
    d1 = first + share * (first - second)
    d2 = (first - second) / (r0 + r1)
    once, twice = (decay - 1.0) / h + 1.0, (decay - 1.0 + h) / h**2 - 0.5
    total = gain * np.array([1.0, 0.0, 0.0]) + alpha * once * d1 - alpha * twice * d2
    return [float(v) for v in total]
