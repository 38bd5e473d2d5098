"""The clamp of x0, shared by the samplers that offer it."""

from __future__ import annotations

import numpy as np

from fastdiff.errors import FastdiffError
from fastdiff.samplers.table import Float64Array

Clamp = tuple[float, float] | None


def clamp_columns(clip: tuple[float, float]) -> dict[str, Float64Array]:
    """The columns ``x0_lo`` and ``x0_hi`` of ``clip=(lo, hi)``."""
    try:
        lo, hi = (float(v) for v in clip)
    except (TypeError, ValueError):
        raise FastdiffError(f"clip: expected a pair (lo, hi), got {clip!r}") from None
    if not lo < hi:
        raise FastdiffError(f"clip: expected lo < hi, got {clip!r}")
    return {"x0_lo": np.float64(lo) * np.ones(1), "x0_hi": np.float64(hi) * np.ones(1)}
