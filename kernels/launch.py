"""What every kernel here needs before it is launched: where it runs, and checks of arguments."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
import triton
from torch import Tensor

from fastdiff.errors import FastdiffError

MAX_GRID_Y = 65535  # CUDA's limit


@triton.jit  # type: ignore[untyped-decorator]
def _probe() -> None:
    pass


# Triton decides when it is imported, by TRITON_INTERPRET; then CPU tensors run the kernels.
INTERPRETED = not isinstance(_probe, triton.JITFunction)


def check_device(name: str, device: torch.device, interpreted: bool = INTERPRETED) -> None:
    """Refuses a device on which no kernel can run; ``name`` is the argument that lies there."""
    if device.type != "cuda" and not (interpreted and device.type == "cpu"):
        raise FastdiffError(
            f"{name}: expected a tensor on a CUDA device (or TRITON_INTERPRET=1 in the environment "
            f"before triton is imported), got one on {device}"
        )


def runs_reference(device: torch.device) -> bool:
    """Whether tensors on ``device`` go through an op's plain torch reference: on a CPU they do,
    but for the interpreter, so that whoever builds on the ops is tested without a GPU.
    """
    return device.type == "cpu" and not INTERPRETED


def device_guard(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """A context in which kernels are launched on ``device``: Triton asks torch's current one."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def row_grid(rows: int, tiles: int) -> tuple[int, int, int]:
    """A grid of ``tiles`` programs a row: its first axis is the row, the others make the tile.

    In the kernel: tile = program_id(1) + program_id(2) * num_programs(1), which may reach past
    the last one.
    """
    return rows, min(tiles, MAX_GRID_Y), triton.cdiv(tiles, MAX_GRID_Y)


def check_tensor(
    name: str,
    value: object,
    dtypes: Sequence[torch.dtype],
    shape: Sequence[int],
    contiguous: bool = False,
) -> None:
    """Refuses all but a tensor of one of the dtypes and of the shape, -1 for any size."""
    if not _fits(value, dtypes, shape):
        got = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else repr(value)
        names = " or ".join(str(dtype) for dtype in dtypes)
        sizes = ", ".join("n" if isinstance(s, int) and s == -1 else str(s) for s in shape)
        message = f"{name}: expected a tensor of {names} [{sizes}], got {got}"
        raise FastdiffError(message.replace("torch.", ""))
    if contiguous and isinstance(value, Tensor) and not value.is_contiguous():
        raise FastdiffError(f"{name}: expected a contiguous tensor, got strides {value.stride()}")


def _fits(value: object, dtypes: Sequence[torch.dtype], shape: Sequence[int]) -> bool:
    if not isinstance(value, Tensor) or value.dtype not in dtypes or value.dim() != len(shape):
        return False
    # Sizes may be symbols while torch traces; a comparison then becomes a guard.
    return all(
        (isinstance(want, int) and want == -1) or want == size
        for want, size in zip(shape, value.shape, strict=True)
    )


def check_same_device(tensor: Tensor, like: str, **others: Tensor | None) -> None:
    """Refuses ``others``, by name and None where not given, that lie on another device.

    ``like``: the name of ``tensor``, on whose device they all belong.
    """
    for name, other in others.items():
        if other is not None and other.device != tensor.device:
            raise FastdiffError(
                f"{name}: expected a tensor on {tensor.device}, as {like}, got one on "
                f"{other.device}"
            )
