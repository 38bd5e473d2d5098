"""What people write as a context or as guidance, made into arrays and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdiff.errors import FastdiffError

Float32Array = npt.NDArray[np.float32]
ContextLike = str | Sequence[str] | Sequence[float] | npt.NDArray[Any] | None


def resolve(context: ContextLike, n: int, width: int, labels: Sequence[str]) -> Float32Array | None:
    """Context vectors float32 [n, width]; None for a model that takes none.

    A class name stands for its one-hot vector, ``""`` and None for the unconditional zeros.
    """
    if width == 0:
        if context is not None:
            raise FastdiffError("context: expected none, this model takes no context")
        return None
    if context is None:
        return np.zeros((n, width), dtype=np.float32)
    if isinstance(context, str):
        return np.repeat(_one_hot([context], labels, width), n, axis=0)
    if isinstance(context, Sequence) and any(isinstance(v, str) for v in context):
        names = [str(v) for v in context]
        if len(names) != n:
            raise FastdiffError(f"context: expected {n} class names, got {len(names)}")
        return _one_hot(names, labels, width)
    try:
        values = np.asarray(context, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise FastdiffError(f"context: expected class names or numbers ({error})") from error
    if values.shape == (width,):
        values = np.broadcast_to(values, (n, width))
    if values.shape != (n, width):
        raise FastdiffError(
            f"context: expected numbers [{width}] or [{n}, {width}], got {list(values.shape)}"
        )
    if not np.isfinite(values).all():
        raise FastdiffError("context: expected finite numbers, got nan or infinity")
    return np.ascontiguousarray(values)


def resolve_guidance(
    guidance: float | Sequence[float] | npt.NDArray[Any] | None,
    n: int,
    context: Float32Array | None,
    context_given: bool,
) -> Float32Array | None:
    """Guidance scales float32 [n], or None where a single model call a step is enough."""
    if guidance is None:
        return None
    try:
        scale = np.asarray(guidance, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise FastdiffError(f"guidance: expected a number or {n} numbers ({error})") from error
    if scale.shape not in ((), (n,)):
        raise FastdiffError(f"guidance: expected a number or [{n}], got {list(scale.shape)}")
    if not np.isfinite(scale).all():
        raise FastdiffError("guidance: expected finite numbers, got nan or infinity")
    if np.all(scale == 1):
        return None
    if context is None or not context_given:
        raise FastdiffError("guidance: expected a context to guide towards, got none")
    return np.array(np.broadcast_to(scale, (n,)), dtype=np.float32)


def resolve_rescale(
    rescale: float | Sequence[float] | npt.NDArray[Any], n: int
) -> Float32Array | None:
    """The phi of guidance rescale, float32 [n] in [0, 1]; None for 0 throughout."""
    try:
        phi = np.asarray(rescale, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise FastdiffError(
            f"guidance_rescale: expected a number or {n} numbers ({error})"
        ) from error
    if phi.shape not in ((), (n,)):
        raise FastdiffError(f"guidance_rescale: expected a number or [{n}], got {list(phi.shape)}")
    if not ((phi >= 0) & (phi <= 1)).all():
        raise FastdiffError(f"guidance_rescale: expected numbers from 0 to 1, got {rescale!r}")
    return np.array(np.broadcast_to(phi, (n,)), dtype=np.float32) if phi.any() else None


def resolve_until(until: float, rows: int) -> int:
    """How many of ``rows`` rows are guided, from the fraction ``until``."""
    if (
        isinstance(until, bool)
        or not isinstance(until, (int, float, np.number))
        or not 0.0 <= until <= 1.0
    ):
        raise FastdiffError(f"guidance_until: expected a number from 0 to 1, got {until!r}")
    return round(float(until) * rows)


def _one_hot(names: Sequence[str], labels: Sequence[str], width: int) -> Float32Array:
    out = np.zeros((len(names), width), dtype=np.float32)
    for k, name in enumerate(names):
        if name == "":
            continue
        if name not in labels:
            known = ", ".join(labels) or f"none (give {width} numbers)"
            raise FastdiffError(f"context: expected one of {known}, got {name!r}")
        out[k, list(labels).index(name)] = 1.0
    return out
