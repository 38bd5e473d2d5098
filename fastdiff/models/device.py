"""A torch device by name, checked: torch's own errors are long and of many types."""

from __future__ import annotations

import torch

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
