"""Schedulers that clamp x0 (``clip_sample``, ``clip_denoised``): where in a row the clamp stands.

Watched with small inputs no clamp acts, so the affine row is known: A x + B m + C z. Deep beyond
the bounds the clamped x0 is a constant, and the same row is

    x_{k+1} = x[0] x_k + m[0] m_k + C z_k +- w bound

whose three numbers are found by least squares: the table's weights, and w, that of the clamped x0.
What is clamped is then (A - x[0]) / w of x and (B - m[0]) / w of m, to the last digit of the
scheduler's own. A scheduler with history (Heun) clamps for its later rows as well: ``clamp_m``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastdiff.samplers.foreign.recover import Watched
from fastdiff.samplers.foreign.watching import Prepared, Walk
from fastdiff.samplers.table import Float64Array

Columns = dict[str, Float64Array | float]


def with_clamps(prepared: Prepared, seen: Watched, columns: Columns) -> Iterator[Columns]:
    """Ways to clamp the columns of an affine table, each to be proven before it is believed."""
    bound = float(prepared.config.get("clip_sample_range", 1.0))
    alone = not (seen.x[:, 1:].any() or seen.m[:, 1:].any())
    formula = np.asarray(columns["x0_from_x"]), np.asarray(columns["x0_from_m"])
    # The x0 that others know, or all that the row makes of x and m (consistency models).
    for of_x, of_m in (formula, (seen.x[:, 0], seen.m[:, 0])):
        if not (of_x.any() or of_m.any()):
            continue
        bounded: Columns = {**columns, "x0_lo": -bound, "x0_hi": bound}
        if alone:
            yield bounded | _probed(prepared, seen, (of_x, of_m), bound)
        if of_m.all():
            yield bounded | {"x0_from_x": of_x, "x0_from_m": of_m, "clamp_m": 1.0}


def _probed(
    prepared: Prepared, seen: Watched, formula: tuple[Float64Array, Float64Array], bound: float
) -> Columns:
    """Each row from x0 deep beyond both bounds, by about this formula, in rows without history."""
    import torch

    walk, rng = Walk(prepared, double=True), np.random.default_rng(0)
    of_x, of_m = (part.copy() for part in formula)
    weight = np.zeros((3, len(prepared)))  # x[0], m[0], x0
    for k in range(len(prepared)):
        x, z = rng.standard_normal((2, 64))
        side = np.sign(rng.standard_normal(64))
        x0 = side * bound * rng.uniform(2.0, 4.0, 64)
        if of_m[k]:
            m = (x0 - of_x[k] * x) / of_m[k]
        else:  # x0 is x's alone
            x, m = x0 / of_x[k], rng.standard_normal(64)
        given = [torch.from_numpy(v.reshape(1, 1, 1, -1).copy()) for v in (m, x, z)]
        walk.scaled(k, given[1])
        after = walk.step(k, *given)[0].double().numpy().reshape(-1) - seen.noise[k] * z
        found = np.linalg.lstsq(np.stack([x, m, side * bound], axis=1), after, rcond=None)[0]
        whole = np.array([seen.x[k, 0], seen.m[k, 0], 1.0])
        weight[:, k] = _or_zero(found, whole)
        if weight[2, k]:
            of_x[k], of_m[k], _ = _or_zero(whole - weight[:, k], whole) / weight[2, k]
    names = ("x[0]", "m[0]", "x0", "x0_from_x", "x0_from_m")
    return dict(zip(names, (*weight, of_x, of_m), strict=True))


def _or_zero(part: Float64Array, whole: Float64Array) -> Float64Array:
    """``part``, and 0 for what is nothing but rounding beside ``whole``."""
    return np.where(np.abs(part) < 1e-10 * np.abs(whole), 0.0, part)
