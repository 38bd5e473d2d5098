"""The options that samplers share, checked."""

from __future__ import annotations

import numpy as np

from fastdiff.errors import FastdiffError
from fastdiff.samplers.form import Rows
from fastdiff.samplers.path import path
from fastdiff.schedules import MAX_LEVELS, AnySchedule, Schedule

Clip = tuple[float, float] | None


def begin(
    schedule: AnySchedule,
    steps: int | None,
    default: int,
    spacing: str | None,
    strength: float,
    clip: Clip,
    *,
    signal: bool = True,
) -> Rows:
    """Rows to fill over the path of ``steps`` nodes (``default``, or T if less, unless given).

    ``signal``: the solver divides by alpha, so that no node may be without (``Path.with_signal``).
    """
    visited = path(schedule, steps_or(schedule, steps, default), spacing, strength)
    return Rows(visited.with_signal() if signal else visited, checked_clip(clip))


def steps_or(schedule: AnySchedule, steps: int | None, default: int) -> int:
    """``steps``, or the sampler's default where none was given and the schedule has as many."""
    if steps is not None:
        return steps
    return min(default, schedule.T) if isinstance(schedule, Schedule) else default


def checked_clip(clip: Clip) -> Clip:
    """``clip`` as a pair of floats lo < hi, or None."""
    if clip is None:
        return None
    try:
        lo, hi = (float(v) for v in clip)
    except (TypeError, ValueError):
        raise FastdiffError(f"clip: expected a pair (lo, hi), got {clip!r}") from None
    if not lo < hi:
        raise FastdiffError(f"clip: expected lo < hi, got {clip!r}")
    return lo, hi


def number(name: str, value: float, low: float, high: float = float("inf")) -> float:
    """``value`` as a float, from ``low`` to ``high``."""
    if _is_number(value) and low <= value <= high and np.isfinite(value):
        return float(value)
    reach = f"from {low:g} to {high:g}" if np.isfinite(high) else f"of at least {low:g}"
    raise FastdiffError(f"{name}: expected a number {reach}, got {value!r}")


def whole(name: str, value: int, low: int, high: int = MAX_LEVELS) -> int:
    """``value`` as an int, from ``low`` to ``high``; 2.0 is as good as 2."""
    if _is_number(value) and low <= value <= high and value == int(value):
        return int(value)
    raise FastdiffError(f"{name}: expected an integer from {low} to {high}, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def needs_levels(schedule: AnySchedule, sampler: str) -> Schedule:
    """``schedule``, if it has levels."""
    if not isinstance(schedule, Schedule):
        raise FastdiffError(
            f"sampler: {sampler!r} is defined over a schedule's levels, and "
            f"{type(schedule).__name__} has none"
        )
    return schedule
