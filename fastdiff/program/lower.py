"""lower: a model to its program, split by binding times, ready for a backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

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
    return improved(model.module, example, model.name)


def lower(model: DiffusionModel) -> Split:
    """The model's program by binding times."""
    return parts_of(program_of(model))


def improved(module: nn.Module, example: Mapping[str, Tensor], name: str) -> Program:
    """A module's program after all passes that see the whole of it.

    ``example``: as ``trace`` takes it. Raises FastdiffError as ``trace`` does.
    """
    # A copy would cost the memory of the weights; a trace reads them and changes the mode alone.
    training = module.training
    try:
        program = trace(module, example, name)
    finally:
        module.train(training)
    for improve in PASSES:
        program = improve(program)
    return program


def parts_of(program: Program) -> Split:
    """A program by binding times, each part after its own passes."""
    parts = split(program).parts()
    for improve in PART_PASSES:
        parts = {time: improve(part) for time, part in parts.items()}
    return Split(**parts)
