"""The sinusoidal embedding of a time (Vaswani et al. 2017, section 3.5; Ho et al. 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Sinusoidal(nn.Module):
    """[B] -> [B, width]: sines and cosines of t f_k, k = 0 ... width / 2 - 1.

    f_k = theta^(-k / (width / 2 - shift)). ``cosine_first``: cosines in the first half. Frequencies
    are rounded to float32 as in other implementations, whose angles at t = 1000 would else differ
    by 1e-4.
    """

    frequencies: Tensor

    def __init__(
        self, width: int, *, theta: float = 10_000.0, shift: float = 0.0, cosine_first: bool = False
    ) -> None:
        super().__init__()
        self.cosine_first = cosine_first
        exponent = -math.log(theta) * torch.arange(width // 2, dtype=torch.float32)
        frequencies = torch.exp(exponent / (width // 2 - shift))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        """[B], in the schedule's unit -> [B, width]."""
        angles = t[:, None] * self.frequencies
        halves = (angles.sin(), angles.cos())
        return torch.cat(halves[::-1] if self.cosine_first else halves, dim=1)
