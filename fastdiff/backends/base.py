"""What a backend is: it turns a request into final x, and says why when it cannot.

A backend is a module-level object in ``fastdiff.backends.<name>``; ``registry.py`` knows the
names without importing any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from fastdiff.samplers.table import SamplerTable

if TYPE_CHECKING:
    from fastdiff.models.model import DiffusionModel

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Request:
    """One chunk of samples, checked and complete: a backend need not look for mistakes.

    ``seeds``: uint64 [n]. ``context``: float32 [n, width], None where the model takes none.
    ``guidance``: float32 [n], None where one model call a row is enough (scale 1 throughout).
    ``x_T``: float32 [n, C, H, W] to start from, None for ``init_scale`` times the seeds' noise.
    ``after_row``: called after every row with the rows done and a function that fetches x as
    float32 [n, C, H, W]; it returns False to stop here.
    """

    table: SamplerTable
    seeds: npt.NDArray[np.uint64]
    context: Float32Array | None = None
    guidance: Float32Array | None = None
    x_T: Float32Array | None = None
    after_row: Callable[[int, Callable[[], Float32Array]], bool] | None = None

    def part(self, first: int, last: int) -> Request:
        """The request for samples first .. last - 1 alone."""

        def cut(array: Float32Array | None) -> Float32Array | None:
            return None if array is None else array[first:last]

        return Request(
            self.table,
            self.seeds[first:last],
            cut(self.context),
            cut(self.guidance),
            cut(self.x_T),
            self.after_row,
        )


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


class Backend(Protocol):
    """A way to run a model."""

    name: str

    def prepare(self, model: DiffusionModel, **options: Any) -> Runner:
        """A runner of its own for ``model``; later changes to the model do not reach it."""
        ...
