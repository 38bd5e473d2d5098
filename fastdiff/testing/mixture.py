"""A mixture of Gaussians on the line: diffusion with the exact score and the exact solution.

With y = x / alpha and rho = sigma / alpha, data that is a mixture of N(mu_i, s_i^2) is at rho the
mixture of N(mu_i, s_i^2 + rho^2). The probability flow dy = eps drho is monotone on the line and
carries the distribution at one rho to that at another, so it keeps every quantile: the solution
from (y, rho) is F_rho'^-1(F_rho(y)), and needs no integrator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
_erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclass(frozen=True)
class Mixture:
    """``weights``, ``means``, ``deviations`` of the components, one number each a component."""

    weights: tuple[float, ...] = (0.5, 0.3, 0.2)
    means: tuple[float, ...] = (-0.7, 0.35, 0.9)
    deviations: tuple[float, ...] = (0.15, 0.3, 0.08)

    def _parts(self, y: Float64Array, rho: float) -> tuple[Float64Array, Float64Array]:
        """(deviations [N], distances in deviations [..., N]) of the components at ``rho``."""
        spread = np.sqrt(np.square(self.deviations) + rho**2)
        return spread, (np.asarray(y)[..., None] - self.means) / spread

    def density(self, y: Float64Array, rho: float = 0.0) -> Float64Array:
        """The density of y at ``rho``, float64 like ``y``."""
        spread, z = self._parts(y, rho)
        part = np.asarray(self.weights) * np.exp(-0.5 * z**2) / spread
        return np.asarray(part.sum(axis=-1) / math.sqrt(2.0 * math.pi))

    def cdf(self, y: Float64Array, rho: float = 0.0) -> Float64Array:
        """F_rho(y), float64 like ``y``."""
        _, z = self._parts(y, rho)
        return np.asarray((0.5 + 0.5 * _erf(z / math.sqrt(2.0))) @ np.asarray(self.weights))

    def x0(self, y: Float64Array, rho: float) -> Float64Array:
        """E[x0 | y] at ``rho``, float64 like ``y``: what a perfect model predicts."""
        spread, z = self._parts(y, rho)
        log = np.log(self.weights) - np.log(spread) - 0.5 * z**2
        share = np.exp(log - log.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        mean = np.asarray(self.means) + np.square(self.deviations) * z / spread
        return np.asarray((share * mean).sum(axis=-1))

    def eps(self, y: Float64Array, rho: float) -> Float64Array:
        """(y - E[x0 | y]) / rho, float64 like ``y``: -rho times the score at ``rho``."""
        return (y - self.x0(y, rho)) / rho

    def flow(self, y: Float64Array, rho: float, to: float) -> Float64Array:
        """Where the probability flow carries y from ``rho`` to ``to``, float64 like ``y``."""
        wanted = self.cdf(y, rho)
        reach = 12.0 * math.sqrt(max(self.deviations) ** 2 + to**2)
        low = np.full(np.shape(y), min(self.means) - reach)
        high = np.full(np.shape(y), max(self.means) + reach)
        for _ in range(80):  # bisection: to the last bit, whatever the shape of F
            middle = 0.5 * (low + high)
            under = self.cdf(middle, to) < wanted
            low, high = np.where(under, middle, low), np.where(under, high, middle)
        return np.asarray(0.5 * (low + high))
