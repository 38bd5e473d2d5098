"""Samplers: pure functions from a schedule to a :class:`SamplerTable`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastdiff.errors import FastdiffError
from fastdiff.samplers.ddim import ddim
from fastdiff.samplers.ddpm import ddpm
from fastdiff.samplers.dpmpp import dpmpp_2m, dpmpp_2m_sde, dpmpp_3m
from fastdiff.samplers.table import SamplerTable
from fastdiff.schedules import Schedule

SAMPLERS: dict[str, Callable[..., SamplerTable]] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_3m": dpmpp_3m,
    "dpmpp_2m_sde": dpmpp_2m_sde,
}

__all__ = [
    "SAMPLERS",
    "SamplerTable",
    "build_table",
    "ddim",
    "ddpm",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_3m",
]


def build_table(
    sampler: str | SamplerTable, schedule: Schedule, steps: int | None = None, **options: Any
) -> SamplerTable:
    """The table of a sampler by name, with its own options (``eta``, ``noise``, ...).

    A ``SamplerTable`` is returned as it is and takes neither steps nor options.
    """
    if isinstance(sampler, SamplerTable):
        if steps is not None or options:
            raise FastdiffError("sampler: a SamplerTable takes neither steps nor options")
        return sampler
    if not isinstance(sampler, str) or sampler not in SAMPLERS:
        raise FastdiffError(f"sampler: expected one of {', '.join(SAMPLERS)}, got {sampler!r}")
    build = SAMPLERS[sampler]
    known = [p for p in inspect.signature(build).parameters if p not in ("schedule", "steps")]
    for name in options:
        if name not in known:
            raise FastdiffError(
                f"{name}: sampler {sampler!r} takes {', '.join(known)}, not {name!r}"
            )
    return build(schedule, steps, **options)
