"""Tests here need an NVIDIA GPU. Without one they are skipped with the reason, or, where
FASTDIFF_REQUIRE_GPU=1 says that there must be one (make gpu-check), fail."""

from __future__ import annotations

import importlib.util
import os

import pytest


def missing() -> str | None:
    """What is missing for these tests, in one sentence; None where nothing is."""
    for name in ("torch", "triton", "fastdiff._native"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed or not built"
    import torch

    from fastdiff import _native

    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    return _native.cuda_status()


def require_gpu() -> None:
    """Called at the top of a test module: skips it, or fails it, where it cannot run."""
    reason = missing()
    if reason is not None and os.environ.get("FASTDIFF_REQUIRE_GPU") == "1":
        pytest.fail(f"FASTDIFF_REQUIRE_GPU=1, but {reason}", pytrace=False)
    if reason is not None:
        pytest.skip(reason, allow_module_level=True)
