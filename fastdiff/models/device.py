"""Torch devices: one by name, checked, since torch's own errors are long; a module's, its dtype."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn

from fastdiff.errors import FastdiffError


def torch_device(name: str) -> torch.device:
    """The device of that name ("cpu", "cuda", "cuda:1"), once something was put on it."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        first = str(error).strip().splitlines()[0]
        raise FastdiffError(f"device: {name!r} cannot be used here ({first})") from error
    return device


def device_of(module: nn.Module) -> torch.device:
    """The device that a module's tensors are on; the CPU where it has none."""
    for tensor in chain(module.parameters(), module.buffers()):
        return tensor.device
    return torch.device("cpu")


def dtype_of(module: nn.Module) -> torch.dtype:
    """The dtype that a module computes in, its first floating point tensor's; else float32."""
    for tensor in chain(module.parameters(), module.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32
