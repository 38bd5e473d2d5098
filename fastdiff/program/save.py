"""A model's engine file: lowered, with a table, as bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fastdiff.program import cache
from fastdiff.program.binding import Split
from fastdiff.program.engine_file import engine_bytes
from fastdiff.program.lower import lower
from fastdiff.samplers import SamplerTable, build_table

if TYPE_CHECKING:
    from fastdiff.models.autoregressive import AutoregressiveModel
    from fastdiff.models.model import DiffusionModel


def engine_bytes_of(model: DiffusionModel, table: SamplerTable | None = None) -> bytes:
    """The engine file of a model and a sampler's table; without one, of a short one of Euler's.

    A model of one of our architectures is traced once and kept in the cache folder
    (``program/cache.py``). Raises FastdiffError as ``lower`` does.
    """
    if table is None:
        table = build_table("euler", model.schedule, min(8, getattr(model.schedule, "T", 8)))
    return kept_bytes(model, lambda: lower(model), lambda split: _bytes(model, split, table))


def kept_bytes(
    model: DiffusionModel | AutoregressiveModel,
    lowered: Callable[[], Split],
    to_bytes: Callable[[Split], bytes],
) -> bytes:
    """The model's file; its program is traced once and kept."""
    key, folder = cache.key_of(model), cache.folder()
    path = None if key is None or folder is None else folder / "programs" / f"{key}.fdiff"
    split = None if path is None else cache.kept(path)
    if split is not None:
        return to_bytes(split)
    data = to_bytes(lowered())
    if path is not None:
        cache.keep(path, data)
    return data


def _bytes(model: DiffusionModel, split: Split, table: SamplerTable) -> bytes:
    return engine_bytes(
        split,
        name=model.name,
        sample_shape=model.sample_shape,
        context_width=model.context_width,
        labels=model.labels,
        table=table.rows,
        table_name=table.name,
        schedule=model.schedule.to_dict(),
        init_scale=table.init_scale,
        to_noise=table.to_noise,
    )
