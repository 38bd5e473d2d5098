"""What a backend is: it turns a request into final x, and says why when it cannot.

A backend is a module-level object in ``fastdiff.backends.<name>``; ``registry.py`` knows the
names without importing any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from fastdiff.samplers.table import SamplerTable

if TYPE_CHECKING:
    from fastdiff.models.autoregressive import AutoregressiveModel
    from fastdiff.models.model import DiffusionModel

Float32Array = npt.NDArray[np.float32]
Fetch = Callable[[], Float32Array]

# What of a request belongs to single samples, and is cut with them.
PER_SAMPLE = ("seeds", "context", "guidance", "guidance_rescale", "x_T", "image", "mask")


@dataclass(frozen=True)
class Request:
    """One chunk of samples, checked and complete: a backend need not look for mistakes.

    ``seeds``: uint64 [n]. ``context``: float32 [n, width], None where the model takes none.

    ``guidance``: float32 [n], None where one model call a row is enough (scale 1 throughout).
    ``guidance_rescale``: float32 [n] in [0, 1], the phi of Lin et al. 2024, equation 16; None for
    0 throughout. ``guided_rows``: from this row on only the conditional output is used; None
    guides them all.

    ``x_T``: float32 [n, C, H, W] to start from, None for ``init_scale`` times the seeds' noise.
    ``image``: float32 [n, C, H, W] to edit, with eps = normal(seed, step 0, stream 0):
    under ``from_image`` x starts at alpha[0] * image + sigma[0] * eps.
    ``mask``: float32 [n, 1, H, W] in [0, 1], 1 where the image is drawn anew: at the start of
    every row x_k = mask * x_k + (1 - mask) * (alpha[k] * image + sigma[k] * eps), and after the
    last one x = mask * x + (1 - mask) * image. What a row looks back on is the x so mixed.

    ``after_row``: called after every row with the rows done, a function that fetches x (mixed for
    the next row) and one that fetches the row's prediction of x0, clamped to the row's bounds,
    both float32 [n, C, H, W] and callable at any later time; it returns False to stop here.
    ``looked_at``: the numbers of rows done at which these may be called; None for all. Backends
    that run ahead of the host keep x and x0 of these rows alone.
    """

    table: SamplerTable
    seeds: npt.NDArray[np.uint64]
    context: Float32Array | None = None
    guidance: Float32Array | None = None
    guidance_rescale: Float32Array | None = None
    guided_rows: int | None = None
    x_T: Float32Array | None = None
    image: Float32Array | None = None
    from_image: bool = False
    mask: Float32Array | None = None
    after_row: Callable[[int, Fetch, Fetch], bool] | None = None
    looked_at: frozenset[int] | None = None

    def part(self, first: int, last: int) -> Request:
        """The request for samples first .. last - 1 alone."""
        arrays = {name: getattr(self, name) for name in PER_SAMPLE}
        return replace(self, **{k: a[first:last] for k, a in arrays.items() if a is not None})


@dataclass(frozen=True)
class Outcome:
    """x after ``rows`` rows, float32 [n, C, H, W]; fewer rows than asked when it was stopped."""

    x: Float32Array
    rows: int


class Runner(Protocol):
    """A model prepared by a backend; many threads may run requests on it at once."""

    def run(self, request: Request) -> Outcome:
        """x after all rows of the request's table."""
        ...

    def describe(self) -> str:
        """One line: device, dtype, noise source."""
        ...


@dataclass(frozen=True)
class PixelRequest:
    """One chunk of an autoregressive model's samples, checked and complete.

    ``seeds``: uint64 [n]. ``context``: float32 [n, width], None where the model takes none.
    Levels are chosen from softmax(logits / ``temperature``), of the ``top_k`` largest alone where
    given, by inverting the CDF at uniform(seed, step 0, stream 3, element (i W + j) C + c).
    ``given``: int32 [n, C, H, W], levels that stay and -1 where one is drawn; None for none.
    ``on_progress``: called with the pixels' colours done and their total; it returns False to stop.
    """

    seeds: npt.NDArray[np.uint64]
    context: Float32Array | None = None
    temperature: float = 1.0
    top_k: int | None = None
    given: npt.NDArray[np.int32] | None = None
    on_progress: Callable[[int, int], bool] | None = None

    def part(self, first: int, last: int) -> PixelRequest:
        """The request for samples first .. last - 1 alone."""
        arrays = {name: getattr(self, name) for name in ("seeds", "context", "given")}
        return replace(self, **{k: a[first:last] for k, a in arrays.items() if a is not None})


@dataclass(frozen=True)
class PixelOutcome:
    """``levels``: int32 [n, C, H, W], -1 where the run was stopped before. ``done``: how many."""

    levels: npt.NDArray[np.int32]
    done: int


class PixelRunner(Protocol):
    """An autoregressive model prepared by a backend; many threads may run requests on it."""

    def run(self, request: PixelRequest) -> PixelOutcome:
        """The levels of the request's samples."""
        ...

    def describe(self) -> str:
        """One line: device, dtype, how."""
        ...


class Backend(Protocol):
    """A way to run a model."""

    name: str

    def prepare(self, model: DiffusionModel, **options: Any) -> Runner:
        """A runner of its own for ``model``; later changes to the model do not reach it."""
        ...

    def prepare_pixels(self, model: AutoregressiveModel, **options: Any) -> PixelRunner:
        """The same for a model whose pixels are drawn one after another."""
        ...
