"""Autoregressive requests on the C++ engine: told to ``_native.PixelEngine``. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fastdiff.backends.base import Float32Array, PixelOutcome, PixelRequest
from fastdiff.errors import FastdiffError

if TYPE_CHECKING:
    from fastdiff import _native


class NativePixelRunner:
    """Runs requests on one native engine; many threads may do so at once."""

    def __init__(self, engine: _native.PixelEngine, precision: str = "float32") -> None:
        self.engine = engine
        self.precision = precision

    def describe(self) -> str:
        """One line: device, instruction set, precision, threads, slope."""
        from fastdiff import _native

        threads = self.engine.threads
        return (
            f"cpu, {_native.isa()}, {self.precision}, {threads} thread{'s' * (threads != 1)}, "
            f"wavefront slope {self.engine.slope}"
        )

    def plan(self, batch: int) -> str:
        """How a batch is run: slope, threads, memory."""
        return str(self.engine.describe(batch))

    def run(self, request: PixelRequest, slope: int | None = None) -> PixelOutcome:
        """The levels of the request's samples, the same for every ``slope`` that can be run."""
        try:
            levels, done = self.engine.sample(
                request.seeds,
                context=request.context,
                temperature=request.temperature,
                top_k=request.top_k,
                given=request.given,
                on_progress=request.on_progress,
                slope=slope,
            )
        except ValueError as error:
            raise FastdiffError(str(error)) from error
        return PixelOutcome(levels, done)

    def log_probabilities(
        self, levels: npt.NDArray[np.int32], context: Float32Array | None = None
    ) -> Float32Array:
        """ln p of each level given those before it, float32 [n, C, H, W]; levels likewise."""
        found: Float32Array = self.engine.log_probabilities(np.ascontiguousarray(levels), context)
        return found
