"""Philox noise in Triton: words, uniforms and normals as ``fastdiff.noise`` defines them, on a GPU.

out[row, element] of key = seeds[row], counter = (element // 4, step, stream, 0): the formulas are
in ``kernels/philox.py``. Words and uniforms are bit-exact, normals float32 within 2e-6.

Layout: out [n, count], row-major; a program makes 4 * BLOCK elements of one row. A thread makes
the four elements of a Philox block together, and stores them with one 16-byte store where count
is a multiple of 4. Moves 4 bytes per element, and 8 to 16 per row. Does, counted in the SASS for
sm_90, 38 instructions per normal (10 FFMA, 5 IMAD, 4 FMUL, 1.5 conversions, half an SFU
operation), 18 per uniform and 16 per word: on paper, normals are bound by arithmetic and words by
memory. No figure has been measured on a GPU yet.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from fastdiff import noise
from fastdiff.errors import FastdiffError

from .launch import (
    INTERPRETED,
    check_device,
    check_same_device,
    check_tensor,
    device_guard,
    row_grid,
    runs_reference,
)
from .philox import box_muller, philox4x32, uniform_from_word

BLOCK = 256  # Philox blocks of a program: four a thread, among which the key's rounds are shared
NUM_WARPS = 2
# In the order of the kernel's KIND.
KINDS = {"words": torch.uint32, "uniform": torch.float32, "normal": torch.float32}
REFERENCE = {"words": noise.words, "uniform": noise.uniform, "normal": noise.normal}


# step and stream are not specialised: a kernel for each "divisible by 16" would be compiled anew.
@triton.jit(do_not_specialize=["step", "stream"])  # type: ignore[untyped-decorator]
def noise_kernel(  # type: ignore[no-untyped-def]
    out,
    seeds,
    steps,
    step,
    stream,
    count,
    KIND: tl.constexpr,
    HAS_STEPS: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Elements of row program_id(0), 4 * BLOCK of them. KIND 0: words, 1: uniforms, 2: normals."""
    row = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1) + tl.program_id(2) * tl.num_programs(1)
    seed = tl.load(seeds + row)
    if HAS_STEPS:
        step = tl.load(steps + row)
    block = (tile * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)
    zero = tl.zeros_like(block)
    a, b, c, d = philox4x32(
        block,
        zero + step.to(tl.uint32),
        zero + stream.to(tl.uint32),
        zero,
        seed.to(tl.uint32),
        (seed >> 32).to(tl.uint32),
    )
    if KIND > 0:
        a, b = uniform_from_word(a), uniform_from_word(b)
        c, d = uniform_from_word(c), uniform_from_word(d)
    if KIND > 1:
        a, b = box_muller(a, b)
        c, d = box_muller(c, d)
    value = tl.interleave(tl.interleave(a, c), tl.interleave(b, d))
    start = tile.to(tl.int64) * (4 * BLOCK)
    first, left = row * count + start, count - start
    if WIDE:  # count % 4 == 0
        first, left = tl.multiple_of(first, 4), tl.multiple_of(left, 4)
    lane = tl.arange(0, 4 * BLOCK)
    tl.store(out + first + lane, value, mask=lane < left)


def _fill(
    kind: str, out: Tensor, seeds: Tensor, steps: Tensor | None, step: int, stream: int
) -> None:
    n, count = out.shape
    if runs_reference(out.device):
        at = step if steps is None else steps.numpy().astype(np.uint32)
        made = REFERENCE[kind](seeds.numpy().view(np.uint64), at, stream, count)
        out.copy_(torch.from_numpy(made))
        return
    check_device("seeds", out.device, INTERPRETED)
    if not n or not count:
        return
    grid = row_grid(n, triton.cdiv(count, 4 * BLOCK))
    with device_guard(out.device):
        noise_kernel[grid](
            out,
            seeds.contiguous(),
            seeds if steps is None else steps.contiguous(),
            step,
            stream,
            count,
            KIND=list(KINDS).index(kind),
            HAS_STEPS=steps is not None,
            WIDE=count % 4 == 0,
            BLOCK=BLOCK,
            num_warps=NUM_WARPS,
            enable_fp_fusion=False,  # what must be fused says so
        )


def _register(kind: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """The ops fastdiff::noise_<kind> and fastdiff::noise_<kind>_out."""

    def fake(seeds: Tensor, steps: Tensor | None, step: int, stream: int, count: int) -> Tensor:
        return seeds.new_empty((seeds.shape[0], count), dtype=dtype)

    def make(seeds: Tensor, steps: Tensor | None, step: int, stream: int, count: int) -> Tensor:
        out = fake(seeds, steps, step, stream, count)
        _fill(kind, out, seeds, steps, step, stream)
        return out

    def fill(out: Tensor, seeds: Tensor, steps: Tensor | None, step: int, stream: int) -> None:
        _fill(kind, out, seeds, steps, step, stream)

    where = "Tensor seeds, Tensor? steps, SymInt step, SymInt stream"
    op = torch.library.custom_op(
        f"fastdiff::noise_{kind}",
        make,
        mutates_args=(),
        schema=f"({where}, SymInt count) -> Tensor",
    )
    op.register_fake(fake)
    into = torch.library.custom_op(
        f"fastdiff::noise_{kind}_out",
        fill,
        mutates_args=("out",),
        schema=f"(Tensor(a!) out, {where}) -> ()",
    )
    return op, into


OPS = {kind: _register(kind, dtype) for kind, dtype in KINDS.items()}


def _whole(name: str, value: object, high: int) -> None:
    if isinstance(value, torch.SymInt):
        return  # while torch traces; the value itself comes later
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
        raise FastdiffError(f"{name}: expected an integer from 0 to {high}, got {value!r}")


def _noise(
    kind: str, seeds: Tensor, step: int | Tensor, stream: int, count: int, out: Tensor | None
) -> Tensor:
    check_tensor("seeds", seeds, (torch.int64,), [-1])
    _whole("stream", stream, 2**32 - 1)
    _whole("count", count, 2**34)
    steps = None
    if isinstance(step, Tensor):
        check_tensor("step", step, (torch.int32, torch.int64), [seeds.shape[0]])
        steps, step = step, 0
    _whole("step", step, 2**32 - 1)
    if out is not None:
        check_tensor("out", out, (KINDS[kind],), [seeds.shape[0], count], contiguous=True)
    check_same_device(seeds, "seeds", step=steps, out=out)
    make, fill = OPS[kind]
    if out is None:
        return cast(Tensor, make(seeds, steps, step, stream, count))
    fill(out, seeds, steps, step, stream)
    return out


def words(
    seeds: Tensor, step: int | Tensor, stream: int, count: int, out: Tensor | None = None
) -> Tensor:
    """The Philox words, uint32 [n, count]; arguments as in ``normal``."""
    return _noise("words", seeds, step, stream, count, out)


def uniform(
    seeds: Tensor, step: int | Tensor, stream: int, count: int, out: Tensor | None = None
) -> Tensor:
    """Uniforms in (0, 1], float32 [n, count]; arguments as in ``normal``."""
    return _noise("uniform", seeds, step, stream, count, out)


def normal(
    seeds: Tensor, step: int | Tensor, stream: int, count: int, out: Tensor | None = None
) -> Tensor:
    """Standard normals, float32 [n, count], of elements 0 .. count - 1 of each sample.

    ``seeds``: int64 [n], the bits of the unsigned seeds. ``step``: one for all, or int32 or int64
    [n], one per sample. ``out``: written and returned where given. Raises FastdiffError where an
    argument is wrong.
    """
    return _noise("normal", seeds, step, stream, count, out)
