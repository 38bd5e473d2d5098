"""What people give to edit, images and masks, made into arrays and checked; and their mixtures.

An image is edited by giving it noise and drawing it again from there: x = alpha image + sigma eps
at the level of the first row that is walked (SDEdit, Meng et al. 2022).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastdiff.data.pictures import from_pixels
from fastdiff.errors import FastdiffError

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Shape = tuple[int, int, int]  # C, H, W

DEFAULT_STRENGTH = 0.6  # without a mask: less shows the image, more forgets it
MIXES = ("spherical", "linear")
# Beyond this the vectors are opposite, or the same but for rounding: no arc between them is meant.
NO_ARC = 1.0 - 1e-12


def resolve_strength(
    strength: float | None, has_x_T: bool, has_image: bool, has_mask: bool
) -> float:
    """The share of the rows to walk, and whether there is something to start it from."""
    if has_mask and not has_image:
        raise FastdiffError("mask: expected an image to keep a part of, got none")
    if has_x_T and has_image:
        raise FastdiffError("x_T: expected none beside an image, which is a start of its own")
    if strength is None:
        return DEFAULT_STRENGTH if has_image and not has_mask else 1.0
    if (
        isinstance(strength, bool)
        or not isinstance(strength, (int, float, np.number))
        or not 0.0 < strength <= 1.0
    ):
        raise FastdiffError(f"strength: expected a number in (0, 1], got {strength!r}")
    if strength != 1 and not has_image and not has_x_T:
        raise FastdiffError("strength: expected an image or x_T to start from, got neither")
    return float(strength)


def as_array(what: str, value: Any) -> npt.NDArray[Any]:
    """``value`` as a NumPy array of numbers."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise FastdiffError(f"{what}: expected an array of numbers ({error})") from error
    if array.dtype.kind not in "biuf":
        raise FastdiffError(f"{what}: expected an array of numbers, got {array.dtype}")
    return array


def as_start(x_T: npt.NDArray[Any], n: int, shape: Shape) -> Float32Array:
    """x_T as float32 [n, C, H, W], checked."""
    start = x_T.astype(np.float32)
    if start.shape != (n, *shape) or not np.isfinite(start).all():
        raise FastdiffError(f"x_T: expected finite values {[n, *shape]}, got {list(start.shape)}")
    return start


def as_images(what: str, value: npt.NDArray[Any], n: int, shape: Shape) -> Float32Array:
    """Images as float32 [n, C, H, W] in [-1, 1], from one for all or n.

    ``value``: float [C, H, W] or [n, C, H, W] in [-1, 1], or uint8 pixels [H, W, C] or
    [n, H, W, C], as image files are read. One for all is not copied n times.
    """
    channels, height, width = shape
    if value.dtype == np.uint8:
        expected, each = "uint8", (height, width, channels)
    elif value.dtype.kind == "f":
        expected, each = "float", shape
    else:
        raise FastdiffError(f"{what}: expected floats in [-1, 1] or uint8, got {value.dtype}")
    if value.shape not in (each, (n, *each)):
        raise FastdiffError(
            f"{what}: expected {expected} {list(each)} or {[n, *each]}, got {list(value.shape)}"
        )
    stack = value if value.ndim == 4 else value[None]
    if expected == "uint8":
        stack = from_pixels(stack)
    elif stack.size and not (np.abs(stack) <= 1.0).all():  # nan is not <= 1 either
        raise FastdiffError(
            f"{what}: expected finite values in [-1, 1], got {stack.min():g} to {stack.max():g}"
        )
    return np.broadcast_to(stack.astype(np.float32, copy=False), (n, *shape))


def as_pair(a: npt.NDArray[Any], b: npt.NDArray[Any], shape: Shape) -> Float32Array:
    """Two images as float32 [2, C, H, W], each given as in ``as_images``."""
    given = (("a", a), ("b", b))
    return np.concatenate([as_images(k, as_array(k, v), 1, shape) for k, v in given])


def as_mask(value: npt.NDArray[Any], n: int, shape: Shape) -> Float32Array:
    """A mask as float32 [n, 1, H, W] in [0, 1], 1 where the image is drawn anew.

    ``value``: [H, W], [1, H, W], [n, H, W], [1, 1, H, W] or [n, 1, H, W]; bool, or numbers in
    [0, 1].
    """
    size = shape[1:]
    allowed = (size, (1, *size), (n, *size), (1, 1, *size), (n, 1, *size))
    if value.shape not in allowed:
        raise FastdiffError(
            f"mask: expected {list(size)}, {[n, *size]} or {[n, 1, *size]}, got {list(value.shape)}"
        )
    if value.size and not ((value >= 0) & (value <= 1)).all():
        raise FastdiffError(
            "mask: expected bool or numbers from 0 (keep) to 1 (draw anew), "
            f"got {value.min():g} to {value.max():g}"
        )
    stack = value.astype(np.float32).reshape(-1, 1, *size)
    return np.broadcast_to(stack, (n, 1, *size))


def slerp(a: npt.NDArray[Any], b: npt.NDArray[Any], weights: npt.ArrayLike) -> Float64Array:
    """Spherical interpolation from ``a`` (weight 0) to ``b`` (weight 1), float64 [n, ...].

        sin((1 - w) omega) / sin(omega) a + sin(w omega) / sin(omega) b,  cos(omega) = a b / |a||b|

    ``a``, ``b``: one shape, each taken as a single vector; ``weights`` [n]. Between normal noises,
    nearly at right angles, this keeps the deviation where a straight line would lose up to 30 % of
    it (Shoemake 1985). Raises FastdiffError where a and b are opposite: any arc would do.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    w = np.asarray(weights, dtype=np.float64)
    if a.shape != b.shape or w.ndim != 1:
        raise FastdiffError(
            "slerp: expected two arrays of one shape and weights [n], "
            f"got {list(a.shape)}, {list(b.shape)} and weights {list(w.shape)}"
        )
    w = w.reshape(-1, *(1,) * a.ndim)
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    cosine = float((a * b).sum() / lengths) if lengths else 1.0
    if cosine < -NO_ARC:
        raise FastdiffError("slerp: expected vectors that are not opposite to each other")
    if cosine > NO_ARC:  # parallel: the arc is the straight line
        return np.asarray((1.0 - w) * a + w * b)
    omega = np.arccos(cosine)
    # Quotients first: they are 1 and 0 at the ends, which so are a and b to the last bit.
    first, second = (np.sin(share * omega) / np.sin(omega) for share in (1.0 - w, w))
    return np.asarray(first * a + second * b)


def mixed(
    images: Float32Array,
    noises: Float32Array,
    alpha: float,
    sigma: float,
    weights: Float64Array,
    mix: str,
) -> Float32Array:
    """Two images at one noise level, mixed by each weight: float32 [n, C, H, W].

    ``images``, ``noises``: [2, C, H, W]. ``mix``: ``"linear"`` mixes the two noisy images, as Ho
    et al. 2020 do in figure 8; ``"spherical"`` the images linearly and their noises spherically.
    """
    if mix not in MIXES:
        raise FastdiffError(f"mix: expected one of {', '.join(MIXES)}, got {mix!r}")
    w = weights[:, None, None, None]
    signal, eps = images.astype(np.float64), noises.astype(np.float64)
    line = (1.0 - w) * signal[0] + w * signal[1]
    if mix == "spherical":
        noise = slerp(eps[0], eps[1], weights)
    else:
        noise = (1.0 - w) * eps[0] + w * eps[1]
    return np.asarray(alpha * line + sigma * noise, dtype=np.float32)
