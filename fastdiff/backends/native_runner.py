"""Requests on the C++ engine: what a ``Request`` says, told to ``_native.Engine``. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fastdiff.backends.base import Float32Array, Outcome, Request
from fastdiff.backends.row_view import telling

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
            after_row=None if callback is None else telling(table, callback),
        )
        return Outcome(x, rows)
