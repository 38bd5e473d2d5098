"""Attention in one kernel: out = softmax(scale q k^T) v, the scores never in memory.

A program has BLOCK_M queries of one head of one sample and walks over the keys, BLOCK_N at a time,
with the running maximum m and sum l of the online softmax, both float32, as is the accumulator:

    s = scale log2(e) q k^T;  m' = max(m, max s);  p = 2^(s - m')
    acc = 2^(m - m') acc + p v;  l = 2^(m - m') l + sum p;  at the end out = acc / l

Moves q and out once, k and v once for every BLOCK_M queries (from L2 but for the first). q, k and
v are read by their strides: a channels-first map seen as [B, heads, N, D] has stride 1 over N, and
its tiles are then loaded along N, transposed in shared memory and not by a pass of their own. D is
padded to a power of two, at least 16, with zeros in registers; memory is not padded. out lies as
[B, N, heads, D], what the projection behind it reads. float32 products are float32 throughout
("ieee") unless TF32 is allowed. Not yet measured on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastdiff.errors import FastdiffError

from .activations import rounded
from .launch import (
    INTERPRETED,
    check_device,
    check_same_device,
    check_tensor,
    device_guard,
    runs_reference,
)
from .steps import DTYPES

MAX_D = 128
LOG2_E = 1.4426950408889634


@triton.jit  # type: ignore[untyped-decorator]
def attention_kernel(  # type: ignore[no-untyped-def]
    q,
    k,
    v,
    out,
    heads,
    n_queries,
    n_keys,
    scale,
    q_batch, q_head, q_n, q_d,
    k_batch, k_head, k_n, k_d,
    v_batch, v_head, v_n, v_d,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    WHOLE_KEYS: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    """BLOCK_M queries. ``scale`` has log2(e) in it; WHOLE_KEYS: BLOCK_N divides ``n_keys``; WIDEN:
    the same products from float32 operands, since the interpreter multiplies bfloat16's bits.
    """
    across = tl.cdiv(n_queries, BLOCK_M)
    batch = (tl.program_id(0) // across // heads).to(tl.int64)
    head = (tl.program_id(0) // across % heads).to(tl.int64)
    m_at = (tl.program_id(0) % across) * BLOCK_M + tl.arange(0, BLOCK_M)
    n_at = tl.arange(0, BLOCK_N)
    d_at = tl.arange(0, BLOCK_D)
    q += batch * q_batch + head * q_head
    k += batch * k_batch + head * k_head
    v += batch * v_batch + head * v_head
    d_fits = d_at < D
    q_tile = tl.load(
        q + m_at[:, None].to(tl.int64) * q_n + d_at[None, :] * q_d,
        mask=(m_at < n_queries)[:, None] & d_fits[None, :],
        other=0.0,
    )
    highest = tl.full([BLOCK_M], float("-inf"), tl.float32)
    weight = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    k_at = k + n_at[None, :].to(tl.int64) * k_n + d_at[:, None] * k_d  # [BLOCK_D, BLOCK_N]
    v_at = v + n_at[:, None].to(tl.int64) * v_n + d_at[None, :] * v_d
    if WIDEN:
        q_tile = q_tile.to(tl.float32)
    for start in range(0, n_keys, BLOCK_N):
        key_fits = start + n_at < n_keys
        if WHOLE_KEYS:
            k_tile = tl.load(k_at, mask=d_fits[:, None], other=0.0)
            v_tile = tl.load(v_at, mask=d_fits[None, :], other=0.0)
        else:
            k_tile = tl.load(k_at, mask=key_fits[None, :] & d_fits[:, None], other=0.0)
            v_tile = tl.load(v_at, mask=key_fits[:, None] & d_fits[None, :], other=0.0)
        if WIDEN:
            k_tile, v_tile = k_tile.to(tl.float32), v_tile.to(tl.float32)
        s = tl.dot(q_tile, k_tile, input_precision=PRECISION) * scale
        if not WHOLE_KEYS:
            s = tl.where(key_fits[None, :], s, float("-inf"))
        higher = tl.maximum(highest, tl.max(s, axis=1))
        p = tl.exp2(s - higher[:, None])
        shrink = tl.exp2(highest - higher)
        weight = weight * shrink + tl.sum(p, axis=1)
        p = rounded(p, v.dtype.element_ty).to(v_tile.dtype)
        acc = tl.dot(p, v_tile, acc * shrink[:, None], input_precision=PRECISION)
        highest = higher
        k_at += BLOCK_N * k_n
        v_at += BLOCK_N * v_n
    row = (batch * n_queries + m_at) * heads + head
    tl.store(
        out + row[:, None] * D + d_at[None, :],
        rounded(acc / weight[:, None], out.dtype.element_ty),
        mask=(m_at < n_queries)[:, None] & d_fits[None, :],
    )


@dataclass(frozen=True)
class Tiles:
    """What a program has at once, and the warps and pipeline stages that it has it with."""

    queries: int
    keys: int
    warps: int
    stages: int


def tiles(dtype: torch.dtype, block_d: int, n_queries: int, n_keys: int) -> Tiles:
    """The tiles for a shape; none spills on sm_80, sm_90 or sm_100 by Triton 3.5 and 3.9."""
    if dtype == torch.float32:
        most = Tiles(32, 16, 8, 2) if block_d > 64 else Tiles(32, 32, 4, 2)
    else:
        most = Tiles(64, 64, 4, 2)
    queries = min(most.queries, max(16, triton.next_power_of_2(n_queries)))
    keys = min(most.keys, max(16, triton.next_power_of_2(n_keys)))
    return Tiles(queries, keys, most.warps, most.stages)


def attention_reference(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """The op in plain torch, float32 throughout."""
    s = scale * (q.float() @ k.float().transpose(-1, -2))
    return (torch.softmax(s, -1) @ v.float()).to(q.dtype)


def _fake(q: Tensor, k: Tensor, v: Tensor, scale: float, allow_tf32: bool) -> Tensor:
    batch, heads, n, d = q.shape
    return q.new_empty((batch, n, heads, d)).transpose(1, 2)


def _make(q: Tensor, k: Tensor, v: Tensor, scale: float, allow_tf32: bool) -> Tensor:
    out = _fake(q, k, v, scale, allow_tf32)
    if runs_reference(q.device):
        return out.copy_(attention_reference(q, k, v, scale))
    check_device("q", q.device)
    if not out.numel():
        return out
    batch, heads, n_queries, d = q.shape
    n_keys = k.shape[2]
    block_d = max(16, triton.next_power_of_2(d))
    cut = tiles(q.dtype, block_d, n_queries, n_keys)
    with device_guard(q.device):
        attention_kernel[(batch * heads * triton.cdiv(n_queries, cut.queries),)](
            q,
            k,
            v,
            out,
            heads,
            n_queries,
            n_keys,
            scale * LOG2_E,
            *q.stride(),
            *k.stride(),
            *v.stride(),
            D=d,
            BLOCK_D=block_d,
            BLOCK_M=cut.queries,
            BLOCK_N=cut.keys,
            WHOLE_KEYS=n_keys % cut.keys == 0,
            WIDEN=INTERPRETED and q.dtype == torch.bfloat16,
            PRECISION="tf32" if allow_tf32 and q.dtype == torch.float32 else "ieee",
            num_warps=cut.warps,
            num_stages=cut.stages,
            enable_fp_fusion=True,
        )
    return out


OP = torch.library.custom_op(
    "fastdiff::attention",
    _make,
    mutates_args=(),
    schema="(Tensor q, Tensor k, Tensor v, float scale, bool allow_tf32) -> Tensor",
)
OP.register_fake(_fake)


def attention(q: Tensor, k: Tensor, v: Tensor, scale: float, *, allow_tf32: bool = False) -> Tensor:
    """softmax(scale q k^T) v, [B, heads, N, D] whose memory is [B, N, heads, D], in q's dtype.

    ``q``: [B, heads, N, D], ``k`` and ``v``: [B, heads, M, D], one dtype of float32, bfloat16 and
    float16, any strides, D from 1 to 128, M at least 1. ``out.transpose(1, 2).reshape(B, N, heads *
    D)`` is a view. ``allow_tf32``: float32 products may be TF32. Raises FastdiffError where an
    argument is wrong.
    """
    check_tensor("q", q, DTYPES, [-1] * 4)
    batch, heads, _, d = q.shape
    if not 1 <= d <= MAX_D:
        raise FastdiffError(f"q: expected from 1 to {MAX_D} elements a head, got {list(q.shape)}")
    check_tensor("k", k, (q.dtype,), [batch, heads, -1, d])
    if k.shape[2] < 1:
        raise FastdiffError(f"k: expected at least one key, got {list(k.shape)}")
    check_tensor("v", v, (q.dtype,), [batch, heads, k.shape[2], d])
    check_same_device(q, "q", k=k, v=v)
    return cast(Tensor, OP(q, k, v, float(scale), allow_tf32))
