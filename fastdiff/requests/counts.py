"""How many images a request asks for, and how many at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdiff.errors import FastdiffError
from fastdiff.noise import SeedsLike, as_seeds

MAX_SAMPLES = 10_000_000


def count(
    n: int | None, seed: SeedsLike, context: Any, arrays: Mapping[str, npt.NDArray[Any]]
) -> int:
    """n where given, else as many as there are seeds, x_T, images, masks or contexts, else 1."""
    if n is None and not isinstance(seed, (int, np.integer)):
        n = len(as_seeds(seed))
    for what, array in arrays.items():
        stacked = array.ndim == 4 or (what == "mask" and array.ndim == 3 and len(array) != 1)
        n = len(array) if n is None and stacked else n
    if n is None and not isinstance(context, str) and isinstance(context, Sequence):
        n = len(context) if any(isinstance(v, (str, Sequence)) for v in context) else None
    if n is None:
        n = len(context) if isinstance(context, np.ndarray) and context.ndim == 2 else 1
    return checked_n(n)


def checked_n(n: int) -> int:
    """``n`` as an int from 0 to MAX_SAMPLES."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 0 <= n <= MAX_SAMPLES:
        raise FastdiffError(f"n: expected an integer from 0 to {MAX_SAMPLES}, got {n!r}")
    return int(n)


def check_work(batch_size: int, every: int = 1, on_step: object = None) -> None:
    """Raises unless a request can be worked off like this."""
    for what, value in (("batch_size", batch_size), ("every", every)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise FastdiffError(f"{what}: expected an integer of at least 1, got {value!r}")
    if on_step is not None and not callable(on_step):
        raise FastdiffError(f"on_step: expected a function, got {on_step!r}")
