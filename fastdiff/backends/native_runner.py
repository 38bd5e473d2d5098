"""Requests on the C++ engine: what a ``Request`` says, told to ``_native.Engine``. No torch."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fastdiff.backends.base import Fetch, Float32Array, Outcome, Request
from fastdiff.errors import FastdiffError
from fastdiff.samplers.table import SamplerTable

if TYPE_CHECKING:
    from fastdiff import _native


class NativeRunner:
    """Runs requests on one native engine; many threads may do so at once."""

    def __init__(self, engine: _native.Engine, precision: str = "float32") -> None:
        self.engine = engine
        self.precision = precision

    def describe(self) -> str:
        """One line: device, instruction set, precision, threads."""
        from fastdiff import _native

        threads = self.engine.threads
        return f"cpu, {_native.isa()}, {self.precision}, {threads} thread{'s' * (threads != 1)}"

    def plan(self, batch: int) -> str:
        """How a batch is run: a line for each step of the plan, with the algorithm chosen."""
        return str(self.engine.describe(batch))

    def predict(
        self,
        x: npt.NDArray[np.float32],
        times: npt.NDArray[np.float32],
        context: npt.NDArray[np.float32] | None = None,
    ) -> Float32Array:
        """The network alone: m of x, float32 [n, C, H, W], at times [n] and contexts [n, width]."""
        m: Float32Array = self.engine.predict(x, times, context)
        return m

    def run(self, request: Request) -> Outcome:
        """x after all rows of the request's table, or after the row at which it was stopped."""
        table, callback = request.table, request.after_row
        x, rows = self.engine.sample(
            table.rows,
            table.init_scale,
            request.seeds,
            context=request.context,
            guidance=request.guidance,
            guidance_rescale=request.guidance_rescale,
            guided_rows=request.guided_rows,
            x_T=request.x_T,
            image=request.image,
            from_image=request.from_image,
            mask=request.mask,
            after_row=None if callback is None else _after_row(table, callback),
        )
        return Outcome(x, rows)


def _after_row(
    table: SamplerTable, callback: Callable[[int, Fetch, Fetch], bool]
) -> Callable[[int, _native.RowView], bool]:
    """``callback`` as the native engine calls it.

    The engine's x and x0 are gone when the row is over, and copying them in every row would cost
    those who never look. So they are copied when asked for; and once more at the row's end for
    whoever still holds a fetch and may ask later.
    """

    def after_row(rows_done: int, row: _native.RowView) -> bool:
        x = _Fetched(row.x)
        x0 = _Fetched(row.x0) if row.has_x0 else _refusal(table, rows_done - 1)
        held = [weakref.ref(fetch) for fetch in (x, x0) if isinstance(fetch, _Fetched)]
        going_on = callback(rows_done, x, x0) is not False
        del x, x0
        for reference in held:
            fetch = reference()
            if fetch is not None:
                fetch()
        return going_on

    return after_row


class _Fetched:
    """A fetch that copies when it is first called."""

    def __init__(self, read: Fetch) -> None:
        self._read: Fetch | None = read
        self._array: Float32Array | None = None

    def __call__(self) -> Float32Array:
        if self._array is None:
            assert self._read is not None
            self._array, self._read = self._read(), None
        return self._array


def _refusal(table: SamplerTable, k: int) -> Fetch:
    def fetch() -> Float32Array:
        raise FastdiffError(
            f"x0: {table.name!r} does not say in row {k} how the image follows from x and m"
        )

    return fetch
