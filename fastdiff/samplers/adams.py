"""Multistep samplers of Adams-Bashforth's kind: LMS, DEIS and PNDM's PLMS.

In y = x / alpha and rho = sigma / alpha the probability flow is dy = eps drho (Karras et al. 2022,
equation 1; Song et al. 2021, equation 14). From rho to rho':

    y' = y + sum_j c_j eps_{k-j},    c_j = integral from rho to rho' of l_j

with l_j the Lagrange polynomials through the last rows, in rho (LMS) or in ln rho (DEIS). PLMS
takes the classical weights of even steps instead.
"""

from __future__ import annotations

import numpy as np

from fastdiff.samplers.form import ZERO, Form, M, Rows, X, combine, remember
from fastdiff.samplers.lagrange import integrals
from fastdiff.samplers.options import Clip, begin, checked_clip, needs_levels, steps_or, whole
from fastdiff.samplers.path import path
from fastdiff.samplers.table import SamplerTable
from fastdiff.schedules import AnySchedule

DEFAULT_STEPS = 20
FEW_STEPS = 15
# Adams-Bashforth over even steps, by how many outputs are at hand.
ADAMS = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def lms(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    order: int = 4,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of the linear multistep method of ``order`` 1 to 4 in rho; 20 rows.

    Crowson's k-diffusion (``sample_lms``), of full order down to the image.
    """
    order = whole("order", order, 1, 4)
    rows = begin(schedule, steps, DEFAULT_STEPS, spacing, strength, clip)
    rho, past = rows.path.rho, list[Form]()
    for k in range(len(rows.path)):
        usable = min(order, k + 1)
        c = integrals(rho[k::-1][:usable], rho[k], rho[k + 1])
        rows.add(_advance(rows, k, combine(c, [rows.eps(k), *past][:usable])))
        past = remember(rows.eps(k), past, order - 1)
    return rows.table("lms" + (f",order={order}" if order != 4 else ""))


def deis(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    order: int = 3,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of DEIS, exponential integrator with extrapolation in ln rho; 20 rows.

    tAB-DEIS of ``order`` 1 to 4 (Zhang & Chen 2023, equation 15; "logrho"). The last row, where
    ln rho is infinite, is of order 1, with few rows the one before it of order 2.
    """
    order = whole("order", order, 1, 4)
    rows = begin(schedule, steps, DEFAULT_STEPS, spacing, strength, clip)
    count, past = len(rows.path), list[Form]()
    log_rho = -rows.path.lam
    for k in range(count):
        usable = min(order, k + 1)
        if k == count - 1:
            c = np.array([-rows.path.rho[k]])
            usable = 1
        else:
            if k == count - 2 and count < FEW_STEPS:
                usable = min(usable, 2)
            c = integrals(log_rho[k::-1][:usable], log_rho[k], log_rho[k + 1], np.exp)
        rows.add(_advance(rows, k, combine(c, [rows.eps(k), *past][:usable])))
        past = remember(rows.eps(k), past, order - 1)
    return rows.table("deis" + (f",order={order}" if order != 3 else ""))


def plms(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of PNDM's pseudo linear multistep (Liu et al. 2022, algorithm 2); 20 rows.

    m' = (55 m_k - 59 m_{k-1} + 37 m_{k-2} - 9 m_{k-3}) / 24, then DDIM's step with m', the model's
    output in whatever it predicts. It starts as its latent-diffusion code does: the first move is
    made twice, the second time with the mean of both ends' m, so that ``steps`` >= 3 rows are
    steps - 1 moves. (The paper's Runge-Kutta start keeps outputs for twelve rows, and a table for
    four. For an order that does not count on even steps see ``lms`` and ``deis``.)
    """
    needs_levels(schedule, "plms")
    count = whole("steps", steps_or(schedule, steps, DEFAULT_STEPS), 1)
    base = path(schedule, count if count < 3 else count - 1, spacing, strength).with_signal()
    twice = count >= 3 and len(base) >= 2
    nodes = [0, 1, *range(1, len(base) + 1)] if twice else list(range(len(base) + 1))
    rows = Rows(base.take(nodes), checked_clip(clip))
    rho = rows.path.rho
    past: list[Form] = []
    for k in range(len(rows.path)):
        if twice and k == 1:
            gain, start = rho[1] - rho[0], X.older()
            rows.add(_advance(rows, 0, gain * rows.eps(0, start, 0.5 * (M + past[0])), start))
            # The difference of both x_1 tells row 0's output again, long after it is gone.
            per_m = _advance(rows, 0, gain * rows.eps(0, ZERO, M), ZERO)["m[0]"]
            past = [M.older() - (2.0 / per_m) * (X - X.older())]
            continue
        usable = min(4, len(past) + 1)
        m = combine(ADAMS[usable - 1], [M, *past][:usable])
        rows.add(_advance(rows, k, (rho[k + 1] - rho[k]) * rows.eps(k, X, m)))
        past = remember(M, past, 3)
    return rows.table("plms")


def _advance(rows: Rows, k: int, change: Form, x: Form = X) -> Form:
    """x at node k + 1, from ``x`` at node k: y' = y + ``change``."""
    alpha = rows.path.alpha
    ratio, scale = float(alpha[k + 1] / alpha[k]), float(alpha[k + 1])
    return x * ratio + change * scale
