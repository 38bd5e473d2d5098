"""A foreign scheduler object of diffusers, compiled to a table by watching it.

Nothing of its code is known here: the rows are found from what it does to unit vectors
(``recover.py``), and a table is handed out only after a run on random inputs in which it and the
scheduler agree (``proof.py``). docs/diffusers.md lists what compiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fastdiff.errors import FastdiffError
from fastdiff.samplers.foreign.clipping import Columns, with_clamps
from fastdiff.samplers.foreign.proof import Proof, prove
from fastdiff.samplers.foreign.readings import init_scale, leads_to_noise, levels, x0_formula
from fastdiff.samplers.foreign.recover import Watched, watch
from fastdiff.samplers.foreign.their_schedules import check_edm, check_schedule, diffusers_config
from fastdiff.samplers.foreign.watching import Prepared, prepare
from fastdiff.samplers.table import Float64Array, SamplerTable
from fastdiff.schedules import AnySchedule, EDMSchedule, Schedule

__all__ = ["TOLERANCE", "Compiled", "compiled", "diffusers_config", "from_diffusers"]

# How far, relative to x, a table may be from its scheduler.
TOLERANCE: Final = 1e-5


@dataclass(frozen=True)
class Compiled:
    """A table and how well it is known.

    ``residual``: the largest part of an x that its row does not explain; ``proof``: how far table
    and scheduler are apart on random inputs. Both relative.
    """

    table: SamplerTable
    residual: float
    proof: Proof


def from_diffusers(
    scheduler: Any,
    steps: int | None,
    *,
    schedule: AnySchedule | None = None,
    begin: int = 0,
    **step_options: Any,
) -> SamplerTable:
    """The table of a diffusers scheduler, one row for each of its timesteps.

    ``steps``: for its ``set_timesteps``; None takes the timesteps that it has already. The object
    itself is left untouched. ``schedule``: the model's own; the scheduler must be made for it
    (:func:`diffusers_config`) and timestep t becomes the model's time at level t + 1. Without one
    (and with an EDMSchedule, whose time diffusers has as well) ``t`` is the scheduler's timestep.
    ``begin``: the row to start at, for images that are noised only in part. ``step_options`` go to
    the scheduler's ``step`` (``eta``, ``order``, ...).

    Raises FastdiffError where the scheduler is not affine, looks back further than a table, draws
    more than one normal a step or was made for another schedule; and where table and scheduler
    differ by more than 1e-5 on random inputs.
    """
    return compiled(scheduler, steps, schedule=schedule, begin=begin, **step_options).table


def compiled(
    scheduler: Any,
    steps: int | None,
    *,
    schedule: AnySchedule | None = None,
    begin: int = 0,
    **step_options: Any,
) -> Compiled:
    """What :func:`from_diffusers` gives, with the figures of its proof."""
    _need_torch()
    if not (schedule is None or isinstance(schedule, AnySchedule)):
        raise FastdiffError(
            f"schedule: expected a fastdiff schedule or None, got {type(schedule).__name__}"
        )
    prepared = prepare(scheduler, steps, begin, step_options)
    if prepared.config.get("thresholding"):
        raise prepared.refused("thresholding=True rescales x0 by a quantile of its own")
    if "learned" in str(prepared.config.get("variance_type")):
        raise prepared.refused("a learned variance is a second output of the model")
    if isinstance(schedule, Schedule):
        check_schedule(prepared, schedule)
    seen = watch(prepared)
    columns = _columns(prepared, seen, schedule)
    if isinstance(schedule, EDMSchedule):
        check_edm(prepared, schedule, columns)
    start = init_scale(prepared, columns["alpha"], columns["sigma"])
    backwards = leads_to_noise(prepared, columns["alpha"], columns["sigma"])

    def table(of: Columns) -> SamplerTable:
        return SamplerTable.build(f"{prepared.name}:{len(prepared)}", of, start, backwards)

    plain = table(dict(columns))
    proof = prove(prepared, plain)
    if proof.difference <= TOLERANCE:
        return Compiled(plain, seen.residual, proof)
    for clamped in with_clamps(prepared, seen, dict(columns)):
        candidate = table(clamped)
        both = prove(prepared, candidate), prove(prepared, candidate, clamped=True)
        worst = max(p.difference for p in both)
        if worst <= TOLERANCE:
            return Compiled(candidate, seen.residual, Proof(worst, both[1].saturated))
    raise prepared.refused(
        f"its step is not affine: table and scheduler differ by {proof.difference:.1g} on random "
        f"inputs, where {TOLERANCE:g} is allowed"
    )


def _columns(
    prepared: Prepared, seen: Watched, schedule: AnySchedule | None
) -> dict[str, Float64Array]:
    alpha, sigma = levels(prepared, seen)
    from_x, from_m = x0_formula(prepared, seen, alpha, sigma)
    return {
        "t": schedule.time_at(seen.t + 1.0) if isinstance(schedule, Schedule) else seen.t,
        "in_scale": seen.in_scale,
        "noise": seen.noise,
        "alpha": alpha,
        "sigma": sigma,
        "x0_from_x": from_x,
        "x0_from_m": from_m,
        **{f"x[{back}]": seen.x[:, back] for back in range(seen.x.shape[1])},
        **{f"m[{back}]": seen.m[:, back] for back in range(seen.m.shape[1])},
    }


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise FastdiffError(
            "from_diffusers: needs torch and diffusers, which are not installed "
            "(pip install fastdiff[torch] diffusers)"
        ) from error
