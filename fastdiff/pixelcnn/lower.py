"""lower: an autoregressive model to its program, split by binding times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fastdiff.program.binding import Split
from fastdiff.program.ir import Program
from fastdiff.program.lower import improved, parts_of

if TYPE_CHECKING:
    from fastdiff.models.autoregressive import AutoregressiveModel


def program_of(model: AutoregressiveModel) -> Program:
    """The model's program after all passes, inputs x and, where it takes one, context.

    Raises FastdiffError as ``trace`` does.
    """
    size = (2, *model.sample_shape)
    levels = torch.arange(2 * torch.Size(model.sample_shape).numel()) % model.levels
    example = {"x": model.input_of(levels.reshape(size))}
    if model.context_width:
        example["context"] = torch.ones(2, model.context_width)
    return improved(model.module, example, model.name)


def lower(model: AutoregressiveModel) -> Split:
    """The model's program by binding times: ``request`` (context) and ``step`` (x)."""
    return parts_of(program_of(model))
