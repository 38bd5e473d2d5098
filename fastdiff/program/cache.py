"""Lowered models kept on disk: tracing takes seconds, reading what it gave takes milliseconds.

Only models of our own architectures are kept, since for those the key can say all that decides the
program: architecture, sizes, weights, and the code that traces and lowers. A network of somebody
else's is traced anew each time: its code may have changed in ways that nobody here can see.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastdiff.errors import FastdiffError
from fastdiff.program.binding import Split
from fastdiff.program.engine_file import read, write

if TYPE_CHECKING:
    from fastdiff.models.autoregressive import AutoregressiveModel
    from fastdiff.models.model import DiffusionModel

KEPT = 32  # files; the least recently used go first


def folder() -> Path | None:
    """Where the engine's caches are (csrc/plan/tuner.h): None where no variable says a place."""
    for variable, below in (
        ("FASTDIFF_CACHE_DIR", ""), ("XDG_CACHE_HOME", "fastdiff"), ("HOME", ".cache/fastdiff"),
    ):  # fmt: skip
        if os.environ.get(variable):
            return Path(os.environ[variable]) / below
    return None


def key_of(model: DiffusionModel | AutoregressiveModel) -> str | None:
    """What a model's program follows from, as a digest; None for a network that is not ours."""
    from fastdiff.models.registry import ARCHITECTURES, describe

    try:
        architecture, config = describe(model.module)
    except FastdiffError:
        return None
    if type(model.module) is not ARCHITECTURES[architecture].module:
        return None  # a class of somebody's own made from ours
    digest = hashlib.sha256()
    root = Path(__file__).parent
    sources = [
        *root.glob("*.py"),
        *root.glob("passes/*.py"),
        *(root.parent / "pixelcnn").glob("*.py"),
        *(root.parent / "models").glob("*.py"),
    ]
    for path in sorted(sources):
        digest.update(path.read_bytes())
    schedule = getattr(model, "schedule", None)  # autoregressive models have none
    facts = {
        "torch": importlib.metadata.version("torch"),
        "architecture": architecture,
        "config": config,
        "name": model.name,
        "shape": model.sample_shape,
        "context": model.context_width,
        "time": getattr(schedule, "time", None),
        "T": getattr(schedule, "T", None),
    }
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(model.module.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()


def kept(path: Path) -> Split | None:
    """The programs of a kept file; None where there is none, or not a whole one."""
    try:
        found = read(path)
        os.utime(path)
    except (FastdiffError, OSError):
        return None
    return found.split


def keep(path: Path, data: bytes) -> None:
    """Keeps an engine file; a folder that cannot be written to costs the cache alone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, data)
        files = sorted(path.parent.glob("*.fdiff"), key=lambda p: p.stat().st_mtime)
        for old in files[:-KEPT]:
            old.unlink(missing_ok=True)
    except (FastdiffError, OSError):
        return
