"""Which table a request runs: a sampler by name, a given table or a foreign scheduler; all of it
or, where an image is edited, its last share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast, runtime_checkable

from fastdiff.errors import FastdiffError
from fastdiff.samplers import SamplerTable, build_table
from fastdiff.samplers.table import M_DEPTH, X_DEPTH
from fastdiff.schedules import AnySchedule


@runtime_checkable
class Scheduler(Protocol):
    """A scheduler of diffusers, known by its two methods."""

    set_timesteps: Any
    step: Any


SamplerLike = str | SamplerTable | Scheduler


def is_scheduler(sampler: object) -> bool:
    """Whether ``sampler`` is a foreign scheduler, rather than a name or a table of ours."""
    return isinstance(sampler, Scheduler) and not isinstance(sampler, type)


def table_of(
    sampler: SamplerLike,
    schedule: AnySchedule,
    steps: int | None,
    options: Mapping[str, Any],
    strength: float = 1.0,
) -> SamplerTable:
    """The table of a sampler, or the last ``strength``, in (0, 1], of it.

    A sampler by name and a scheduler make a shorter table, in which those with history begin anew;
    a given table is cut.
    """
    if is_scheduler(sampler):
        return _of_scheduler(sampler, schedule, steps, options, strength)
    if isinstance(sampler, str) and strength != 1:
        return build_table(sampler, schedule, steps, **options, strength=strength)
    # What is neither is refused by build_table.
    return cut(
        build_table(cast("str | SamplerTable", sampler), schedule, steps, **options), strength
    )


def _of_scheduler(
    scheduler: Any,
    schedule: AnySchedule,
    steps: int | None,
    options: Mapping[str, Any],
    strength: float,
) -> SamplerTable:
    from fastdiff.samplers import from_diffusers

    if steps is None:
        raise FastdiffError("steps: expected how many with a scheduler object, got none")
    for name in ("begin", "schedule"):
        if name in options:
            raise FastdiffError(f"{name}: expected none, the engine gives the scheduler its own")
    whole = from_diffusers(scheduler, steps, schedule=schedule, **options)
    first = len(whole) - rows_left(whole, strength)
    if first == 0:
        return whole
    return from_diffusers(scheduler, steps, schedule=schedule, begin=first, **options)


def rows_left(table: SamplerTable, strength: float) -> int:
    """How many of the table's rows ``strength`` leaves, at least one."""
    # A hair more, so that 0.3 of 10 is 3 rows whatever the last bit of 0.3 is.
    return max(1, int(len(table) * strength + 1e-9))


def cut(table: SamplerTable, strength: float) -> SamplerTable:
    """The last ``strength``, in (0, 1], of a table's rows, at least one; the table itself for 1.

    Raises FastdiffError where a row that is left looks back on one that is cut off.
    """
    left = rows_left(table, strength)
    if left == len(table):
        return table
    rows = table.rows[len(table) - left :]
    for prefix, depth in (("x", X_DEPTH), ("m", M_DEPTH)):
        for back in range(depth - 1, 0, -1):
            if table[f"{prefix}[{back}]"][-left:][:back].any():
                raise FastdiffError(
                    f"strength: {table.name!r} looks back {back} rows, beyond the last {left} of "
                    f"{len(table)} (use the sampler by name, or a strength that cuts elsewhere)"
                )
    return SamplerTable(rows, f"{table.name},last={left}", table.init_scale, table.to_noise)


def check_levels(table: SamplerTable, rows: int | None = None) -> None:
    """Raises unless the noise levels of the first ``rows`` rows are known; of all for None."""
    if ((table["alpha"] == 0) & (table["sigma"] == 0))[:rows].any():
        raise FastdiffError(
            f"image: expected a table that knows its noise levels, {table.name!r} does not "
            "(its alpha and sigma are 0)"
        )


def check_leads_to_image(table: SamplerTable) -> None:
    """Raises for a table that leads the other way."""
    if table.to_noise:
        raise FastdiffError(
            f"sampler: expected one that leads to an image, got {table.name!r}, which leads to "
            "noise (engine.encode runs it)"
        )
