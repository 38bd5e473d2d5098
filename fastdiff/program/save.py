"""A model's engine file: lowered, with a table, as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastdiff.program.engine_file import engine_bytes
from fastdiff.program.lower import lower
from fastdiff.samplers.table import INDEX, SamplerTable

if TYPE_CHECKING:
    from fastdiff.models.model import DiffusionModel


def engine_bytes_of(model: DiffusionModel, table: SamplerTable | None = None) -> bytes:
    """The engine file of a model and a sampler's table; without one, of a row that changes nothing.

    Raises FastdiffError as ``lower`` does.
    """
    if table is None:
        row = np.zeros((1, len(INDEX)))
        row[0, INDEX["in_scale"]] = row[0, INDEX["x[0]"]] = 1.0
        table = SamplerTable(row, "none")
    return engine_bytes(
        lower(model),
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
