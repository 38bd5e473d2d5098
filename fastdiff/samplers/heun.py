"""Second-order Runge-Kutta in rho = sigma / alpha: Heun, EDM's stochastic sampler, and KDPM2.

With y = x / alpha the probability flow is dy = eps drho (Karras et al. 2022, equation 1). Every
move but the last, to rho = 0, asks the model twice: N moves are 2 N - 1 rows. An even number of
rows makes the first move, far from the image, with one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastdiff.errors import FastdiffError
from fastdiff.samplers.euler import ancestral
from fastdiff.samplers.form import Rows, X, Z
from fastdiff.samplers.options import Clip, checked_clip, number, steps_or, whole
from fastdiff.samplers.path import at_rho, path
from fastdiff.samplers.table import Float64Array, SamplerTable
from fastdiff.schedules import AnySchedule, Schedule

DEFAULT_STEPS = 25


@dataclass(frozen=True)
class _Moves:
    """From ``rho[i]`` to ``rho[i + 1]``; ``once``: whether move 0 has one row only."""

    rho: Float64Array
    once: bool

    def __len__(self) -> int:
        return len(self.rho) - 1

    def alone(self, i: int) -> bool:
        """Whether move i asks the model once."""
        return i == len(self) - 1 or (i == 0 and self.once)


def heun(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of Heun's method, y' = y + (rho' - rho) (eps(y) + eps(trial y')) / 2; 25 rows.

    Karras et al. 2022, algorithm 1.
    """
    moves = _moves(schedule, steps, spacing, strength)
    return _heun(schedule, moves, moves.rho, 1.0, clip).table("heun")


def edm(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    churn: float = 40.0,
    churn_from: float = 0.0,
    churn_to: float = float("inf"),
    churn_noise: float = 1.0,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of EDM's stochastic sampler (Karras et al. 2022, algorithm 2); 25 rows.

    Before each of the N moves from a rho in [``churn_from``, ``churn_to``] noise of
    ``churn_noise`` sqrt(rho_hat^2 - rho^2) lifts y to rho_hat = (1 + gamma) rho, gamma =
    min(``churn`` / N, sqrt(2) - 1), or to the schedule's largest rho if that is less. These are
    the paper's S_churn, S_tmin, S_tmax and S_noise. ``churn=0`` is ``heun``. Spaced as Karras et
    al. do unless ``spacing`` says otherwise or, under ``zero_snr``, there is no largest rho.
    """
    if spacing is None and not (isinstance(schedule, Schedule) and schedule.zero_snr):
        spacing = "karras"
    churn = number("churn", churn, 0.0)
    noise = number("churn_noise", churn_noise, 0.0)
    low = number("churn_from", churn_from, 0.0)
    if isinstance(churn_to, bool) or not isinstance(churn_to, (int, float)) or not churn_to >= low:
        raise FastdiffError(
            f"churn_to: expected a number of at least churn_from {low:g}, got {churn_to!r}"
        )
    moves = _moves(schedule, steps, spacing, strength)
    rho = moves.rho
    gamma = min(churn / len(moves), np.sqrt(2.0) - 1.0)
    lifted = np.where((rho >= low) & (rho <= churn_to), (1.0 + gamma) * rho, rho)
    largest = path(schedule, 1, spacing).with_signal().rho[0]
    lifted = np.maximum(rho, np.minimum(lifted, largest))
    return _heun(schedule, moves, lifted, noise, clip).table(f"edm,churn={churn:g}")


def kdpm2(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of the midpoint method, the middle in ln rho; 25 rows.

    y' = y + (rho' - rho) eps(y + (rho_mid - rho) eps), rho_mid = sqrt(rho rho')
    (k-diffusion's ``sample_dpm_2``; DPM-Solver-2 of Karras et al. 2022, table 1).
    """
    moves = _moves(schedule, steps, spacing, strength)
    return _midpoint(schedule, moves, 0.0, clip).table("kdpm2")


def kdpm2_ancestral(
    schedule: AnySchedule,
    steps: int | None = None,
    *,
    eta: float = 1.0,
    clip: Clip = None,
    spacing: str | None = None,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of the midpoint method to rho_down and noise back up to rho'; 25 rows.

    ``eta`` as in ``euler_ancestral`` (k-diffusion's ``sample_dpm_2_ancestral``).
    """
    eta = number("eta", eta, 0.0, 1.0)
    rows = _midpoint(schedule, _moves(schedule, steps, spacing, strength), eta, clip)
    return rows.table("kdpm2_ancestral" + (f",eta={eta:g}" if eta != 1 else ""))


def _moves(
    schedule: AnySchedule, steps: int | None, spacing: str | None, strength: float
) -> _Moves:
    count = whole("steps", steps_or(schedule, steps, DEFAULT_STEPS), 1)
    visited = path(schedule, count // 2 + 1, spacing, strength).with_signal()
    return _Moves(visited.rho, count % 2 == 0 and len(visited) == count // 2 + 1)


def _heun(
    schedule: AnySchedule, moves: _Moves, lifted: Float64Array, noise: float, clip: Clip
) -> Rows:
    """Heun's rows, each move from ``lifted[i]`` to ``rho[i + 1]``, where noise lifts it again."""
    asked: list[float] = []
    for i in range(len(moves)):
        asked += [lifted[i]] if moves.alone(i) else [lifted[i], moves.rho[i + 1]]
    rows = Rows(at_rho(schedule, np.array(asked)), checked_clip(clip))
    alpha, k = rows.path.alpha, 0
    for i in range(len(moves)):
        start, end, lift = lifted[i], moves.rho[i + 1], lifted[i + 1]
        y, slope = X / alpha[k], rows.eps(k)
        if not moves.alone(i):
            rows.add(alpha[k + 1] * (y + (end - start) * slope))
            k += 1
            y, slope = y.older(), 0.5 * (slope.older() + rows.eps(k))
        y = y + (end - start) * slope + (noise * np.sqrt(lift**2 - end**2)) * Z
        rows.add(alpha[k + 1] * y)
        k += 1
    return rows


def _midpoint(schedule: AnySchedule, moves: _Moves, eta: float, clip: Clip) -> Rows:
    """The midpoint method's rows, down to rho_down and up again where ``eta`` is not 0."""
    rho = moves.rho
    jumps = [ancestral(rho[i], rho[i + 1], eta) for i in range(len(moves))]
    asked: list[float] = []
    for i, (_, down) in enumerate(jumps):
        asked += [rho[i]] if moves.alone(i) else [rho[i], float(np.sqrt(rho[i] * down))]
    rows = Rows(at_rho(schedule, np.array(asked)), checked_clip(clip))
    alpha, k = rows.path.alpha, 0
    for i, (up, down) in enumerate(jumps):
        y, slope = X / alpha[k], rows.eps(k)
        if not moves.alone(i):
            rows.add(alpha[k + 1] * (y + (asked[k + 1] - rho[i]) * slope))
            k += 1
            y, slope = y.older(), rows.eps(k)
        rows.add(alpha[k + 1] * (y + (down - rho[i]) * slope + up * Z))
        k += 1
    return rows
