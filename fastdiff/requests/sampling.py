"""A request for samples, whole and checked: what people wrote, as the arrays that backends take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy.typing as npt

from fastdiff.backends.base import Float32Array, Request
from fastdiff.noise import SeedsLike, as_seeds
from fastdiff.requests import contexts, editing, tables
from fastdiff.requests.counts import count
from fastdiff.samplers import SamplerTable

StartLike = npt.NDArray[Any] | Callable[[SamplerTable], npt.NDArray[Any]] | None


class Drawn(Protocol):
    """What of a model a request is checked against."""

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """C, H, W."""
        ...

    @property
    def context_width(self) -> int:
        """Numbers in a context; 0 where the model takes none."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """Names of one-hot contexts."""
        ...


def resolve(
    model: Drawn,
    table_for: Callable[[float], SamplerTable],
    n: int | None,
    seed: SeedsLike,
    *,
    context: contexts.ContextLike,
    guidance: float | Sequence[float] | Float32Array | None,
    guidance_rescale: float | Sequence[float] | Float32Array,
    guidance_until: float,
    x_T: StartLike,
    image: npt.NDArray[Any] | None,
    strength: float | None,
    mask: npt.NDArray[Any] | None,
) -> Request:
    """The request of ``Engine.sample``'s arguments, which have their meaning there.

    ``table_for``: the table for a strength. Raises FastdiffError where an argument is wrong.
    """
    given = {"x_T": None if callable(x_T) else x_T, "image": image, "mask": mask}
    arrays = {k: editing.as_array(k, v) for k, v in given.items() if v is not None}
    n, shape = count(n, seed, context, arrays), model.sample_shape
    seeds = as_seeds(seed, n)
    strength = editing.resolve_strength(
        strength, x_T is not None, image is not None, mask is not None
    )
    table = table_for(strength)
    tables.check_leads_to_image(table)
    if image is not None:
        tables.check_levels(table, None if mask is not None else 1)
    if callable(x_T):
        arrays["x_T"] = editing.as_array("x_T", x_T(table))
    ctx = contexts.resolve(context, n, model.context_width, model.labels)
    start, picture, hole = (arrays.get(what) for what in ("x_T", "image", "mask"))
    return Request(
        table,
        seeds,
        ctx,
        guidance=contexts.resolve_guidance(guidance, n, ctx, context is not None),
        guidance_rescale=contexts.resolve_rescale(guidance_rescale, n),
        guided_rows=contexts.resolve_until(guidance_until, len(table)),
        x_T=None if start is None else editing.as_start(start, n, shape),
        image=None if picture is None else editing.as_images("image", picture, n, shape),
        # Under a mask and at full strength the rest is drawn from noise alone, like any image.
        from_image=image is not None and (mask is None or strength < 1),
        mask=None if hole is None else editing.as_mask(hole, n, shape),
    )
