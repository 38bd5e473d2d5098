"""A checkpoint's tensors into a network, the first that is wrong named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from fastdiff.errors import FastdiffError


def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Loads tensors of any float dtype and leaves eval mode set; ``path``: where they came from.

    Raises FastdiffError where one is missing, surplus, of another shape, not finite, or not zero
    where a mask hides it.
    """
    module.eval()
    expected = {k: v for k, v in module.state_dict().items() if v.is_floating_point()}
    for key, value in expected.items():
        if key not in tensors:
            raise FastdiffError(f"model: {path} lacks the tensor {key}")
        if tuple(tensors[key].shape) != tuple(value.shape):
            raise FastdiffError(
                f"model: {path} has {key} as {list(tensors[key].shape)}, "
                f"expected {list(value.shape)}"
            )
        if not torch.isfinite(tensors[key]).all():
            raise FastdiffError(f"model: {path} has values in {key} that are not finite")
    surplus = [k for k in tensors if k not in module.state_dict()]
    if surplus:
        raise FastdiffError(f"model: {path} has a tensor that the model lacks: {surplus[0]}")
    floats = {k: v.float() for k, v in tensors.items() if k in expected}
    try:
        module.load_state_dict(floats, strict=False)
    except FastdiffError as error:
        raise FastdiffError(f"model: {path}: {error}") from error
