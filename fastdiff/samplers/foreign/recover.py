"""From what a scheduler does to unit vectors to the rows of a table.

The first x is unit vector 0, the model output of row k number 1 + k, its noise 1 + K + k. As long
as a scheduler is affine, every x that it returns *is* its own list of weights, and a row is found
by saying x_{k+1} in x_k, x_{k-1}, ..., m_k, m_{k-1}, ... and z_k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastdiff.samplers.foreign.watching import Prepared, Walk
from fastdiff.samplers.table import M_DEPTH, X_DEPTH, Float64Array

if TYPE_CHECKING:
    from torch import Tensor

# The unit vectors are this small (a power of two: nothing is rounded by it), so that no clamp acts.
SMALL: Final = 2.0**-30
# What is left unexplained of x_{k+1}, relative: float64's own noise, and what schedulers that
# round to float32 inside leave.
EXACT: Final = 1e-13
ROUNDED: Final = 1e-6
# Neighbouring x are almost alike when steps are many, and a little too little history then explains
# a row by large parts that all but cancel, which float32 could not. A part may be this much larger
# than the whole, or than it has to be.
TAME: Final = 8.0
# Depths (of x, of m), the least history first.
_DEPTHS: Final = sorted(
    ((x, m) for x in range(1, X_DEPTH + 1) for m in range(1, M_DEPTH + 1)),
    key=lambda depth: (sum(depth), max(depth)),
)


@dataclass(frozen=True, eq=False)
class Watched:
    """What was seen of K rows, float64.

    ``x``, ``m``: weights [K, 4]. ``noise``, ``in_scale``, ``t``: [K]. ``told_x``, ``told_m``: the
    x0 that ``step`` returns, in x_k and m_k, [K]; nan where it returns none. ``alpha``, ``sigma``:
    the level that ``add_noise`` has for the row, [K]; nan where it has none. ``residual``: the
    largest part of any x that the weights do not explain.
    """

    t: Float64Array
    in_scale: Float64Array
    x: Float64Array
    m: Float64Array
    noise: Float64Array
    told_x: Float64Array
    told_m: Float64Array
    alpha: Float64Array
    sigma: Float64Array
    residual: float


def watch(prepared: Prepared) -> Watched:
    """The rows of a scheduler, if it is affine: that it is must be proven afterwards."""
    import torch

    count = len(prepared)
    walk = Walk(prepared, double=True)
    seen = {
        name: np.full(count, np.nan)
        for name in ("in_scale", "noise", "told_x", "told_m", "alpha", "sigma")
    }
    weights = {"x": np.zeros((count, X_DEPTH)), "m": np.zeros((count, M_DEPTH))}

    def unit(index: int) -> Tensor:
        vector = torch.zeros(1, 1, 1, 1 + 2 * count, dtype=torch.float64)
        vector[..., index] = SMALL
        return vector

    x, residual = unit(0), 0.0
    history: list[Float64Array] = []
    for k in range(count):
        m, z = unit(1 + k), unit(1 + count + k)
        seen["alpha"][k], seen["sigma"][k] = _level(walk.noised(k, unit(0), unit(1)))
        now = _array(prepared, k, x)
        seen["in_scale"][k] = _scale(prepared, k, now, _array(prepared, k, walk.scaled(k, x)))
        x, told = walk.step(k, m, x, z)
        history = [now, *history][:X_DEPTH]
        after = _array(prepared, k, x)
        seen["noise"][k] = after[1 + count + k]
        if told is not None:
            seen["told_x"][k], seen["told_m"][k] = _told(told, now, k)
        weights["x"][k], weights["m"][k], left = _row(prepared, k, after, history)
        residual = max(residual, left)
    t = np.array([float(t) for t in prepared.timesteps])
    return Watched(t=t, **seen, **weights, residual=residual)


def _array(prepared: Prepared, k: int, x: Any) -> Float64Array:
    """The weights that an x of the scheduler is, [1 + 2 K]."""
    import torch

    if not isinstance(x, torch.Tensor) or x.numel() != 1 + 2 * len(prepared):
        raise prepared.refused(f"row {k} gives no x of the shape that it got")
    found = x.detach().to(torch.float64).reshape(-1).numpy() / SMALL
    if not np.isfinite(found).all():
        raise prepared.refused(f"its step gives inf or nan in row {k}, whatever the input")
    return np.asarray(found)


def _level(noised: Tensor | None) -> tuple[float, float]:
    if noised is None:
        return np.nan, np.nan
    flat = noised.reshape(-1) / SMALL
    return float(flat[0]), float(flat[1])


def _scale(prepared: Prepared, k: int, x: Float64Array, scaled: Float64Array) -> float:
    scale = float(x @ scaled / (x @ x))
    if np.abs(scaled - scale * x).max() > ROUNDED * np.abs(scaled).max():
        raise prepared.refused(f"scale_model_input of row {k} is not a multiple of x")
    return scale


def _told(told: Tensor, x: Float64Array, k: int) -> tuple[float, float]:
    """The x0 that step tells as weights of x_k and m_k; nan where it is made of more."""
    flat = told.reshape(-1).numpy() / SMALL
    of_m = float(flat[1 + k])
    rest = np.delete(flat, 1 + k)
    known = np.delete(x, 1 + k)
    of_x = float(known @ rest / (known @ known))
    if np.abs(rest - of_x * known).max() > 1e-6 * max(np.abs(flat).max(), SMALL):
        return np.nan, np.nan
    return of_x, of_m


def _row(
    prepared: Prepared, k: int, after: Float64Array, history: list[Float64Array]
) -> tuple[Float64Array, Float64Array, float]:
    """Row k's weights of x [4] and of m [4], with the least history, and what they leave over."""
    count, size = len(prepared), float(np.linalg.norm(after)) or 1.0
    used = np.logical_or.reduce([x != 0 for x in (after, *history)])
    lengths = np.array([np.linalg.norm(x) for x in history])
    found_all: list[tuple[float, Float64Array, Float64Array, float]] = []
    for x_depth, m_depth in _DEPTHS:
        if max(x_depth, m_depth) > k + 1:
            continue
        free = [1 + k - back for back in range(m_depth)]
        masked = used.copy()
        # Nothing older knows m_k and z_k, and older outputs are unit vectors: their weights are
        # what is left over at their places once those of x are known.
        masked[[*free, 1 + count + k]] = False
        columns = np.stack([x[masked] for x in history[:x_depth]], axis=1)
        norms = np.linalg.norm(columns, axis=0)
        norms[norms == 0] = 1.0
        found = np.linalg.lstsq(columns / norms, after[masked], rcond=1e-11)[0] / norms
        left = float(np.linalg.norm(after[masked] - columns @ found)) / size
        rest = after - sum(w * x for w, x in zip(found, history, strict=False))
        x_weights, m_weights = np.zeros(X_DEPTH), np.zeros(M_DEPTH)
        x_weights[:x_depth], m_weights[:m_depth] = found, rest[free]
        parts = (np.abs(found) * lengths[:x_depth]).max(), np.abs(m_weights).max()
        found_all.append((max(parts) / size, x_weights, m_weights, left))
        if left <= EXACT and max(parts) <= TAME * size:
            break
    least = min(left for *_, left in found_all)
    fitting = [row for row in found_all if row[3] <= max(EXACT, 4.0 * least)]
    if least <= ROUNDED:
        enough = TAME * max(1.0, min(part for part, *_ in fitting))
        return next(row[1:] for row in fitting if row[0] <= enough)
    raise prepared.refused(
        f"row {k} needs more than the {M_DEPTH} last outputs and the {X_DEPTH} last x that a table "
        f"keeps (they leave {least:.1g} of it unexplained)"
    )
