"""fastdiff: samples from small image generators, the same sampler on every backend.

    import fastdiff
    engine = fastdiff.compile("sprites16")
    images = engine.sample(n=32, seed=0, context="monster").images  # [32, 3, 16, 16]

Importing the package does no work: every name below is loaded when it is first used, and
torch only by what needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastdiff._version import __version__

if TYPE_CHECKING:
    from fastdiff import noise as noise
    from fastdiff import samplers as samplers
    from fastdiff import schedules as schedules
    from fastdiff.checkpoint import load, packaged, save
    from fastdiff.engine import Engine, Samples, Step, compile
    from fastdiff.errors import FastdiffError
    from fastdiff.models.autoregressive import AutoregressiveModel
    from fastdiff.models.model import DiffusionModel
    from fastdiff.requests.editing import slerp
    from fastdiff.samplers import SamplerTable
    from fastdiff.schedules import EDMSchedule, Schedule

_HOME = {
    "AutoregressiveModel": "fastdiff.models.autoregressive",
    "DiffusionModel": "fastdiff.models.model",
    "EDMSchedule": "fastdiff.schedules",
    "Engine": "fastdiff.engine",
    "FastdiffError": "fastdiff.errors",
    "SamplerTable": "fastdiff.samplers",
    "Samples": "fastdiff.engine",
    "Schedule": "fastdiff.schedules",
    "Step": "fastdiff.engine",
    "compile": "fastdiff.engine",
    "load": "fastdiff.checkpoint",
    "packaged": "fastdiff.checkpoint",
    "save": "fastdiff.checkpoint",
    "slerp": "fastdiff.requests.editing",
}

__all__ = [
    "AutoregressiveModel",
    "DiffusionModel",
    "EDMSchedule",
    "Engine",
    "FastdiffError",
    "SamplerTable",
    "Samples",
    "Schedule",
    "Step",
    "__version__",
    "compile",
    "load",
    "packaged",
    "save",
    "slerp",
]


# Rooms that people reach into: fastdiff.samplers.from_diffusers(...)
_ROOMS = ("noise", "samplers", "schedules")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"fastdiff.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'fastdiff' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_ROOMS})
