"""The noise reference in torch ops, on any device: ``fastdiff.noise`` holds the definition.

torch has no unsigned 64-bit product, so words travel as int64 below 2**32: a product of two of
them wraps in int64, and its high word comes out right after an arithmetic shift and a mask.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastdiff.noise import M0, M1, ROUNDS, W0, W1

_MASK = 0xFFFFFFFF


def seeds_to_tensor(seeds: list[int], device: torch.device | str = "cpu") -> Tensor:
    """Seeds 0 <= s < 2**64 as int64 [n] with the same 64 bits."""
    signed = [s - 2**64 if s >= 2**63 else s for s in seeds]
    return torch.tensor(signed, dtype=torch.int64, device=device)


def words(seeds: Tensor, step: Tensor | int, stream: int, count: int) -> Tensor:
    """Words as int64 in [0, 2**32), [n, count].

    ``seeds``: int64 [n], the bits of the unsigned seed. ``step``: one or int tensor [n].
    """
    n, blocks = seeds.shape[0], -(-count // 4)
    block = torch.arange(blocks, dtype=torch.int64, device=seeds.device)
    step = torch.as_tensor(step, dtype=torch.int64, device=seeds.device).expand(n)
    shape = (n, blocks)
    c0, c1 = block.expand(shape), step[:, None].expand(shape)
    c2, c3 = torch.full_like(c0, stream), torch.zeros_like(c0)
    k0, k1 = (seeds & _MASK)[:, None], ((seeds >> 32) & _MASK)[:, None]
    for _ in range(ROUNDS):
        p0, p1 = c0 * M0, c2 * M1
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK) ^ c1 ^ k0,
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + W0) & _MASK, (k1 + W1) & _MASK
    return torch.stack([c0, c1, c2, c3], dim=-1).reshape(n, blocks * 4)[:, :count]


def uniform_from_words(w: Tensor) -> Tensor:
    """u = (float32(w) + 0.5) * 2**-32, float32 in (0, 1], bit-equal to the NumPy reference."""
    return (w.to(torch.float32) + 0.5) * 2.0**-32


def normal(seeds: Tensor, step: Tensor | int, stream: int, count: int) -> Tensor:
    """Standard normals, float32 [n, count]; arguments as in ``words``."""
    u = uniform_from_words(words(seeds, step, stream, -(-count // 4) * 4))
    pairs = u.to(torch.float64).reshape(u.shape[0], u.shape[1] // 2, 2)
    r = torch.sqrt(-2.0 * torch.log(pairs[..., 0]))
    angle = 2.0 * math.pi * pairs[..., 1]
    z = torch.stack([r * torch.cos(angle), r * torch.sin(angle)], dim=-1)
    return z.reshape(u.shape).to(torch.float32)[:, :count]
