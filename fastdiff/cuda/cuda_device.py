"""A real GPU: streams, captures and the loop of ``csrc/cuda``."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch

from fastdiff.cuda.device import Captured, Loop, LoopBuffers
from fastdiff.errors import FastdiffError

if TYPE_CHECKING:
    from fastdiff import _native

# torch captures one graph at a time; other threads go on replaying theirs.
_CAPTURING = threading.Lock()
_PRECISION = threading.RLock()
POLL_SECONDS = 1e-4


class CudaGraph:
    """A captured graph; its memory is its own for as long as it lives."""

    def __init__(self, graph: torch.cuda.CUDAGraph) -> None:
        self.graph = graph

    def replay(self) -> None:
        """Puts the work on the current stream."""
        self.graph.replay()


class CudaLoop:
    """``_native.GraphLoop`` on a device's stream, with what it reads kept alive."""

    def __init__(
        self, loop: _native.GraphLoop, stream: torch.cuda.Stream, keep: tuple[object, ...]
    ) -> None:
        self._loop, self._stream, self._keep = loop, stream, keep
        self.mode: str = loop.mode
        self.node_count = loop.node_count

    def launch(self) -> None:
        """Puts a whole run on the stream."""
        self._loop.launch(self._stream.cuda_stream)

    def wait(self) -> None:
        """Returns when it is over; other threads go on meanwhile."""
        self._loop.wait(self._stream.cuda_stream)

    def wait_for(self, rows: int) -> int:
        """The rows done, once they are ``rows`` or the run is over."""
        while self._loop.rows_done < rows and not self._stream.query():
            time.sleep(POLL_SECONDS)
        return self._loop.rows_done

    def cancel(self) -> None:
        """The run ends after the row that it is at."""
        self._loop.cancel()

    def close(self) -> None:
        """Gives the graph back."""
        self._loop.close()
        self._keep = ()


class CudaDevice:
    """One GPU by its torch name, with a stream of its own for whoever made it.

    ``full_float32``: convolutions and products of captured float32 work in float32 itself; else in
    TF32.
    """

    def __init__(self, torch_device: torch.device, full_float32: bool) -> None:
        self.torch_device = torch_device
        self._precision = "ieee" if full_float32 else "tf32"
        self._stream = torch.cuda.Stream(torch_device)  # type: ignore[no-untyped-call]

    @contextmanager
    def scope(self) -> Iterator[None]:
        """The stream as the current one, until the end."""
        self._stream.wait_stream(torch.cuda.current_stream(self.torch_device))
        with (
            torch.cuda.device(self.torch_device),
            torch.cuda.stream(self._stream),
            torch.inference_mode(),
        ):
            yield

    @contextmanager
    def precise(self) -> Iterator[None]:
        """The precision of products, until the end; others wait."""
        cudnn: Any = torch.backends.cudnn
        places = (cudnn.conv, torch.backends.cuda.matmul)
        with _PRECISION:
            before = [place.fp32_precision for place in places]
            try:
                for place in places:
                    place.fp32_precision = self._precision
                yield
            finally:
                for place, precision in zip(places, before, strict=True):
                    place.fp32_precision = precision

    def capture(self, work: Callable[[], None]) -> Captured:
        """``work`` as a graph; a model that waits for the device or branches on a value in it is
        refused.
        """
        graph = torch.cuda.CUDAGraph(keep_graph=True)
        with _CAPTURING:
            torch.cuda.synchronize(self.torch_device)
            gc.collect()  # nothing may be freed in the middle of a capture
            try:
                with torch.cuda.graph(
                    graph, stream=self._stream, capture_error_mode="thread_local"
                ):
                    work()
                graph.instantiate()
            except torch.OutOfMemoryError as error:
                raise FastdiffError(
                    f"batch_size: the GPU's memory is not enough to capture it ({_first(error)})"
                ) from error
            except RuntimeError as error:
                raise FastdiffError(f"model: it cannot be captured ({_first(error)})") from error
        return CudaGraph(graph)

    def loop(self, start: Captured, step: Captured, buffers: LoopBuffers, mode: str) -> Loop:
        """``start`` and ``step`` as one graph."""
        from fastdiff import _native

        assert isinstance(start, CudaGraph)
        assert isinstance(step, CudaGraph)

        def pointer(tensor: torch.Tensor | None) -> int | None:
            return None if tensor is None else tensor.data_ptr()

        try:
            loop = _native.GraphLoop(
                step=step.graph.raw_cuda_graph(),
                start=start.graph.raw_cuda_graph(),
                rows=buffers.rows.data_ptr(),
                batch=buffers.rows.numel(),
                count=buffers.count.data_ptr(),
                x=buffers.x.data_ptr(),
                elements=buffers.x.numel() // max(1, buffers.rows.numel()),
                x0=pointer(buffers.x0),
                previews=pointer(buffers.previews),
                x0_previews=pointer(buffers.x0_previews),
                schedule=pointer(buffers.schedule),
                mode=cast(Any, mode),
            )
        except (ValueError, RuntimeError) as error:
            raise FastdiffError(f"graph: {_first(error)}") from error
        return CudaLoop(loop, self._stream, (start, step, buffers))

    def seconds(self, work: Callable[[], None]) -> float:
        """The least of five, after one that does not count."""
        event: Any = torch.cuda.Event
        begin, end = event(enable_timing=True), event(enable_timing=True)
        best = float("inf")
        with self.scope():
            for turn in range(6):
                begin.record()
                work()
                end.record()
                end.synchronize()
                if turn:
                    best = min(best, begin.elapsed_time(end) / 1e3)
        return best

    def bytes_in_use(self) -> int:
        """What is taken from the device as a whole: graphs are not torch's memory."""
        free, total = torch.cuda.mem_get_info(self.torch_device)
        return total - free

    def synchronize(self) -> None:
        """Returns when the stream is done."""
        self._stream.synchronize()


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
