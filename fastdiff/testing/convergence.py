"""How fast a sampler's error falls with its evaluations, where the solution is known exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdiff.samplers import SamplerTable, build_table
from fastdiff.samplers.reference import run_all
from fastdiff.schedules import Schedule
from fastdiff.testing.mixture import Float64Array, Mixture

# Levels even in lambda, so that every step is as long as the next for a solver's error. Even in
# the time they are not: the last gaps in lambda are wide, and no order shows.
SPACING = "exponential"
SCHEDULE = Schedule("linear", 1000, beta_start=1e-3)

# sampler, its options, its order. Orders of predictor-correctors are the corrector's; DPM-Solver++
# (3M) is of second order as everyone writes it (``dpmpp_3m``).
ORDERS: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("ddim", {}, 1),
    ("euler", {}, 1),
    ("dpmpp_2m", {}, 2),
    ("dpmpp_2s", {}, 2),
    ("dpmpp_3m", {}, 2),
    ("dpmpp_3m", {"full_order": True}, 3),
    ("heun", {}, 2),
    ("edm", {"churn": 0.0}, 2),
    ("kdpm2", {}, 2),
    ("plms", {}, 2),
    ("lms", {"order": 2}, 2),
    ("lms", {"order": 3}, 3),
    ("lms", {}, 4),
    ("deis", {"order": 2}, 2),
    ("deis", {}, 3),
    ("deis", {"order": 4}, 4),
    ("unipc", {}, 3),
    ("unipc", {"order": 3}, 4),
    ("sa_solver", {"tau": 0.0}, 2),
    ("sa_solver", {"tau": 0.0, "predictor": 3, "corrector": 4}, 4),
)


def ode_error(name: str, options: dict[str, Any], steps: int) -> float:
    """The largest error at the last level above the image, over nine starting points.

    The very last row goes to sigma = 0 by one step of first order in all samplers, whatever their
    order, so the error is taken before it, against ``Mixture.flow``.
    """
    table = build_table(name, SCHEDULE, steps, spacing=SPACING, **options)
    mixture, rho = Mixture(), table["sigma"] / table["alpha"]
    y = np.linspace(-1.2, 1.2, 9) * rho[0]
    made = run_all(table, y * table["alpha"][0], np.zeros((len(table), 9)), Exact(mixture, table))
    exact = mixture.flow(y, rho[0], rho[-1])
    return float(np.abs(made[-2] / table["alpha"][-1] - exact).max())


class Exact:
    """The mixture's exact eps as a model of the table's rows, asked one after another."""

    def __init__(self, mixture: Mixture, table: SamplerTable) -> None:
        self._mixture = mixture
        self._levels = zip(table["alpha"], table["sigma"], strict=True)

    def __call__(self, x: Float64Array, t: float) -> Float64Array:
        """eps like ``x``, at the next row's level."""
        alpha, sigma = next(self._levels)
        return self._mixture.eps(x / alpha, sigma / alpha)
