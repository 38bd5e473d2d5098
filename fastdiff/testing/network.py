"""A stand-in for a network, and the measure of how far two results are apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def model(x: Array, t: float) -> Array:
    """A stand-in network's answer, like ``x``: smooth, bounded, not affine; ``t`` from 0 to 1."""
    return np.asarray(np.tanh(0.7 * x + np.sin(3 * t)))


def relative(a: Array, b: Array) -> float:
    """The largest difference over the largest value of ``b``."""
    return float(np.abs(a - b).max() / np.abs(b).max())
