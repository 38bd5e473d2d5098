"""Eager torch: as it comes, in channels_last, and under bfloat16 autocast."""

from __future__ import annotations

from typing import Any

import torch

from peers import BF16, Calls, Contestant, Task, load_model
from peers.whole import run_of


def inputs(task: Task) -> list[torch.Tensor]:
    """x, t and where there is one the context."""
    return [torch.from_numpy(array) for array in task.arrays().values()]


def calls(task: Task, who: Contestant) -> Calls:
    """One setting: what the name says, in inference mode."""
    torch.set_num_threads(task.threads)
    if task.suite == "whole":
        return {"": run_of(task, backend="eager", dtype=who.precision)}
    module = load_model(task.suite).module.eval().requires_grad_(False)
    x, *others = inputs(task)
    if "channels_last" in who.name:
        module = module.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)

    reduced = who.precision == BF16

    def call() -> Any:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            return module(x, *others).float()

    return {"": call}
