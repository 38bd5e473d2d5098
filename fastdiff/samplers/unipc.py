"""UniPC (Zhao et al. 2023, algorithms 1 to 4, B(h) = e^h - 1, data prediction) as a table.

A predictor (UniP) makes x_{k+1}; once the model has answered there, a corrector (UniC) makes the
same x again with that answer, and the next predictor starts from it. The corrected x is never
given to the model, and a table does not keep it. It need not: the predictor is invertible, so
"the corrected x of row k" is, in row k + 1, affine in x_{k+1} and in the predictions of x0.
"""

from __future__ import annotations

import numpy as np

from fastdiff.samplers.form import Form, X, combine, remember
from fastdiff.samplers.options import Clip, begin, whole
from fastdiff.samplers.table import Float64Array, SamplerTable
from fastdiff.schedules import AnySchedule

DEFAULT_STEPS = 20


def unipc(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    order: int = 2,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of UniPC of ``order`` 1 to 3 (2 unless given); 20 rows.

    The order falls to 1 towards the last row, where lambda is infinite, and nothing corrects the
    image: that would take one more evaluation.
    """
    order = whole("order", order, 1, 3)
    rows = begin(schedule, steps, DEFAULT_STEPS, spacing, strength, clip)
    alpha, sigma, lam = rows.path.alpha, rows.path.sigma, rows.path.lam
    count, used = len(rows.path), 0
    base, past = X, list[Form]()  # the corrected x, and x0 of older rows
    for k in range(count):
        x0 = rows.x0(k)
        if k:
            h = lam[k] - lam[k - 1]
            moved = sigma[k] / sigma[k - 1] * base - alpha[k] * float(np.expm1(-h)) * past[0]
            slopes = _slopes(past[0], past[1:used], lam[k - 1 :: -1], h)
            rho = _weights(lam[k - 1 :: -1][:used], h, used)
            change = combine(rho, [*slopes, x0 - past[0]])
            base = moved - alpha[k] * float(np.expm1(-h)) * change
        used = min(order, k + 1, count - k)
        h = lam[k + 1] - lam[k]
        slopes = _slopes(x0, past[: used - 1], lam[k::-1], h)
        rho = _weights(lam[k::-1][:used], h, used - 1)
        rest = -alpha[k + 1] * float(np.expm1(-h)) * (x0 + combine(rho, slopes))
        ratio = sigma[k + 1] / sigma[k]
        rows.add(ratio * base + rest)
        if k < count - 1:
            base = (X - rest.older()) / ratio
        past = remember(x0, past, order)
    return rows.table(f"unipc,order={order}")


def _slopes(newest: Form, older: list[Form], lam: Float64Array, h: float) -> list[Form]:
    """(x0_i - x0_newest) / r_i with r_i = (lambda_i - lambda_newest) / h."""
    return [(form - newest) / ((lam[i + 1] - lam[0]) / h) for i, form in enumerate(older)]


def _weights(lam: Float64Array, h: float, unknowns: int) -> Float64Array:
    """rho of equation 6, ``unknowns`` of them: as many as the points ``lam`` for the corrector,
    whose last is the new point with r = 1, and one less for the predictor.

    One unknown is taken as 1/2, as the paper does for its second order.
    """
    if unknowns < 2:
        return np.full(unknowns, 0.5)
    r = np.array([*(lam[1:] - lam[0]) / h, 1.0])[:unknowns]
    phi, factorial = np.expm1(-h) / -h - 1.0, 1.0
    b = np.empty(unknowns)
    for i in range(unknowns):
        b[i] = phi * factorial / np.expm1(-h)
        factorial *= i + 2
        phi = phi / -h - 1.0 / factorial
    return np.asarray(np.linalg.solve(np.vander(r, increasing=True).T, b))
