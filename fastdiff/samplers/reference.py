"""A table's rows run by the contract's sentences, in NumPy: what every backend does, faster.

The contract is ``samplers/table.py``'s. Proofs of compiled tables and tests run by this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdiff.samplers.table import COLUMNS, M_DEPTH, X_DEPTH, SamplerTable

Array = npt.NDArray[Any]
Answer = Callable[[Array, float], Array]


def run_all(
    table: SamplerTable, x: Array, zs: Sequence[Array] | Array, answer: Answer
) -> list[Array]:
    """Every x that the rows make from ``x``, like ``x``; the last one is the image.

    ``answer(in_scale * x, t)`` is the model; ``zs[k]`` row k's noise, like ``x``.
    """
    xs: list[Array] = []
    ms: list[Array] = []
    made: list[Array] = []
    for k in range(len(table)):
        row = dict(zip(COLUMNS, table.rows[k].tolist(), strict=True))
        m = answer(row["in_scale"] * x, row["t"])
        x0 = row["x0_from_x"] * x + row["x0_from_m"] * m
        x0 = np.clip(x0, row["x0_lo"], row["x0_hi"])
        if row["clamp_m"]:
            m = (x0 - row["x0_from_x"] * x) / row["x0_from_m"]
        xs, ms = [x, *xs][:X_DEPTH], [m, *ms][:M_DEPTH]
        x = row["noise"] * zs[k]
        if row["x0"]:  # elsewhere it may be infinite
            x = x + row["x0"] * x0
        for prefix, values in (("x", xs), ("m", ms)):
            for back, value in enumerate(values):
                x = x + row[f"{prefix}[{back}]"] * value
        made.append(x)
    return made


def run(table: SamplerTable, x: Array, zs: Sequence[Array] | Array, answer: Answer) -> Array:
    """The image that the rows make from ``x``, like ``x``: the last of ``run_all``."""
    return run_all(table, x, zs, answer)[-1]
