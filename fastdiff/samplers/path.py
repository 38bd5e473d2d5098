"""Path: the noise levels that a sampler visits on its way from noise to the image.

Node k is where row k asks the model, x = alpha x0 + sigma eps; the last node, after the last row,
is the clean image (alpha = 1, sigma = 0). Levels need not be whole: between two levels of a
schedule ln(sigma / alpha) is taken as linear in the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fastdiff.errors import FastdiffError
from fastdiff.samplers.prediction import Affine, predicted
from fastdiff.samplers.spacing import RHO_SPACINGS, rho_spaced, spaced_levels
from fastdiff.samplers.table import Float64Array
from fastdiff.schedules import AnySchedule, EDMSchedule, Schedule

# Stands for "no signal" where a solver divides by alpha; diffusers takes the same.
LEAST_ALPHA_BAR = 2.0**-24


@dataclass(frozen=True, eq=False)
class Path:
    """``t``, ``in_scale``, ``alpha``, ``sigma``, ``level``: float64 [K + 1], one a node.

    ``level`` is the schedule's level of each node; an EDM schedule has none (nan).
    """

    schedule: AnySchedule
    t: Float64Array
    in_scale: Float64Array
    alpha: Float64Array
    sigma: Float64Array
    level: Float64Array

    def __len__(self) -> int:
        """How many rows: nodes that ask the model."""
        return len(self.t) - 1

    @property
    def rho(self) -> Float64Array:
        """sigma / alpha, the sigma of Karras et al.: inf where no signal is left, 0 at the end."""
        with np.errstate(divide="ignore"):
            return self.sigma / self.alpha

    @property
    def lam(self) -> Float64Array:
        """lambda = ln(alpha / sigma): -inf where no signal is left, inf at the clean image."""
        with np.errstate(divide="ignore"):
            return np.log(self.alpha) - np.log(self.sigma)

    def predicted(self) -> tuple[Affine, Affine]:
        """(x0, eps) of each row in x and m, float64 [K]."""
        return predicted(self.schedule, self.alpha[:-1], self.sigma[:-1])

    def take(self, nodes: Sequence[int] | slice) -> Path:
        """The path over these nodes of this one, in their order."""
        pick = nodes if isinstance(nodes, slice) else list(nodes)
        arrays = ("t", "in_scale", "alpha", "sigma", "level")
        return replace(self, **{name: getattr(self, name)[pick] for name in arrays})

    def last(self, strength: float) -> Path:
        """The last ``strength`` of this path, at least one row of it."""
        if (
            isinstance(strength, bool)
            or not isinstance(strength, (int, float, np.floating))
            or not 0.0 < strength <= 1.0
        ):
            raise FastdiffError(f"strength: expected a number in (0, 1], got {strength!r}")
        # A hair more, so that 0.3 of 10 is 3 rows whatever the last bit of 0.3 is.
        left = max(1, int(len(self) * strength + 1e-9))
        return self.take(slice(len(self) - left, None))

    def with_signal(self) -> Path:
        """This path with a trace of signal where none is left, for solvers that divide by alpha."""
        least = np.sqrt(LEAST_ALPHA_BAR)
        none = self.alpha == 0
        return replace(
            self,
            alpha=np.where(none, least, self.alpha),
            sigma=np.where(none, np.sqrt(1.0 - LEAST_ALPHA_BAR), self.sigma),
        )


def path(
    schedule: AnySchedule, steps: int, spacing: str | None = None, strength: float = 1.0
) -> Path:
    """The path of ``steps`` nodes down to the image, by ``spacing`` (``samplers/spacing.py``).

    ``strength``: the share of it that is walked, from its end: an image is given noise to the
    level of the first node left and drawn again from there.
    """
    if isinstance(schedule, EDMSchedule):
        whole = at_rho(schedule, rho_spaced(schedule, steps, spacing or "karras"))
    elif spacing in RHO_SPACINGS:
        whole = at_rho(schedule, rho_spaced(schedule, steps, str(spacing)))
    else:
        whole = at_levels(schedule, spaced_levels(schedule, steps, spacing or "trailing"))
    return whole.last(strength)


def at_levels(schedule: Schedule, level: npt.NDArray[np.int64]) -> Path:
    """The path over whole levels int64 [K + 1], the last one 0."""
    ab = schedule.alpha_bar[level]
    return Path(
        schedule,
        schedule.t[level],
        np.ones(len(level)),
        np.sqrt(ab),
        np.sqrt(1.0 - ab),
        level.astype(np.float64),
    )


def at_rho(schedule: AnySchedule, rho: Float64Array) -> Path:
    """The path over the nodes with sigma / alpha = ``rho`` [K], and the clean image after them."""
    rho = np.asarray(rho, dtype=np.float64)
    clean = np.zeros(1)
    if isinstance(schedule, EDMSchedule):
        alpha = np.ones(len(rho))
        in_scale = 1.0 / np.sqrt(rho**2 + schedule.sigma_data**2)
        t = np.log(rho) / 4.0
        level = np.full(len(rho), np.nan)
        end_t = t[-1:]  # of no meaning: the model is not asked there
    else:
        alpha, in_scale = 1.0 / np.sqrt(1.0 + rho**2), np.ones(len(rho))
        level = schedule.level_at(rho)
        t, end_t = schedule.time_at(level), schedule.t[:1]
    return Path(
        schedule,
        np.concatenate([t, end_t]),
        np.concatenate([in_scale, np.ones(1)]),
        np.concatenate([alpha, np.ones(1)]),
        np.concatenate([rho * alpha, clean]),
        np.concatenate([level, clean]),
    )
