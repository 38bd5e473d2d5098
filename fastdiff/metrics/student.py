"""Student's t: confidence intervals of a mean over a handful of draws."""

from __future__ import annotations

import math

from fastdiff.errors import FastdiffError


def t_within(t: float, freedom: int) -> float:
    """P(|T| <= t) of Student's t with ``freedom`` >= 1 degrees, t >= 0.

    With theta = atan(t / sqrt(freedom)) a finite sum (Abramowitz & Stegun 26.7.3, 26.7.4):

    odd:   2/pi (theta + sin theta (cos theta + 2/3 cos^3 theta + 2 4/(3 5) cos^5 theta + ...))
    even:  sin theta (1 + 1/2 cos^2 theta + 1 3/(2 4) cos^4 theta + ...)
    """
    theta = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    term = math.cos(theta) if odd else 1.0
    total = 0.0 if freedom == 1 else term
    for k in range(2 + odd, freedom, 2):
        term *= math.cos(theta) ** 2 * (k - 1) / k
        total += term
    inner = math.sin(theta) * total
    return 2.0 / math.pi * (theta + inner) if odd else inner


def t_quantile(confidence: float, freedom: int) -> float:
    """The t with P(|T| <= t) = ``confidence``, to about 1e-12 relative.

    Raises FastdiffError unless 0 < confidence < 1 and freedom >= 1.
    """
    if not 0.0 < confidence < 1.0 or freedom < 1:
        raise FastdiffError(
            "confidence and freedom: expected 0 < confidence < 1 and freedom >= 1, "
            f"got {confidence} and {freedom}"
        )
    low, high = 0.0, 1.0
    while t_within(high, freedom) < confidence:
        high *= 2.0
    for _ in range(200):
        middle = (low + high) / 2.0
        low, high = (middle, high) if t_within(middle, freedom) < confidence else (low, middle)
    return high
