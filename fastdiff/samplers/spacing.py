"""Which of the levels T..1 a sampler visits when it takes fewer steps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastdiff.errors import FastdiffError
from fastdiff.schedules import Schedule

SPACINGS = ("trailing", "leading")


def levels(schedule: Schedule, steps: int, spacing: str = "trailing") -> npt.NDArray[np.int64]:
    """Levels from the first visited down to 0, int64 [steps + 1], strictly falling.

    ``"trailing"``: T, T - T/steps, ..., ends at level T/steps (Lin et al. 2024, table 2; the
    course's "fast sampling" wherever steps divides T). ``"leading"``: the T // steps-spaced
    timesteps 0, ... of DDIM's code, which never visit level T unless steps == T.
    """
    check_steps(steps, schedule.T)
    T = schedule.T
    if spacing == "trailing":
        visited = T - np.round(np.arange(steps) * (T / steps)).astype(np.int64)
    elif spacing == "leading":
        visited = (np.arange(steps, dtype=np.int64) * (T // steps))[::-1] + 1
    else:
        raise FastdiffError(f"spacing: expected one of {', '.join(SPACINGS)}, got {spacing!r}")
    return np.concatenate([visited, np.zeros(1, dtype=np.int64)])


def check_steps(steps: int, T: int) -> None:
    """Raises unless ``steps`` is an integer from 1 to T."""
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or not 1 <= steps <= T:
        raise FastdiffError(f"steps: expected an integer from 1 to {T}, got {steps!r}")
