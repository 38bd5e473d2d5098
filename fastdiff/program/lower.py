"""lower: a diffusion model to its program, split by binding times, ready for a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fastdiff.program.binding import Split, split
from fastdiff.program.ir import Program
from fastdiff.program.passes.fold_batch_norm import fold_batch_norm
from fastdiff.program.passes.fuse_epilogue import fuse_epilogue
from fastdiff.program.passes.fuse_pool import fuse_pool
from fastdiff.program.passes.tidy import tidy
from fastdiff.program.trace import trace

if TYPE_CHECKING:
    from fastdiff.models.model import DiffusionModel

# In the order in which they run: on the whole program, then on each part of it, since an op that
# took on what another binding time makes would be bound to the later one.
PASSES = (tidy, fold_batch_norm, tidy)
PART_PASSES = (fuse_epilogue, fuse_pool)


def program_of(model: DiffusionModel) -> Program:
    """The model's program after all passes, inputs x, t and, where it takes one, context.

    Raises FastdiffError as ``trace`` does.
    """
    x = torch.randn(2, *model.sample_shape, generator=torch.Generator().manual_seed(0))
    times = [0.0, 1.0]
    if getattr(model.schedule, "time", "fraction") == "index":
        times = [0.0, float(model.levels.T - 1)]
    example = {"x": x, "t": torch.tensor(times)}
    if model.context_width:
        example["context"] = torch.ones(2, model.context_width)
    # A copy would cost the memory of the weights; a trace reads them and changes the mode alone.
    training = model.module.training
    try:
        program = trace(model.module, example, model.name)
    finally:
        model.module.train(training)
    for improve in PASSES:
        program = improve(program)
    return program


def lower(model: DiffusionModel) -> Split:
    """The model's program by binding times."""
    parts = split(program_of(model)).parts()
    for improve in PART_PASSES:
        parts = {time: improve(part) for time, part in parts.items()}
    return Split(**parts)
