"""What a watched scheduler says of its noise levels and of x0, row by row.

The weights of a row need neither; previews, clamps and starting from an image do.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from fastdiff.samplers.foreign.recover import Watched
from fastdiff.samplers.foreign.watching import Prepared
from fastdiff.samplers.table import Float64Array

# float32 products of a thousand betas are off by 1e-4.
NEAR: Final = 1e-3


def levels(prepared: Prepared, seen: Watched) -> tuple[Float64Array, Float64Array]:
    """(alpha, sigma) of each row, float64 [K] each; 0, 0 where the scheduler does not say.

    Where ``step`` tells the x0 of a model that predicts eps or v, its weights are the level: the
    one that the step itself has, also in the middle of a step (KDPM2), for which ``add_noise``
    knows no level. Otherwise what ``add_noise`` or ``scale_noise`` does with the row's timestep.
    """
    alpha, sigma = np.nan_to_num(seen.alpha), np.nan_to_num(seen.sigma)
    of_x, of_m, scale = seen.told_x, seen.told_m, seen.in_scale
    with np.errstate(all="ignore"):
        if prepared.config.get("prediction_type") == "epsilon":
            told = 1.0 / of_x, -of_m / of_x
        elif prepared.config.get("prediction_type") == "v_prediction":
            told = of_x / scale**2, -of_m / scale
        else:
            return alpha, sigma
        # What the model sees has variance 1, or the formula was another one (EDM's).
        fits = np.abs(scale**2 * (told[0] ** 2 + told[1] ** 2) - 1.0) < NEAR
    return np.where(fits, told[0], alpha), np.where(fits, told[1], sigma)


def x0_formula(
    prepared: Prepared, seen: Watched, alpha: Float64Array, sigma: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """(x0_from_x, x0_from_m) of each row, float64 [K] each; 0, 0 where no one says.

    In this order: what ``step`` tells, what ``precondition_outputs`` does (EDM), the level and the
    prediction type, a row that lands on the image.
    """
    of_x, of_m = np.zeros(len(seen.t)), np.zeros(len(seen.t))
    sources = (
        (seen.told_x, seen.told_m),
        _preconditioned(prepared, sigma),
        _by_prediction(prepared.config.get("prediction_type"), seen.in_scale, alpha, sigma),
        _by_landing(seen, alpha, sigma),
        _by_velocity(seen, alpha, sigma),
    )
    for from_x, from_m in sources:
        unknown = (of_x == 0) & (of_m == 0) & np.isfinite(from_x) & np.isfinite(from_m)
        of_x, of_m = np.where(unknown, from_x, of_x), np.where(unknown, from_m, of_m)
    return of_x, of_m


def init_scale(prepared: Prepared, alpha: Float64Array, sigma: Float64Array) -> float:
    """The scale of the noise that the first row starts from."""
    if prepared.begin and alpha[0] == 1.0:  # sigma-space, entered below its top
        return float(sigma[0])
    return float(getattr(prepared.scheduler, "init_noise_sigma", 1.0))


def leads_to_noise(prepared: Prepared, alpha: Float64Array, sigma: Float64Array) -> bool:
    """Whether the rows go from an image to noise."""
    if len(alpha) > 1 and alpha[0] + sigma[0] > 0 and alpha[-1] + sigma[-1] > 0:
        return bool(np.arctan2(sigma[-1], alpha[-1]) > np.arctan2(sigma[0], alpha[0]))
    return "Inverse" in prepared.name


_Pair = tuple[Float64Array, Float64Array]


def _nothing(like: Float64Array) -> _Pair:
    return np.full(len(like), np.nan), np.full(len(like), np.nan)


def _preconditioned(prepared: Prepared, sigma: Float64Array) -> _Pair:
    """c_skip and c_out, asked for with the unit vectors."""
    import torch

    outputs: Any = getattr(prepared.scheduler, "precondition_outputs", None)
    if outputs is None:
        return _nothing(sigma)
    units = torch.eye(2, dtype=torch.float64)
    rows = [outputs(units[0], units[1], torch.tensor(s)).numpy() for s in sigma]
    return tuple(np.array(rows, dtype=np.float64).T)


def _by_prediction(
    prediction: Any, scale: Float64Array, alpha: Float64Array, sigma: Float64Array
) -> _Pair:
    """From x = alpha x0 + sigma eps; v is said of what the model sees, scale * x."""
    known = alpha + sigma > 0
    with np.errstate(all="ignore"):
        if prediction == "epsilon":
            found = 1.0 / alpha, -sigma / alpha
        elif prediction == "sample":
            found = np.zeros(len(alpha)), np.ones(len(alpha))
        elif prediction == "v_prediction":
            found = alpha * scale**2, -sigma * scale
        elif prediction == "flow_prediction":
            found = np.ones(len(alpha)), -sigma
        else:
            return _nothing(alpha)
    return np.where(known, found[0], np.nan), np.where(known, found[1], np.nan)


def _by_landing(seen: Watched, alpha: Float64Array, sigma: Float64Array) -> _Pair:
    """Rows that predict the image and put fresh noise on it: all of the next row's noise is new."""
    found = _nothing(alpha)
    first_order = np.asarray((seen.x[:, 1:] == 0).all(axis=1) & (seen.m[:, 1:] == 0).all(axis=1))
    for k in np.flatnonzero(first_order[:-1] & (alpha[1:] > 0) & (seen.noise[:-1] > 0)):
        left = abs(seen.noise[k] ** 2 - sigma[k + 1] ** 2)
        if left < 1e-5 * max(1.0, sigma[k + 1] ** 2):
            found[0][k], found[1][k] = seen.x[k, 0] / alpha[k + 1], seen.m[k, 0] / alpha[k + 1]
    if np.isfinite(found[0][:-1]).all() and first_order[-1] and len(alpha) > 1:
        found[0][-1], found[1][-1] = seen.x[-1, 0], seen.m[-1, 0]  # so does the last: no noise
    return found


def _by_velocity(seen: Watched, alpha: Float64Array, sigma: Float64Array) -> _Pair:
    """Flow matching, x = (1 - sigma) x0 + sigma eps and m = +-(eps - x0): x0 = x -+ sigma m.

    The sign is the last row's, which goes to sigma = 0.
    """
    if np.abs(alpha + sigma - 1.0).max() > 1e-5 or sigma[-1] == 0:
        return _nothing(alpha)
    sign = seen.m[-1, 0] / sigma[-1]
    if abs(seen.x[-1, 0] - 1.0) > 1e-5 or abs(abs(sign) - 1.0) > 1e-5:
        return _nothing(alpha)
    return np.ones(len(alpha)), np.sign(sign) * sigma
