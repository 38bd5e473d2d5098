"""What the checks of sampler_update and sampler_start share: a batch, its noise, tolerances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fastdiff import noise
from fastdiff.kernels.launch import INTERPRETED
from fastdiff.kernels.sampler_start import sampler_start
from fastdiff.kernels.sampler_tile import BLOCK
from fastdiff.kernels.sampler_update import sampler_update
from fastdiff.samplers import SamplerTable
from fastdiff.samplers.table import WIDTH

SEEDS = np.array([5, 2**64 - 1, 0x0123456789ABCDEF], dtype=np.uint64)
NAN = float("nan")
# C * H * W of 1, 3, 5 and 768, and a little more than a program's share.
SHAPES = [(1, 1, 1), (3, 1, 1), (1, 1, 5), (3, 16, 16), (3, 4, (BLOCK + 4) // 12), (1, 27, 19)]


def seeds(n: int) -> torch.Tensor:
    return torch.from_numpy(SEEDS[:n].view(np.int64).copy())


def normal(n: int, steps: Any, stream: int, shape: tuple[int, ...]) -> torch.Tensor:
    """float64 [n, *shape], of float32 noise."""
    z = noise.normal(SEEDS[:n], steps, stream, int(np.prod(shape)))
    return torch.from_numpy(z).double().reshape(n, *shape)


def assert_as_near_as_plain(
    got: torch.Tensor, expected: torch.Tensor, plain: torch.Tensor, noise_weight: float = 0.0
) -> None:
    """At most twice the error of the eager formulas in float32, both against float64.

    ``noise_weight``: how much of a normal is in the result; normals have an error of their own.
    """
    assert got.dtype == torch.float32
    assert torch.isfinite(expected).all()
    assert torch.isfinite(got).all()
    if not expected.numel():
        return
    error = (got.double() - expected).abs().max()
    allowed = (plain.double() - expected).abs().max()
    largest = expected.abs().max().clamp(min=1.0)
    assert error <= 2 * allowed + largest * 2**-23 + noise_weight * noise.NORMAL_TOLERANCE
    assert allowed <= 1e-3 * largest  # or the line above would say nothing


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


def is_rounded(got: torch.Tensor, exact: torch.Tensor) -> bool:
    """Whether ``got`` is the float32 ``exact`` in its dtype, bit by bit."""
    cut = (exact.contiguous().view(torch.int32) & -65536).view(torch.float32)
    # Triton's interpreter cuts bfloat16 off; a GPU rounds it (test_cubins.py reads the PTX).
    interpreted = INTERPRETED and got.dtype == torch.bfloat16 and same_bits(got, cut.to(got.dtype))
    return same_bits(got, exact.to(got.dtype)) or interpreted


def laid_out(values: torch.Tensor, layout: str) -> torch.Tensor:
    """The same values in a tensor of other strides."""
    if layout == "channels_last":
        return values.contiguous(memory_format=torch.channels_last)
    if layout == "half":  # of an output for both halves of a guided call
        return torch.cat([torch.full_like(values, NAN), values])[values.shape[0] :]
    if layout == "apart":
        n, c, h, w = values.shape
        wide = torch.full((n, h + 1, c + 2, 2 * w), NAN, dtype=values.dtype)
        view = wide.permute(0, 2, 1, 3)[:, 1 : c + 1, :h, ::2]
        view.copy_(values)
        return view
    if layout == "odd":  # contiguous samples, an element apart
        n, size = values.shape[0], values[0].numel()
        wide = torch.full((n, size + 1), NAN, dtype=values.dtype, device=values.device)
        view = wide[:, :size].unflatten(1, values.shape[1:])
        view.copy_(values)
        return view
    assert layout == "contiguous"
    return values.contiguous()


@dataclass
class State:
    """All that the ops read and write of a batch, float32, its history nan."""

    x: torch.Tensor
    table: torch.Tensor
    rows: torch.Tensor
    count: torch.Tensor
    seeds: torch.Tensor
    x_past: torch.Tensor
    m_past: torch.Tensor
    model_in: torch.Tensor

    @classmethod
    def of(cls, table: SamplerTable, n: int, shape: tuple[int, ...], spare_rows: int = 2) -> State:
        rows = torch.from_numpy(table.rows.copy()).float()
        x = torch.full((n, *shape), NAN)
        return cls(
            x,
            torch.cat([rows, torch.full((spare_rows, WIDTH), NAN)]),
            torch.zeros(n, dtype=torch.int32),
            torch.tensor([len(table)], dtype=torch.int32),
            seeds(n),
            torch.full((table.x_depth - 1, n, *shape), NAN),
            torch.full((table.m_depth - 1, n, *shape), NAN),
            torch.full((n, *shape), NAN),
        )

    def written(self) -> list[torch.Tensor]:
        """What a sample's row may write, each [B, ...]."""
        return [self.x, *self.x_past, *self.m_past, self.model_in]

    def update(self, m: torch.Tensor, **options: Any) -> None:
        sampler_update(
            self.x, m, self.table, self.rows, self.count, self.seeds, self.x_past, self.m_past,
            self.model_in, **options,
        )  # fmt: skip

    def start(self, init_scale: float = 1.0, **options: Any) -> None:
        scale = torch.tensor([init_scale])
        sampler_start(self.x, self.table, self.seeds, scale, self.model_in, **options)
