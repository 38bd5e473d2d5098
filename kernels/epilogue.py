"""A bias and a step chain in one pass: what follows a convolution or a product of matrices.

    y = chain(x + bias[channel])

x [B, C, ...] in its own memory format, a matrix of rows: pixels of one channel of one sample where
x is contiguous, channels of one pixel where it is channels-last. A program makes a tile of BLOCK
elements, several rows where these are short; bias and operands that vary along one side of the tile
are loaded once a row or once a column. Moves the bytes of x twice (read, written) and those of the
operands once, in 16-byte accesses wherever a row is a multiple of 16 bytes; computes in float32 and
rounds once. As separate ops each step would move x twice more. What it makes may go to a slot of a
concatenation, too, or to that alone (``kernels/epilogue_into.py``). Not yet measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastdiff.errors import FastdiffError

from . import blocks as b
from .activations import rounded
from .launch import check_device, check_same_device, check_tensor, device_guard, runs_reference
from .slots import check_slot, fill, slot_arguments
from .steps import DTYPES, Step, apply_reference, apply_steps, chain_arguments, check_chain

BLOCK = 1024  # elements of a program: 8 a thread, 16 bytes of bfloat16
MAX_COLUMNS = 1024
NUM_WARPS = 4


@triton.jit  # type: ignore[untyped-decorator]
def epilogue_kernel(  # type: ignore[no-untyped-def]
    x,
    out,
    slot,
    slot_sample, slot_group, slot_column,
    bias,
    rows,
    groups,
    width,
    o0, s0, g0, r0, c0,
    o1, s1, g1, r1, c1,
    o2, s2, g2, r2, c2,
    o3, s3, g3, r3, c3,
    CHAIN: tl.constexpr,
    FORMS: tl.constexpr,
    BIAS: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    SLOT_ALIGNMENT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """A tile of [rows, width * ALIGNMENT]; row = sample * groups + group. BIAS: 1, one a row; 2,
    one a column. Either of ``out``, which lies as x does, and ``slot`` may be none.
    """
    columns = width * ALIGNMENT  # so the compiler sees what divides a row
    across = tl.cdiv(columns, COLUMNS)
    tile = tl.program_id(0)
    row = ((tile // across) * ROWS + tl.arange(0, ROWS))[:, None]
    column = ((tile % across) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    row_fits, column_fits = row < rows, column < columns
    sample, group = (row // groups).to(tl.int64), (row % groups).to(tl.int64)
    where = row.to(tl.int64) * columns + column
    y = tl.load(x + where, mask=row_fits & column_fits).to(tl.float32)
    if BIAS == 1:
        y += tl.load(bias + group, mask=row_fits).to(tl.float32)
    elif BIAS == 2:
        y += tl.load(bias + column, mask=column_fits).to(tl.float32)
    y = apply_steps(
        y, CHAIN, FORMS,
        o0, s0, g0, r0, c0,
        o1, s1, g1, r1, c1,
        o2, s2, g2, r2, c2,
        o3, s3, g3, r3, c3,
        sample, group, 0, column, row_fits, True, column_fits,
    )  # fmt: skip
    if out is not None:
        tl.store(out + where, rounded(y, out.dtype.element_ty), mask=row_fits & column_fits)
    if slot is not None:
        there = sample * (slot_sample * SLOT_ALIGNMENT) + group * (slot_group * SLOT_ALIGNMENT)
        there = there + column * slot_column
        tl.store(slot + there, rounded(y, slot.dtype.element_ty), mask=row_fits & column_fits)


def launch(
    x: Tensor,
    out: Tensor | None,
    slot: Tensor | None,
    bias: Tensor | None,
    codes: Sequence[int],
    operands: Sequence[Tensor],
    blocks: b.Blocks,
) -> None:
    """Fills ``out``, which lies as the gapless x does and may be x, and ``slot``."""
    samples, channels, pixels = b.sizes_by_block(x.shape, blocks)
    if not x.numel():
        return
    by_pixels = b.innermost(x, blocks) == 2
    groups, width = (channels, pixels) if by_pixels else (pixels, channels)

    def place(sample: int, channel: int, pixel: int) -> tuple[int, int, int, int]:
        return (sample, channel, 0, pixel) if by_pixels else (sample, pixel, 0, channel)

    chain = chain_arguments(codes, operands, x, blocks, place)
    n_columns = min(triton.next_power_of_2(width), MAX_COLUMNS)
    n_rows = max(BLOCK // n_columns, 1)
    alignment = b.alignment(width)
    grid = (triton.cdiv(samples * groups, n_rows) * triton.cdiv(width, n_columns),)
    with device_guard(x.device):
        epilogue_kernel[grid](
            x,
            out,
            bias=bias if bias is None else bias.contiguous(),
            rows=samples * groups,
            groups=groups,
            width=width // alignment,
            **slot_arguments(slot, blocks, place, ("sample", "group", "column")),
            **chain.arguments,
            **chain.constants,
            BIAS=0 if bias is None else 1 if by_pixels else 2,
            ALIGNMENT=alignment,
            ROWS=n_rows,
            COLUMNS=n_columns,
            num_warps=NUM_WARPS,
            enable_fp_fusion=True,
        )


def epilogue_reference(
    x: Tensor,
    bias: Tensor | None,
    codes: Sequence[int],
    operands: Sequence[Tensor],
    channel_dim: int = 1,
) -> Tensor:
    """The op in plain torch, float32 throughout."""
    y = x.float()
    if bias is not None:
        y = y + bias.float().reshape([-1] + [1] * (x.dim() - 1 - channel_dim % x.dim()))
    return apply_reference(y, codes, operands).to(x.dtype)


def _fake(
    x: Tensor, bias: Tensor | None, codes: list[int], operands: list[Tensor], channel_dim: int
) -> Tensor:
    return b.empty_output(x, b.channel_blocks(x.dim(), channel_dim))


def _make(
    x: Tensor, bias: Tensor | None, codes: list[int], operands: list[Tensor], channel_dim: int
) -> Tensor:
    blocks = b.channel_blocks(x.dim(), channel_dim)
    out = b.empty_output(x, blocks)
    if runs_reference(x.device):
        return out.copy_(epilogue_reference(x, bias, codes, operands, channel_dim))
    check_device("x", x.device)
    launch(b.gapless(x, blocks), out, None, bias, codes, operands, blocks)
    return out


def _mutate(
    x: Tensor,
    bias: Tensor | None,
    codes: list[int],
    operands: list[Tensor],
    channel_dim: int,
    slot: Tensor | None = None,
) -> None:
    if runs_reference(x.device):
        fill(epilogue_reference(x, bias, codes, operands, channel_dim), x, slot)
        return
    check_device("x", x.device)
    launch(x, x, slot, bias, codes, operands, b.channel_blocks(x.dim(), channel_dim))


_REST = "Tensor? bias, int[] codes, Tensor[] operands, int channel_dim"
OP = torch.library.custom_op(
    "fastdiff::epilogue", _make, mutates_args=(), schema=f"(Tensor x, {_REST}) -> Tensor"
)
OP.register_fake(_fake)
OP_IN_PLACE = torch.library.custom_op(
    "fastdiff::epilogue_",
    _mutate,
    mutates_args=("x", "slot"),
    schema=f"(Tensor(a!) x, {_REST}, Tensor(b!)? slot=None) -> ()",
)


def check(
    x: Tensor,
    bias: Tensor | None,
    steps: Sequence[Step],
    operands: Sequence[Tensor],
    channel_dim: int,
) -> list[int]:
    """The codes of the steps; raises FastdiffError where an argument of an epilogue is wrong."""
    dims = x.dim() if isinstance(x, Tensor) and x.dim() > 1 else 4
    check_tensor("x", x, DTYPES, [-1] * dims)
    b.check_sample(x)
    if channel_dim % dims == 0 or not -dims < channel_dim < dims:
        raise FastdiffError(
            f"channel_dim: expected a dimension of x {list(x.shape)} after the first, "
            f"got {channel_dim}"
        )
    if bias is not None:
        check_tensor("bias", bias, DTYPES, [x.shape[channel_dim]])
    check_same_device(x, "x", bias=bias)
    return check_chain(x, steps, operands, b.channel_blocks(dims, channel_dim))


def epilogue(
    x: Tensor,
    bias: Tensor | None,
    steps: Sequence[Step] = (),
    operands: Sequence[Tensor] = (),
    channel_dim: int = 1,
) -> Tensor:
    """chain(x + bias), a new tensor in x's dtype and memory format.

    ``x``: [B, C, ...] float32, bfloat16 or float16, contiguous or channels-last (others are copied
    first); [B, N, D] and [B, D] with ``channel_dim`` -1. ``bias``: [C] or None. ``steps`` and
    ``operands``: see ``kernels/steps.py``; ``steps.fits`` says what is accepted. Raises
    FastdiffError where an argument is wrong.
    """
    codes = check(x, bias, steps, operands, channel_dim)
    return cast(Tensor, OP(x, bias, codes, list(operands), channel_dim))


def epilogue_(
    x: Tensor,
    bias: Tensor | None,
    steps: Sequence[Step] = (),
    operands: Sequence[Tensor] = (),
    channel_dim: int = 1,
    slot: Tensor | None = None,
) -> Tensor:
    """x, overwritten with chain(x + bias); arguments as in ``epilogue``.

    x must have no gaps, and operands must not share its memory. ``slot``: a tensor of x's shape
    that gets the same numbers (``kernels/slots.py`` says which); it shares memory with nothing.
    """
    codes = check(x, bias, steps, operands, channel_dim)
    blocks = b.channel_blocks(x.dim(), channel_dim)
    if b.innermost(x, blocks) is None:
        raise FastdiffError(
            f"x: expected a contiguous or channels-last tensor to write over, got strides "
            f"{x.stride()}"
        )
    if slot is not None:
        check_slot(slot, x, DTYPES, blocks)
    OP_IN_PLACE(x, bias, codes, list(operands), channel_dim, slot)
    return x
