"""SA-Solver (Xue et al. 2023, arXiv:2309.05019), stochastic Adams with a corrector, as a table.

From level s to t with c = 1 + tau^2, h = lambda_t - lambda_s and data prediction (equation 14):

    x_t = e^(-tau^2 h) sigma_t / sigma_s x_s + sum_j b_j x0_j + sigma_t sqrt(1 - e^(-2 tau^2 h)) z
    b_j = c alpha_t integral over lambda from s to t of e^(-c (lambda_t - lambda)) l_j(lambda)

tau = 0 is deterministic, tau = 1 the usual reverse SDE. The corrector makes x_t again, with the
same z, once the model has answered at t; as in UniPC, it is the inverted predictor that lets a
table know x_s.
"""

from __future__ import annotations

import numpy as np

from fastdiff.samplers.form import Form, X, Z, combine, remember
from fastdiff.samplers.lagrange import integrals
from fastdiff.samplers.options import Clip, begin, number, whole
from fastdiff.samplers.table import Float64Array, SamplerTable
from fastdiff.schedules import AnySchedule, Schedule

DEFAULT_STEPS = 20


def sa_solver(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    predictor: int = 2,
    corrector: int = 2,
    tau: float = 1.0,
    tau_from: float = 0.2,
    tau_to: float = 0.8,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of SA-Solver with orders ``predictor`` (1 to 3) and ``corrector`` (1 to 4).

    ``tau``: how stochastic it is while the time is within [``tau_from``, ``tau_to``] of T, 0
    outside; a schedule without levels has it everywhere. 20 rows unless given. The last row, where
    lambda is infinite, is of order 1 and adds no noise.
    """
    predictor, corrector = whole("predictor", predictor, 1, 3), whole("corrector", corrector, 1, 4)
    tau = number("tau", tau, 0.0)
    span = number("tau_from", tau_from, 0.0, 1.0), number("tau_to", tau_to, 0.0, 1.0)
    rows = begin(schedule, steps, DEFAULT_STEPS, spacing, strength, clip)
    path, count = rows.path, len(rows.path)
    taus = np.full(count, tau)
    if isinstance(schedule, Schedule):
        time = (path.level[:-1] - 1.0) / schedule.T
        taus = np.where((time >= span[0]) & (time <= span[1]), tau, 0.0)
    depth = max(predictor, corrector - 1)
    base, past, used = X, list[Form](), 1
    for k in range(count):
        x0 = rows.x0(k)
        if k:
            b = _corrector(path.lam, k, used, path.alpha[k], taus[k - 1])
            base = base + combine(b, [x0, *past][:used])
        points = min(predictor, k + 1, count - k)
        b = _predictor(path.lam, k, points, path.alpha[k + 1], taus[k])
        rest = combine(b, [x0, *past][:points])
        h = path.lam[k + 1] - path.lam[k]
        decay = np.exp(-(taus[k] ** 2) * h) if taus[k] else 1.0
        scaled = decay * path.sigma[k + 1] / path.sigma[k] * base
        spread = np.sqrt(-np.expm1(-2.0 * taus[k] ** 2 * h)) if taus[k] else 0.0
        rows.add(scaled + rest + path.sigma[k + 1] * spread * Z)
        if k < count - 1:
            base = X - rest.older()  # what the corrector leaves as it is: x_s's share and z's
        past = remember(x0, past, depth)
        used = min(corrector, count - k + 1, k + 2)
    return rows.table(f"sa_solver,tau={tau:g}")


def _predictor(lam: Float64Array, k: int, points: int, alpha: float, tau: float) -> Float64Array:
    """b of rows k, k - 1, ... from node k to node k + 1."""
    c, h = 1.0 + tau**2, lam[k + 1] - lam[k]
    if points == 1:
        return np.array([-alpha * np.expm1(-c * h)])
    b = _integrated(lam[k::-1][:points], lam[k], lam[k + 1], alpha, c)
    if points == 2:
        b += np.array([1.0, -1.0]) * c * alpha * _third_order(h, c) / (lam[k] - lam[k - 1])
    return b


def _corrector(lam: Float64Array, k: int, points: int, alpha: float, tau: float) -> Float64Array:
    """b of rows k, k - 1, ... from node k - 1 to node k, which has been asked by now."""
    c, h = 1.0 + tau**2, lam[k] - lam[k - 1]
    b = _integrated(lam[k::-1][:points], lam[k - 1], lam[k], alpha, c)
    if points == 2:
        b += np.array([1.0, -1.0]) * c * alpha * _third_order(h, c) / h
    return b


def _integrated(
    nodes: Float64Array, start: float, end: float, alpha: float, c: float
) -> Float64Array:
    return c * alpha * integrals(nodes, start, end, lambda lam: np.exp(c * (lam - end)))


def _third_order(h: float, c: float) -> float:
    """h^2 / 2 - (c h - 1 + e^(-c h)) / c^2: what the paper's code adds at order 2 for few steps."""
    return float(h**2 / 2.0 - (c * h + np.expm1(-c * h)) / c**2)
