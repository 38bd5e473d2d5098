"""The backends by name, whether each can run here, and why not. Imports none of them."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, cast

from fastdiff._version import __version__
from fastdiff.backends.base import Backend
from fastdiff.errors import FastdiffError

AnyRunner = TypeVar("AnyRunner")


def _torch_missing() -> str | None:
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed (pip install 'fastdiff[torch]')"
    return None


def _native_missing() -> str | None:
    if importlib.util.find_spec("fastdiff._native") is None:
        return (
            "fastdiff._native is not built (pip install needs Python's headers and a C++ compiler, "
            "and FASTDIFF_NATIVE other than off)"
        )
    return _torch_missing()  # the model's graph is traced by torch; fastdiff.runtime needs none


def _inductor_missing() -> str | None:
    missing = _torch_missing()
    if missing is None and not any(map(shutil.which, ("g++", "clang++", "c++", "cl"))):
        return "torch.compile needs a C++ compiler, and none is on PATH"
    return missing


def _cuda_missing() -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed (pip install 'fastdiff[triton]')"
    missing = _native_missing() or _torch_without_cuda()
    if missing is not None:
        return missing
    from fastdiff import _native

    return _native.cuda_status()


def _torch_without_cuda() -> str | None:
    """Read from torch's own version file: importing torch takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    if re.search(r"^cuda\b.*=\s*None", text, re.MULTILINE):
        return "torch was built without CUDA (pip install torch from a CUDA index)"
    return None


# name -> why it is unavailable here, None when it is available. Fastest first: "auto" takes the
# first that is available.
BACKENDS: dict[str, Callable[[], str | None]] = {
    "cuda": _cuda_missing,
    "native": _native_missing,
    "inductor": _inductor_missing,
    "eager": _torch_missing,
}
# Those that "auto" leaves to people who ask for them: they compile for minutes before they are
# faster.
BY_NAME_ALONE = ("inductor",)

# Names that the design reserves (docs/architecture.md, "Backends"): asked for by name they are
# answered with this rather than as a misspelling.
PLANNED = ("onnxruntime", "openvino", "tensorrt")


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
    """The backend of that name, imported."""
    why = reason(name)
    if why is not None:
        raise FastdiffError(f"backend: {name!r} is not available here: {why}")
    return cast(Backend, importlib.import_module(f"fastdiff.backends.{name}").BACKEND)


@dataclass(frozen=True)
class Prepared(Generic[AnyRunner]):
    """A model's runner, the backend that made it, and why the faster ones did not."""

    backend: str
    runner: AnyRunner
    passed_over: Mapping[str, str]


def prepare(name: str, make: Callable[[Backend], AnyRunner]) -> Prepared[AnyRunner]:
    """What ``make`` makes of the backend of that name: a model's runner.

    ``"auto"`` asks the backends in turn, fastest first, and takes the first that is available and
    can run the model with these options. A model that a faster backend cannot run is warned of.
    Raises FastdiffError: the named backend's, or for ``"auto"`` the last one's.
    """
    if name != "auto":
        return Prepared(name, make(choose(name)), {})
    asked = [other for other in BACKENDS if other not in BY_NAME_ALONE]
    passed_over = {other: why for other in asked if (why := reason(other)) is not None}
    able = [other for other in asked if other not in passed_over]
    if not able:
        reasons = "; ".join(f"{other}: {why}" for other, why in passed_over.items())
        raise FastdiffError(f"backend: none is available here ({reasons})")
    for other in able:
        try:
            return Prepared(other, make(choose(other)), passed_over)
        except FastdiffError as error:
            if other == able[-1]:
                raise
            passed_over[other] = str(error)
            if str(error).startswith("model:"):  # not what the caller asked for by its options
                text = f"backend {other!r} is passed over: {error}"
                warnings.warn(text, RuntimeWarning, stacklevel=4)
    raise AssertionError
