"""The choice of a wavefront's pixels: levels from logits and uniforms, on a GPU.

For every sample b and cell m that has a pixel value at the subtime s, as
``fastdiff/pixelcnn/naive.py`` does it:

    z[k] = float32(cache[b, logits[s, m] + logit_offsets[k]] / temperature)
    z[k] = -inf under the top_k-th largest;  w[k] = exp(z[k] - max z);  cdf = running sum / its last
    level = #{k : cdf[k] <= u}, at most the last level whose w is not 0; or the given one
    cache[b, inputs[s, m] + input_offset] = level * scale + shift

Layout: a program makes one choice; levels lie across its threads. Everything after z is float64,
as in the reference: with 256 levels the CDF of a float32 sum is off by 1e-6, enough to change a
level now and then. What is left is the order of the running sum, 1e-16. The levels above each are
counted, 256 x 256 compares, and only where top_k asks for it. Moves 4 L bytes of logits (2 L in
bfloat16), in cache since the stage before, and some 30 more. Not yet measured on a GPU.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastdiff.errors import FastdiffError

from .activations import rounded
from .launch import (
    check_device,
    check_same_device,
    check_tensor,
    device_guard,
    runs_reference,
)

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
INTS = (torch.int32,)
MAX_LEVELS = 256
CHUNK = 32  # levels that all others are compared with at once


@triton.jit  # type: ignore[untyped-decorator]
def _scaled(  # type: ignore[no-untyped-def]
    first, logit_offsets, temperature, level, LEVELS: tl.constexpr
):  # fmt: skip
    """float32(logit / temperature) of levels, -inf beyond the last."""
    real = level < LEVELS
    logit = tl.load(first + tl.load(logit_offsets + level, mask=real, other=0), mask=real, other=0)
    scaled = tl.div_rn(logit.to(tl.float32), tl.broadcast_to(temperature, level.shape))
    return tl.where(real, scaled, -float("inf"))


# What changes from request to request is not specialised: it would compile the kernel anew.
@triton.jit(  # type: ignore[untyped-decorator]
    do_not_specialize=["cells", "subtimes", "elements", "values", "input_offset"]
)
def choose_levels_kernel(  # type: ignore[no-untyped-def]
    cache, subtime, logits, logit_offsets, uniforms, places, given, inputs, levels,
    temperature, top_k,
    cells, subtimes, elements, values, input_offset,
    SCALE: tl.constexpr, SHIFT: tl.constexpr,
    LEVELS: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Sample program_id(0) // cells, cell program_id(0) % cells. ``values``: P."""
    s = tl.load(subtime)
    if (s < 0) | (s >= subtimes):
        return
    row = tl.program_id(0)
    cell = s.to(tl.int64) * cells + row % cells
    place = tl.load(places + cell)
    if place < 0:
        return
    sample = (row // cells).to(tl.int64)
    own = cache + sample * elements
    value = sample * values + place
    known = tl.load(given + value)
    u = tl.load(uniforms + value).to(tl.float64)
    first = own + tl.load(logits + cell)
    heat = tl.load(temperature)
    k = tl.load(top_k)
    level = tl.arange(0, BLOCK)
    scaled = _scaled(first, logit_offsets, heat, level, LEVELS)
    if (k > 0) & (k < LEVELS):
        larger = tl.zeros([BLOCK], tl.int32)
        for start in range(0, LEVELS, CHUNK):
            others = _scaled(first, logit_offsets, heat, start + tl.arange(0, CHUNK), LEVELS)
            larger += tl.sum((others[None, :] > scaled[:, None]).to(tl.int32), 1)
        scaled = tl.where(larger < k, scaled, -float("inf"))
    wide = scaled.to(tl.float64)
    weight = tl.exp(wide - tl.max(wide, 0))
    running = tl.cumsum(weight, 0)
    whole = tl.sum(tl.where(level == LEVELS - 1, running, 0.0), 0)
    passed = tl.sum(((level < LEVELS) & (running / whole <= u)).to(tl.int32), 0)
    # u may be 1, which passes the whole CDF: then the last level that has a share.
    chosen = tl.minimum(passed, tl.max(tl.where(weight > 0.0, level, 0), 0))
    chosen = tl.where(known >= 0, known, chosen)
    tl.store(levels + value, chosen)
    # In float64, rounded once to float32: AutoregressiveModel.input_of. Compiled without fma.
    x = chosen.to(tl.float64) * tl.full([], SCALE, tl.float64) + tl.full([], SHIFT, tl.float64)
    to = tl.load(inputs + cell)
    tl.store(
        own + to + input_offset, rounded(x.to(tl.float32), cache.dtype.element_ty), mask=to >= 0
    )


def num_warps(levels: int) -> int:
    """Warps of a program: two levels a thread, but one warp at least."""
    return max(1, (levels + 63) // 64)


def _launch(
    cache: Tensor, subtime: Tensor, logits: Tensor, logit_offsets: Tensor, uniforms: Tensor,
    places: Tensor, given: Tensor, inputs: Tensor, input_offset: int, levels: Tensor,
    temperature: Tensor, top_k: Tensor, scale: float, shift: float,
) -> None:  # fmt: skip
    check_device("cache", cache.device)
    (n, elements), (subtimes, cells) = cache.shape, places.shape
    if not (n and subtimes and cells):
        return
    count = len(logit_offsets)
    with device_guard(cache.device):
        choose_levels_kernel[(n * cells,)](
            cache, subtime, logits, logit_offsets, uniforms, places, given, inputs, levels,
            temperature, top_k,
            cells, subtimes, elements, levels.shape[1], input_offset,
            SCALE=scale, SHIFT=shift, LEVELS=count, BLOCK=triton.next_power_of_2(count),
            CHUNK=CHUNK, num_warps=num_warps(count), enable_fp_fusion=False,
        )  # fmt: skip


def choose_levels_reference(
    cache: Tensor,
    subtime: Tensor,
    logits: Tensor,
    logit_offsets: Tensor,
    uniforms: Tensor,
    places: Tensor,
    given: Tensor,
    inputs: Tensor,
    input_offset: int,
    levels: Tensor,
    temperature: Tensor,
    top_k: Tensor,
    scale: float,
    shift: float,
) -> None:
    """``choose_levels`` in plain torch: what the kernel is held against, and runs on a CPU."""
    s, k, count = int(subtime), int(top_k), len(logit_offsets)
    if not 0 <= s < len(places):
        return
    cells = torch.nonzero(places[s] >= 0).flatten()
    at = places[s, cells].long()
    found = cache[:, (logits[s, cells, None] + logit_offsets).long()]  # [n, cells, levels]
    scaled = (found.float() / temperature).double()
    if 0 < k < count:
        least = scaled.topk(k, dim=2).values[..., -1:]
        scaled = scaled.masked_fill(scaled < least, -torch.inf)
    weights = (scaled - scaled.amax(dim=2, keepdim=True)).exp()
    cdf = weights.cumsum(dim=2)
    cdf = cdf / cdf[..., -1:]
    last = torch.where(weights > 0, torch.arange(count), 0).amax(dim=2)
    passed = (cdf <= uniforms[:, at, None]).sum(dim=2)
    known = given[:, at].long()
    chosen = torch.where(known >= 0, known, torch.minimum(passed, last))
    levels[:, at] = chosen.to(levels.dtype)
    kept = inputs[s, cells] >= 0
    to = (inputs[s, cells][kept] + input_offset).long()
    cache[:, to] = (chosen[:, kept].double() * scale + shift).float().to(cache.dtype)


def _choose(
    cache: Tensor, subtime: Tensor, logits: Tensor, logit_offsets: Tensor, uniforms: Tensor,
    places: Tensor, given: Tensor, inputs: Tensor, input_offset: int, levels: Tensor,
    temperature: Tensor, top_k: Tensor, scale: float, shift: float,
) -> None:  # fmt: skip
    run = choose_levels_reference if runs_reference(cache.device) else _launch
    run(
        cache, subtime, logits, logit_offsets, uniforms, places, given, inputs, input_offset,
        levels, temperature, top_k, scale, shift,
    )  # fmt: skip


OP = torch.library.custom_op(
    "fastdiff::choose_levels",
    _choose,
    mutates_args=("cache", "levels"),
    schema=(
        "(Tensor(a!) cache, Tensor subtime, Tensor logits, Tensor logit_offsets, "
        "Tensor uniforms, Tensor places, Tensor given, Tensor inputs, int input_offset, "
        "Tensor(b!) levels, Tensor temperature, Tensor top_k, float scale, float shift) -> ()"
    ),
)


@OP.register_fake
def _fake(*_: object) -> None:
    pass


def choose_levels(
    cache: Tensor,
    subtime: Tensor,
    logits: Tensor,
    logit_offsets: Tensor,
    uniforms: Tensor,
    places: Tensor,
    given: Tensor,
    inputs: Tensor,
    input_offset: int,
    levels: Tensor,
    temperature: Tensor,
    top_k: Tensor,
    scale: float,
    shift: float,
) -> None:
    """Chooses a colour of the pixels whose subtime it is, in place in ``levels`` and ``cache``.

    ``cache``: float32, bfloat16 or float16 [n, E], contiguous. ``subtime``: int32 [1], a row of the
    tables; outside of 0 .. S - 1 nothing is done. ``logits``: int32 [S, M], the first element of a
    cell's logits; ``logit_offsets``: int32 [L], 2 to 256. ``places``: int32 [S, M], which of the P
    pixel values is chosen, -1 for none; ``uniforms`` float32, ``given`` int32 (-1: draw) and
    ``levels`` int32, written, are [n, P] of these. ``inputs``: int32 [S, M], with
    ``input_offset`` where the network's input goes, level * scale + shift; -1: nowhere.
    ``temperature``: float32 [1], positive. ``top_k``: int32 [1], 0 or from L on: all levels.

        level = #{k : cdf[k] <= u}, at most the last level that has a probability

    Raises FastdiffError where an argument is wrong. Places are not checked.
    """
    check_tensor("cache", cache, DTYPES, [-1, -1], contiguous=True)
    n = cache.shape[0]
    check_tensor("subtime", subtime, INTS, [1])
    check_tensor("places", places, INTS, [-1, -1], contiguous=True)
    check_tensor("logits", logits, INTS, list(places.shape), contiguous=True)
    check_tensor("inputs", inputs, INTS, list(places.shape), contiguous=True)
    check_tensor("logit_offsets", logit_offsets, INTS, [-1], contiguous=True)
    if not 2 <= len(logit_offsets) <= MAX_LEVELS:
        raise FastdiffError(
            f"logit_offsets: expected 2 to {MAX_LEVELS} levels, got {len(logit_offsets)}"
        )
    check_tensor("levels", levels, INTS, [n, -1], contiguous=True)
    check_tensor("uniforms", uniforms, (torch.float32,), list(levels.shape), contiguous=True)
    check_tensor("given", given, INTS, list(levels.shape), contiguous=True)
    check_tensor("temperature", temperature, (torch.float32,), [1])
    check_tensor("top_k", top_k, INTS, [1])
    if not 0 <= input_offset < 2**31:
        raise FastdiffError(f"input_offset: expected an element of a cell, got {input_offset}")
    for name, number in (("scale", scale), ("shift", shift)):
        if not math.isfinite(number):
            raise FastdiffError(f"{name}: expected a finite number, got {number}")
    check_same_device(
        cache, "cache", subtime=subtime, logits=logits, logit_offsets=logit_offsets,
        uniforms=uniforms, places=places, given=given, inputs=inputs, levels=levels,
        temperature=temperature, top_k=top_k,
    )  # fmt: skip
    OP(
        cache, subtime, logits, logit_offsets, uniforms, places, given, inputs, input_offset,
        levels, temperature, top_k, float(scale), float(shift),
    )  # fmt: skip
