"""Which noise levels a sampler visits when it takes fewer steps than the schedule has levels.

Whole levels of the schedule, T = 1000 and 4 steps as the example:

    trailing   1000 750 500 250     T, T - T/steps, ... (Lin et al. 2024, table 2; the course's
                                    "fast sampling" wherever steps divides T)
    leading    751 501 251 1        multiples of T // steps from timestep 0 (DDIM's code); never T
                                    unless steps == T
    linspace   1000 667 334 1       both ends, evenly
    quad       1000 562 250 62      squares: denser near the image (DDIM, appendix D.2)

and values of rho = sigma / alpha between the schedule's largest and smallest:

    karras        rho^(1/7) evenly (Karras et al. 2022, equation 5)
    exponential   ln rho evenly, which is lambda evenly (DPM-Solver's "logSNR")
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastdiff.errors import FastdiffError
from fastdiff.samplers.table import Float64Array
from fastdiff.schedules import MAX_LEVELS, AnySchedule, EDMSchedule, Schedule

LEVEL_SPACINGS = ("trailing", "leading", "linspace", "quad")
RHO_SPACINGS = ("karras", "exponential")
SPACINGS = LEVEL_SPACINGS + RHO_SPACINGS
KARRAS_RHO = 7.0


def spaced_levels(
    schedule: Schedule, steps: int, spacing: str = "trailing"
) -> npt.NDArray[np.int64]:
    """Levels from the first visited down to 0, int64 [steps + 1], strictly falling."""
    check_steps(steps, schedule.T)
    T, k = schedule.T, np.arange(steps, dtype=np.int64)
    if spacing == "trailing":
        visited = T - np.round(k * (T / steps)).astype(np.int64)
    elif spacing == "leading":
        visited = (k * (T // steps))[::-1] + 1
    elif spacing == "linspace":
        visited = np.round(np.linspace(0, T - 1, steps) if steps > 1 else [T - 1])[::-1] + 1
    elif spacing == "quad":
        # At least k: near the image the squares lie closer together than the levels.
        visited = np.maximum(np.round(T * ((k + 1) / steps) ** 2), k + 1)[::-1]
    else:
        raise FastdiffError(f"spacing: expected one of {', '.join(SPACINGS)}, got {spacing!r}")
    return np.concatenate([np.asarray(visited, dtype=np.int64), np.zeros(1, dtype=np.int64)])


def rho_spaced(schedule: AnySchedule, steps: int, spacing: str) -> Float64Array:
    """rho from the largest to the smallest, float64 [steps], strictly falling."""
    if isinstance(schedule, EDMSchedule):
        check_steps(steps, MAX_LEVELS)
        largest, smallest = schedule.sigma_max, schedule.sigma_min
        allowed: tuple[str, ...] = RHO_SPACINGS
    else:
        check_steps(steps, schedule.T)
        ab = schedule.alpha_bar[[-1, 1]]
        if ab[0] == 0:
            raise FastdiffError(
                f"spacing: {spacing!r} needs some signal at level T, and zero_snr leaves none "
                f"(expected one of {', '.join(LEVEL_SPACINGS)})"
            )
        largest, smallest = np.sqrt((1.0 - ab) / ab)
        allowed = SPACINGS
    if spacing not in RHO_SPACINGS:
        raise FastdiffError(f"spacing: expected one of {', '.join(allowed)}, got {spacing!r}")
    ramp = np.linspace(0.0, 1.0, steps)
    if spacing == "exponential":
        return np.asarray(np.exp(np.log(largest) + ramp * (np.log(smallest) - np.log(largest))))
    ends = largest ** (1.0 / KARRAS_RHO), smallest ** (1.0 / KARRAS_RHO)
    return np.asarray((ends[0] + ramp * (ends[1] - ends[0])) ** KARRAS_RHO)


def check_steps(steps: int, T: int) -> None:
    """Raises unless ``steps`` is an integer from 1 to T."""
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or not 1 <= steps <= T:
        raise FastdiffError(f"steps: expected an integer from 1 to {T}, got {steps!r}")
