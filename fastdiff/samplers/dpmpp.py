"""DPM-Solver++ (Lu et al. 2022, arXiv:2211.01095) as tables.

With lambda = ln(alpha / sigma), from level s to level t, h = lambda_t - lambda_s and D the
prediction of x0 (algorithm 2 for order 2):

    x_t = sigma_t / sigma_s x_s - alpha_t (e^-h - 1) D                                  (ODE)
    x_t = sigma_t / sigma_s e^-h x_s + alpha_t (1 - e^-2h) D + sigma_t sqrt(1 - e^-2h) z    (SDE)

D is x0's prediction of this row alone in order 1 (which is DDIM), and extrapolated through those
of the last rows in orders 2 and 3. The last row, whose lambda_t is infinite, is of order 1.
"""

from __future__ import annotations

import numpy as np

from fastdiff.errors import FastdiffError
from fastdiff.samplers.form import Form, Rows, X, Z, combine, remember
from fastdiff.samplers.options import Clip, begin
from fastdiff.samplers.table import SamplerTable
from fastdiff.schedules import AnySchedule

DEFAULT_STEPS = 20
SDE_STEPS = 15  # of the default sampler: see samplers/__init__.py
FEW_STEPS = 15  # below, the order falls towards the end: extrapolating to lambda = inf is unstable


def dpmpp_2m(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of DPM-Solver++ (2M), second order, ``steps`` rows (20 unless given)."""
    rows = begin(schedule, steps, DEFAULT_STEPS, spacing, strength, clip, signal=False)
    return multistep(rows, order=2).table("dpmpp_2m")


def dpmpp_3m(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    full_order: bool = False,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of DPM-Solver++ (3M), ``steps`` rows (20 unless given).

    The authors' code, and every library that took it over, gives the second difference of D half
    the weight that its integral has, which leaves the order at two (docs/samplers.md shows it).
    That is the sampler people know, and the default; ``full_order=True`` is of third order.
    """
    if not isinstance(full_order, (bool, np.bool_)):
        raise FastdiffError(f"full_order: expected True or False, got {full_order!r}")
    rows = begin(schedule, steps, DEFAULT_STEPS, spacing, strength, clip, signal=False)
    curve = 2.0 if full_order else 1.0
    name = "dpmpp_3m" + (",full_order=True" if full_order else "")
    return multistep(rows, order=3, curve=curve).table(name)


def dpmpp_2m_sde(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of SDE-DPM-Solver++ (2M), second order and stochastic, 15 rows unless given."""
    rows = begin(schedule, steps, SDE_STEPS, spacing, strength, clip, signal=False)
    return multistep(rows, order=2, sde=True).table("dpmpp_2m_sde")


def dpmpp_2s(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of DPM-Solver++ (2S), second order and singlestep (algorithm 1), 20 rows.

    Nodes go in pairs: the first row of a pair only looks ahead (order 1), the second steps from
    the *first's* x to its own target with both predictions. The last row is of order 1.
    """
    rows = begin(schedule, steps, DEFAULT_STEPS, spacing, strength, clip)
    path, count = rows.path, len(rows.path)
    alpha, sigma, lam = path.alpha, path.sigma, path.lam
    older: list[Form] = []
    for k in range(count):
        x0 = rows.x0(k)
        if k % 2 == 0 or k == count - 1:
            rows.add(sigma[k + 1] / sigma[k] * X + alpha[k + 1] * _gain(lam[k + 1] - lam[k]) * x0)
        else:
            start, first = older
            h = lam[k + 1] - lam[k - 1]
            r = (lam[k] - lam[k - 1]) / h
            d = first + (x0 - first) / (2.0 * r)
            rows.add(sigma[k + 1] / sigma[k - 1] * start + alpha[k + 1] * _gain(h) * d)
        older = [X.older(), x0.older()]
    return rows.table("dpmpp_2s")


def multistep(rows: Rows, order: int, sde: bool = False, curve: float = 1.0) -> Rows:
    """Fills ``rows`` with DPM-Solver++ (M) of this order; ``curve``: see ``dpmpp_3m``."""
    path, count = rows.path, len(rows.path)
    lam, alpha, sigma = path.lam, path.alpha, path.sigma
    past: list[Form] = []
    for k in range(count):
        decay = np.exp(lam[k] - lam[k + 1])
        usable = min(order, k + 1, _order_left(k, count))
        weights = _weights(lam, k, usable, alpha[k + 1], decay, sde, curve)
        following = combine(weights, [rows.x0(k), *past][:usable])
        if sde:
            rows.add(
                following
                + sigma[k + 1] / sigma[k] * decay * X
                + sigma[k + 1] * np.sqrt(1.0 - decay**2) * Z
            )
        else:
            rows.add(following + sigma[k + 1] / sigma[k] * X)
        past = remember(rows.x0(k), past, order - 1)
    return rows


def _gain(h: float) -> float:
    return float(-np.expm1(-h))


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
    curve: float,
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
    total = gain * np.array([1.0, 0.0, 0.0]) + alpha * once * d1 - alpha * twice * curve * d2
    return [float(v) for v in total]
