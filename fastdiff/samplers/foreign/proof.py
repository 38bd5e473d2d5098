"""The proof of a compiled table: it and the scheduler itself, side by side on random inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fastdiff.samplers.foreign.watching import Prepared, Walk
from fastdiff.samplers.reference import run_all
from fastdiff.samplers.table import Float64Array, SamplerTable

if TYPE_CHECKING:
    from torch import Tensor

# Sizes of x and of what the model answers: what is not affine shows in one of them.
_SIZES: Final = np.array([[0.03], [1.0], [30.0]])
_WIDTH: Final = 32
_SEED: Final = 20

Answer = Callable[[int, Float64Array, Float64Array], Float64Array]


@dataclass(frozen=True)
class Proof:
    """``difference``: the largest of any row, relative to the largest x of the row.

    ``saturated``: the share of x0 that the table's bounds clamped.
    """

    difference: float
    saturated: float


def prove(prepared: Prepared, table: SamplerTable, clamped: bool = False) -> Proof:
    """How far the table is from the scheduler, over whole runs that share their noise.

    Both start from the same x and answer themselves with a function that is not affine in x. The
    scheduler is as it is: its own rounding, the noise apart. ``clamped``: the answers let x0 roam
    about the bounds, beyond them most of the time.
    """
    count = len(prepared)
    rng = np.random.default_rng(_SEED)
    start = table.init_scale * _SIZES * rng.standard_normal((len(_SIZES), _WIDTH))
    noise = _SIZES * rng.standard_normal((count, *start.shape))
    phase = rng.uniform(0.0, 6.0, (count, *start.shape))
    answer = (_about_the_bounds if clamped else _bounded)(table, phase)
    theirs, mine = _theirs(prepared, start, noise, answer), _ours(table, start, noise, answer)
    size = np.maximum(np.abs(theirs).max(axis=-1), np.finfo(np.float64).tiny)
    gap = np.abs(theirs - mine).max(axis=-1) / size
    worst = float(gap.max()) if np.isfinite(gap).all() else np.inf
    saturated = float((np.abs(_target(table, phase)) > table["x0_hi"].max()).mean())
    return Proof(worst, saturated if clamped else 0.0)


def _bounded(table: SamplerTable, phase: Float64Array) -> Answer:
    def answer(k: int, x: Float64Array, seen: Float64Array) -> Float64Array:
        return np.asarray(_SIZES * np.tanh(0.7 * seen / _SIZES + np.sin(phase[k])))

    return answer


def _target(table: SamplerTable, phase: Float64Array) -> Float64Array:
    return np.asarray(3.0 * table["x0_hi"].max() * np.sin(phase))


def _about_the_bounds(table: SamplerTable, phase: Float64Array) -> Answer:
    from_x, from_m = table["x0_from_x"], table["x0_from_m"]
    targets, otherwise = _target(table, phase), _bounded(table, phase)

    def answer(k: int, x: Float64Array, seen: Float64Array) -> Float64Array:
        if from_m[k] == 0:  # x0 is x's alone, and no answer moves it
            return otherwise(k, x, seen)
        # Gently: a table clamped rightly must not be failed by chaos.
        wanted = targets[k] * (1.0 + 0.05 * np.sin(0.5 * seen))
        return np.asarray((wanted - from_x[k] * x) / from_m[k])

    return answer


def _theirs(
    prepared: Prepared, start: Float64Array, noise: Float64Array, answer: Answer
) -> Float64Array:
    """x after each row, [K, sizes, width], by the scheduler."""
    import torch

    walk = Walk(prepared, double=False)
    shape = (1, 1, *start.shape)

    def tensor(array: Float64Array) -> Tensor:
        return torch.from_numpy(array.reshape(shape).copy())

    x, after = tensor(start), np.zeros((len(prepared), *start.shape))
    for k in range(len(prepared)):
        seen = walk.scaled(k, x).double().numpy().reshape(start.shape)
        m = answer(k, x.double().numpy().reshape(start.shape), seen)
        x, _ = walk.step(k, tensor(m), x, tensor(noise[k]))
        after[k] = x.double().numpy().reshape(start.shape)
    return after


def _ours(
    table: SamplerTable, start: Float64Array, noise: Float64Array, answer: Answer
) -> Float64Array:
    """The same by the table, run by its reference."""
    rows, scale = iter(range(len(table))), table["in_scale"]

    def ask(seen: Float64Array, t: float) -> Float64Array:
        k = next(rows)
        return answer(k, seen / scale[k], seen)

    return np.stack(run_all(table, start, noise, ask))
