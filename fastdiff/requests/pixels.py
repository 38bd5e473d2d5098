"""A request to an autoregressive model, whole and checked: as the arrays that backends take."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fastdiff.backends.base import PixelRequest
from fastdiff.errors import FastdiffError
from fastdiff.noise import SeedsLike, as_seeds
from fastdiff.requests import contexts, editing
from fastdiff.requests.counts import count
from fastdiff.requests.sampling import Drawn

Int32Array = npt.NDArray[np.int32]


class DrawnByPixel(Drawn, Protocol):
    """What of an autoregressive model a request is checked against."""

    @property
    def levels(self) -> int:
        """How many values a pixel's colour can have."""
        ...


def resolve(
    model: DrawnByPixel,
    n: int | None,
    seed: SeedsLike,
    *,
    context: contexts.ContextLike,
    temperature: float,
    top_k: int | None,
    image: npt.NDArray[Any] | None,
    given_rows: int | None,
    mask: npt.NDArray[Any] | None,
) -> PixelRequest:
    """The request of ``PixelEngine.sample``'s arguments, which have their meaning there.

    Raises FastdiffError where an argument is wrong.
    """
    given = {"image": image, "mask": mask}
    arrays = {k: editing.as_array(k, v) for k, v in given.items() if v is not None}
    n = count(n, seed, context, arrays)
    if (
        isinstance(temperature, bool)
        or not isinstance(temperature, (int, float, np.number))
        or not 0.0 < temperature < np.inf
    ):
        raise FastdiffError(f"temperature: expected a positive number, got {temperature!r}")
    if top_k is not None and (
        isinstance(top_k, bool)
        or not isinstance(top_k, (int, np.integer))
        or not 1 <= top_k <= model.levels
    ):
        raise FastdiffError(f"top_k: expected an integer from 1 to {model.levels}, got {top_k!r}")
    return PixelRequest(
        as_seeds(seed, n),
        contexts.resolve(context, n, model.context_width, model.labels),
        float(temperature),
        None if top_k is None else int(top_k),
        _given(model, n, arrays, given_rows),
    )


def _given(
    model: DrawnByPixel, n: int, arrays: dict[str, npt.NDArray[Any]], given_rows: int | None
) -> Int32Array | None:
    """The levels that stay, int32 [n, C, H, W] with -1 where one is drawn; None for none."""
    shape = model.sample_shape
    if "image" not in arrays:
        for name, value in (("mask", arrays.get("mask")), ("given_rows", given_rows)):
            if value is not None:
                raise FastdiffError(f"{name}: expected an image to keep a part of, got none")
        return None
    if ("mask" in arrays) == (given_rows is not None):
        raise FastdiffError(
            "image: expected either given_rows or a mask to say what of it stays, got "
            + ("both" if "mask" in arrays else "neither")
        )
    kept = np.zeros((n, 1, *shape[1:]), dtype=bool)
    if given_rows is not None:
        if (
            isinstance(given_rows, bool)
            or not isinstance(given_rows, (int, np.integer))
            or not 0 <= given_rows <= shape[1]
        ):
            raise FastdiffError(
                f"given_rows: expected an integer from 0 to {shape[1]}, got {given_rows!r}"
            )
        kept[:, :, :given_rows] = True
    else:
        mask = editing.as_mask(arrays["mask"], n, shape)
        if not ((mask == 0) | (mask == 1)).all():
            raise FastdiffError("mask: expected 0 (keep) or 1 (draw anew) alone for this model")
        kept[:] = mask == 0
    return np.where(kept, levels_of(model, n, arrays["image"]), np.int32(-1))


def levels_of(
    model: DrawnByPixel, n: int, image: npt.NDArray[Any], what: str = "image"
) -> Int32Array:
    """Images as the model's levels, int32 [n, C, H, W].

    ``image``: as in ``editing.as_images``, with ``what`` for its name. A uint8 value v is level
    v * levels // 256.
    """
    pixels = editing.as_images(what, image, n, model.sample_shape)
    values = (pixels + 1) / 2 * (model.levels - 1)
    if image.dtype == np.uint8:
        values = np.rint((pixels + 1) * 127.5) * model.levels // 256
    levels: Int32Array = np.rint(values).astype(np.int32)
    return levels


def images_of(levels: Int32Array, count: int) -> npt.NDArray[np.float32]:
    """Levels from 0 to ``count`` - 1 as float32 in [-1, 1]; -1, what was not drawn, as -1."""
    images: npt.NDArray[np.float32] = (levels.clip(0) * (2.0 / (count - 1)) - 1).astype(np.float32)
    return images
