"""An autoregressive model's engine file: lowered, with its levels, as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.pixelcnn.lower import lower
from fastdiff.program.binding import Split
from fastdiff.program.engine_file import autoregressive_bytes
from fastdiff.program.save import kept_bytes

if TYPE_CHECKING:
    from fastdiff.models.autoregressive import AutoregressiveModel


def pixel_engine_bytes_of(model: AutoregressiveModel) -> bytes:
    """The engine file of an autoregressive model.

    Kept in the cache folder as diffusion models are. Raises FastdiffError as ``lower`` does.
    """

    def pixel_bytes(split: Split) -> bytes:
        return autoregressive_bytes(
            split,
            name=model.name,
            sample_shape=model.sample_shape,
            levels=model.levels,
            input_scale=model.input_scale,
            input_shift=model.input_shift,
            context_width=model.context_width,
            labels=model.labels,
        )

    return kept_bytes(model, lambda: lower(model), pixel_bytes)
