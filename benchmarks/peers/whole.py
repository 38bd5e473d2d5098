"""Whole runs by fastdiff itself: DDIM, unguided, a class for each image, on any backend."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from peers import ROWS, Float32Array, Task, load_model


def run_of(task: Task, **options: Any) -> Callable[[], Float32Array]:
    """Draws ``task.batch`` images, float32 [n, C, H, W]; ``options``: of ``fastdiff.compile``."""
    import fastdiff

    model = load_model()
    engine = fastdiff.compile(model, sampler="ddim", steps=ROWS, **options)
    classes = [model.labels[k % len(model.labels)] for k in range(task.batch)]
    draw = partial(engine.sample, task.batch, 0, context=classes)
    return lambda: draw().images
