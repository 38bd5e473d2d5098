"""A start and many steps, captured as graphs and looped on the device; or not, as it pays."""

from __future__ import annotations

from collections.abc import Callable

from fastdiff.cuda.device import Captured, Device, Loop, LoopBuffers
from fastdiff.errors import FastdiffError

MEASURED_STEPS = 8


class Walk:
    """``start()``, then ``step()`` as often as ``buffers.count`` says, ``buffers.rows`` going up.

    ``mode``: "while" (one launch), "launches" (a launch a step), "off" (no graph), or "auto", the
    faster one of graph and none by measurement. Where the work cannot be captured "auto" runs
    without a graph and says why; the others raise FastdiffError. ``note``: what was chosen.
    """

    def __init__(
        self,
        device: Device,
        start: Callable[[], None],
        step: Callable[[], None],
        buffers: LoopBuffers,
        mode: str = "auto",
    ) -> None:
        self._device, self._start, self._step, self._buffers = device, start, step, buffers
        self.loop: Loop | None = None
        self._graphs: tuple[Captured, Captured] | None = None
        self.note = "no graph"
        buffers.count.fill_(MEASURED_STEPS)
        self._warm_up()
        if mode != "off":
            self._capture(mode)

    def _warm_up(self) -> None:
        """Compiles kernels and lets libraries choose theirs, outside of a capture."""
        with self._device.scope():
            for _ in range(2):
                self._bare(1)
            self._device.synchronize()

    def _capture(self, mode: str) -> None:
        try:
            with self._device.scope(), self._device.precise():
                self._graphs = (self._device.capture(self._start), self._device.capture(self._step))
            self.loop = self._device.loop(*self._graphs, self._buffers, mode)
        except FastdiffError as error:
            self.close()
            if mode != "auto":
                raise
            self.note = f"no graph: {error}"
            return
        self.note = f"graph, {self.loop.mode}, {self.loop.node_count} nodes"
        if mode == "auto":
            self._choose()

    def _choose(self) -> None:
        """Keeps the graph only where it is faster than launching every kernel."""
        graph = self._device.seconds(self._looped)
        bare = self._device.seconds(lambda: self._bare(MEASURED_STEPS))
        scale = 1e6 / MEASURED_STEPS
        told = f"{graph * scale:.0f} us a step, {bare * scale:.0f} without it"
        if graph <= bare:
            self.note += f", {told}"
            return
        self.close()
        self.note = f"no graph: it takes {told}"

    def run(self, count: int) -> None:
        """All of ``count`` steps, of which ``buffers.count`` knows; over when this returns."""
        if self.loop is not None:
            self._looped()
        else:
            self._bare(count)

    def begin(self) -> None:
        """The start alone, for whoever then walks by ``advance``."""
        self._buffers.rows.zero_()
        if self._graphs is not None:
            self._graphs[0].replay()
            return
        with self._device.precise():
            self._start()

    def advance(self) -> None:
        """One step."""
        if self._graphs is not None:
            self._graphs[1].replay()
        else:
            with self._device.precise():
                self._step()
        self._buffers.rows.add_(1)

    def _looped(self) -> None:
        assert self.loop is not None
        self.loop.launch()
        self.loop.wait()

    def _bare(self, count: int) -> None:
        self._buffers.rows.zero_()
        with self._device.precise():
            self._start()
            for _ in range(count):
                self._step()
                self._buffers.rows.add_(1)

    def close(self) -> None:
        """Gives the graphs back."""
        if self.loop is not None:
            self.loop.close()
        self.loop = self._graphs = None
