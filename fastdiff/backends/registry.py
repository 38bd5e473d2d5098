"""The backends by name, whether each can run here, and why not. Imports none of them."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import cast

from fastdiff._version import __version__
from fastdiff.backends.base import Backend
from fastdiff.errors import FastdiffError


def _torch_missing() -> str | None:
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed (pip install 'fastdiff[torch]')"
    return None


# name -> why it is unavailable here, None when it is available. Fastest first: "auto" takes the
# first that is available.
BACKENDS: dict[str, Callable[[], str | None]] = {
    "eager": _torch_missing,
}

# Names that the design reserves (docs/architecture.md, "Backends"): asked for by name they are
# answered with this rather than as a misspelling.
PLANNED = ("inductor", "native", "cuda", "onnxruntime", "openvino", "tensorrt")


def reason(name: str) -> str | None:
    """Why the backend cannot run here, in one sentence; None when it can."""
    if name in BACKENDS:
        return BACKENDS[name]()
    if name in PLANNED:
        return f"not part of fastdiff {__version__} yet"
    raise FastdiffError(
        f"backend: expected auto or one of {', '.join([*BACKENDS, *PLANNED])}, got {name!r}"
    )


def choose(name: str) -> Backend:
    """The backend of that name, imported; ``"auto"`` is the first available one."""
    if name == "auto":
        name = next((n for n in BACKENDS if reason(n) is None), "")
        if not name:
            reasons = "; ".join(f"{n}: {reason(n)}" for n in BACKENDS)
            raise FastdiffError(f"backend: none is available here ({reasons})")
    why = reason(name)
    if why is not None:
        raise FastdiffError(f"backend: {name!r} is not available here: {why}")
    return cast(Backend, importlib.import_module(f"fastdiff.backends.{name}").BACKEND)
