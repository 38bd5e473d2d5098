"""The sinusoidal embedding of a time (Vaswani et al. 2017, section 3.5; Ho et al. 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Sinusoidal(nn.Module):
    """[B] -> [B, width]: sines, then cosines, of t f_k, k = 0 ... width / 2 - 1.

    f_k = 10000^(-k / (width / 2 - shift)). ``cosine_first``: cosines in the first half.
    ``computed_in``: the dtype of the frequencies before they take t's. Float64 is as exact as t
    allows; a network that was trained with frequencies of float32 wants these again, since at
    t = 1000 their angles are others by 1e-4.
    """

    def __init__(
        self,
        width: int,
        *,
        shift: float = 1.0,
        cosine_first: bool = False,
        computed_in: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.width, self.shift = width, shift
        self.cosine_first, self.computed_in = cosine_first, computed_in

    def forward(self, t: Tensor) -> Tensor:
        """[B], in the schedule's unit -> [B, width]."""
        k = torch.arange(self.width // 2, dtype=self.computed_in, device=t.device)
        exponent = -math.log(10_000.0) * k / (self.width // 2 - self.shift)
        angles = t[:, None] * torch.exp(exponent).to(t.dtype)
        halves = (angles.sin(), angles.cos())
        return torch.cat(halves[::-1] if self.cosine_first else halves, dim=1)
