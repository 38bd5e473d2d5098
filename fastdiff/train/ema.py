"""Exponential moving average of a network's weights and running statistics."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """A copy of ``module`` whose floating-point state follows it with ``decay``.

    The decay starts lower, min(decay, (1 + s) / (10 + s)), so that the first, bad weights do
    not linger. Buffers that are no floats (counters) are copied.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, source: nn.Module, step: int) -> None:
        """Moves the average towards ``source``; ``step`` counts updates from 0."""
        weight = 1.0 - min(self.decay, (1 + step) / (10 + step))
        live = source.state_dict()
        floats = {k: v for k, v in self.module.state_dict().items() if v.is_floating_point()}
        torch._foreach_lerp_(list(floats.values()), [live[k] for k in floats], weight)
        for key, value in self.module.state_dict().items():
            if key not in floats:
                value.copy_(live[key])
