"""Noise schedules: how much signal is left at level i, for i = 0 (clean) to T (noise).

Level i has ``x_i = sqrt(alpha_bar[i]) * x_0 + sqrt(1 - alpha_bar[i]) * eps`` (Ho et al. 2020,
equation 4). Levels, not timesteps, index every array here: level 0 is the clean image, so
``alpha_bar[0] == 1``, and diffusers' timestep ``t`` is level ``t + 1``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastdiff.errors import FastdiffError

Float64Array = npt.NDArray[np.float64]

MAX_LEVELS = 100_000


def _course_beta(T: int, beta_start: float, beta_end: float) -> Float64Array:
    # The course draws T + 1 values and uses 1..T, yet lets beta[0] into the product below.
    return np.linspace(beta_start, beta_end, T + 1, dtype=np.float64)


def _linear_beta(T: int, beta_start: float, beta_end: float) -> Float64Array:
    beta = np.linspace(beta_start, beta_end, T, dtype=np.float64)
    return np.concatenate([np.zeros(1), beta])


def _scaled_linear_beta(T: int, beta_start: float, beta_end: float) -> Float64Array:
    return np.concatenate([np.zeros(1), np.linspace(beta_start**0.5, beta_end**0.5, T) ** 2])


def _cosine_beta(T: int, beta_start: float, beta_end: float) -> Float64Array:
    # alpha_bar itself is given; beta is clipped at 0.999, as in the paper. No start, no end.
    alpha_bar = np.cos((np.arange(T + 1) / T + 0.008) / 1.008 * np.pi / 2) ** 2
    beta = np.minimum(1.0 - alpha_bar[1:] / alpha_bar[:-1], 0.999)
    return np.concatenate([np.zeros(1), beta])


def _sigmoid_beta(T: int, beta_start: float, beta_end: float) -> Float64Array:
    rise = 1.0 / (1.0 + np.exp(-np.linspace(-6.0, 6.0, T)))
    return np.concatenate([np.zeros(1), beta_start + (beta_end - beta_start) * rise])


_BETA: dict[str, Callable[[int, float, float], Float64Array]] = {
    "course": _course_beta,
    "linear": _linear_beta,
    "scaled_linear": _scaled_linear_beta,
    "cosine": _cosine_beta,
    "sigmoid": _sigmoid_beta,
}
KINDS = tuple(_BETA)
PREDICTIONS = ("eps", "x0", "v")


@dataclass(frozen=True)
class Schedule:
    """A variance schedule over levels 0..T, and the language in which the model speaks of it.

    Hashable, comparable, stored in checkpoints. ``kind``:

    - ``"linear"``: beta evenly spaced over T levels (Ho et al. 2020)
    - ``"scaled_linear"``: the square root of beta evenly spaced (Rombach et al. 2022)
    - ``"cosine"``: alpha_bar a squared cosine (Nichol & Dhariwal 2021, equation 17); takes no
      beta_start and beta_end
    - ``"sigmoid"``: beta along a sigmoid over [-6, 6] (Xu et al. 2022, GeoDiff; diffusers' one)
    - ``"course"``: linear over T + 1 values, with ``alpha_bar[0]`` set to 1 afterwards, so that
      every ``alpha_bar[i]`` for i >= 1 carries one extra factor ``1 - beta[0]``

    ``time``: the unit in which the model is told its level, ``"fraction"`` (i / T, ContextUnet)
    or ``"index"`` (i - 1, the integer timestep of the DDPM U-Nets). ``prediction``: what the
    model answers, ``"eps"``, ``"x0"`` or ``"v"`` = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0
    (Salimans & Ho 2022). ``zero_snr``: sqrt(alpha_bar) is shifted and scaled so that level T
    holds no signal at all (Lin et al. 2024, algorithm 1); the model must then predict x0 or v.
    """

    kind: str = "linear"
    T: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    time: Literal["fraction", "index"] = "index"
    prediction: Literal["eps", "x0", "v"] = "eps"
    zero_snr: bool = False

    def __post_init__(self) -> None:
        if self.kind not in _BETA:
            raise FastdiffError(
                f"schedule kind: expected one of {', '.join(_BETA)}, got {self.kind!r}"
            )
        if isinstance(self.T, bool) or not isinstance(self.T, int):
            raise FastdiffError(f"schedule T: expected an integer, got {self.T!r}")
        if not 1 <= self.T <= MAX_LEVELS:
            raise FastdiffError(f"schedule T: expected 1 to {MAX_LEVELS} levels, got {self.T}")
        for name, beta in (("beta_start", self.beta_start), ("beta_end", self.beta_end)):
            if isinstance(beta, bool) or not isinstance(beta, (int, float)) or not 0 < beta < 1:
                raise FastdiffError(f"schedule {name}: expected a number in (0, 1), got {beta!r}")
        if self.time not in ("fraction", "index"):
            raise FastdiffError(f"schedule time: expected 'fraction' or 'index', got {self.time!r}")
        if self.prediction not in PREDICTIONS:
            raise FastdiffError(
                f"schedule prediction: expected one of {', '.join(PREDICTIONS)}, "
                f"got {self.prediction!r}"
            )
        if not isinstance(self.zero_snr, bool):
            raise FastdiffError(f"schedule zero_snr: expected True or False, got {self.zero_snr!r}")
        if self.zero_snr and (self.prediction == "eps" or self.T < 2):
            raise FastdiffError(
                "schedule zero_snr: expected T >= 2 and a model that predicts x0 or v (at level T "
                "x is the noise itself, and eps would say nothing of the image)"
            )

    @cached_property
    def beta(self) -> Float64Array:
        """beta[i], float64 [T + 1]; beta[T] is 1 under ``zero_snr``."""
        beta = _BETA[self.kind](self.T, self.beta_start, self.beta_end)
        if self.zero_snr:
            signal = np.sqrt(_alpha_bar(1.0 - beta)[1:])
            signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
            alpha_bar = signal**2
            beta[1:] = 1.0 - alpha_bar / np.concatenate([np.ones(1), alpha_bar[:-1]])
            beta[0] = 0.0  # what the course's extra factor was is part of alpha_bar[1] now
        return _frozen(beta)

    @cached_property
    def alpha(self) -> Float64Array:
        """alpha[i] = 1 - beta[i], float64 [T + 1]."""
        return _frozen(1.0 - self.beta)

    @cached_property
    def alpha_bar(self) -> Float64Array:
        """alpha_bar[i] = prod of alpha up to i, with alpha_bar[0] = 1; float64 [T + 1]."""
        return _frozen(_alpha_bar(self.alpha))

    @cached_property
    def t(self) -> Float64Array:
        """t[i]: level i in the model's own unit, float64 [T + 1]."""
        return _frozen(self.time_at(np.arange(self.T + 1, dtype=np.float64)))

    def level_at(self, rho: Float64Array) -> Float64Array:
        """The level, float64 and rarely whole, at which sqrt(1 - alpha_bar) / sqrt(alpha_bar) is
        ``rho`` [K] > 0: ln rho is linear between neighbours, and held at levels 1 and T.
        """
        with np.errstate(divide="ignore"):
            known = 0.5 * (np.log1p(-self.alpha_bar[1:]) - np.log(self.alpha_bar[1:]))
        known = np.minimum(
            known, 1e300
        )  # zero SNR's infinity, between which no one can interpolate
        return np.asarray(np.interp(np.log(rho), known, np.arange(1.0, self.T + 1)))

    def time_at(self, level: Float64Array) -> Float64Array:
        """Levels, whole or not, in the model's own unit, float64 like ``level``."""
        return level / self.T if self.time == "fraction" else level - 1

    def alpha_between(self, level: int, below: int) -> float:
        """alpha of the jump ``below -> level``: q(x_level | x_below) has mean sqrt(alpha) x.

        Neighbours use ``alpha[level]`` itself: on the course's schedule it is not
        ``alpha_bar[1] / alpha_bar[0]``.
        """
        if below == level - 1:
            return float(self.alpha[level])
        return float(self.alpha_bar[level] / self.alpha_bar[below])

    def to_dict(self) -> dict[str, Any]:
        """The parameters as JSON-ready values; ``from_dict`` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Schedule:
        """The schedule that ``to_dict`` described; unknown or missing keys are an error."""
        try:
            return cls(**values)
        except TypeError as error:
            raise FastdiffError(f"schedule: {error}") from error


@dataclass(frozen=True)
class EDMSchedule:
    """The sigma-space of Karras et al. 2022 ("EDM"): x = x0 + sigma eps, no levels.

    Sampling runs from ``sigma_max`` to ``sigma_min`` and then to 0. The model sees c_in x =
    x / sqrt(sigma^2 + sigma_data^2) (a table's ``in_scale``) and t = ln(sigma) / 4, and answers F
    with x0 = c_skip x + c_out F: c_skip = sigma_data^2 / (sigma^2 + sigma_data^2), c_out = sigma
    sigma_data / sqrt(sigma^2 + sigma_data^2) (table 1). ``sigma_data``: the data's own deviation.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        for name in ("sigma_min", "sigma_max", "sigma_data"):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not 0 < value < float("inf")
            ):
                raise FastdiffError(
                    f"schedule {name}: expected a finite number above 0, got {value!r}"
                )
        if self.sigma_min >= self.sigma_max:
            raise FastdiffError(
                f"schedule sigma_min: expected less than sigma_max {self.sigma_max}, "
                f"got {self.sigma_min}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, as engine files store them."""
        return {"kind": "edm", **asdict(self)}


AnySchedule = Schedule | EDMSchedule


def from_dict(values: Mapping[str, Any]) -> AnySchedule:
    """The schedule that a ``to_dict`` described, of either family."""
    if values.get("kind") == "edm":
        return EDMSchedule(**{k: v for k, v in values.items() if k != "kind"})
    return Schedule.from_dict(values)


def _alpha_bar(alpha: Float64Array) -> Float64Array:
    # Through logs as the course has it (a plain product differs by 1e-15); log 0 is zero SNR's.
    with np.errstate(divide="ignore"):
        alpha_bar = np.exp(np.cumsum(np.log(alpha)))
    alpha_bar[0] = 1.0
    return np.asarray(alpha_bar)


def _frozen(array: Float64Array) -> Float64Array:
    array.setflags(write=False)
    return array


def course() -> Schedule:
    """The course's schedule: T = 500, beta from 1e-4 to 0.02, time as i / T."""
    return Schedule(kind="course", T=500, beta_start=1e-4, beta_end=0.02, time="fraction")


def linear(T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Schedule:
    """Ho et al.'s linear schedule, time as the integer timestep i - 1."""
    return Schedule(kind="linear", T=T, beta_start=beta_start, beta_end=beta_end, time="index")
