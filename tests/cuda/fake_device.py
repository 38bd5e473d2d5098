"""A GPU that is none: captures are functions, the loop is a Python loop, and captures can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from fastdiff.cuda.device import LoopBuffers
from fastdiff.errors import FastdiffError


@dataclass
class FakeGraph:
    """Work that is done anew whenever it is replayed."""

    work: Callable[[], None]

    def replay(self) -> None:
        self.work()


class FakeLoop:
    """What csrc/cuda/graph_loop does, by the host: begin, start, then step, previews, advance."""

    node_count = 5

    def __init__(self, device: FakeDevice, start: FakeGraph, step: FakeGraph, b: LoopBuffers, mode):
        self.device, self.start, self.step, self.buffers = device, start, step, b
        self.mode = "while" if mode == "auto" else mode
        self.done, self.cancelled, self.closed, self._rows = 0, False, False, None

    def launch(self) -> None:
        assert not self.closed
        self.device.launches += 1
        self.cancelled, self.done = False, 0
        self._rows = self._walk()

    def _walk(self) -> Iterator[int]:
        b = self.buffers
        b.rows.zero_()
        self.start.replay()
        while self.done < int(b.count) and not self.cancelled:
            self.step.replay()
            if b.schedule is not None and int(b.schedule[self.done]) >= 0:
                slot = int(b.schedule[self.done])
                b.previews[slot] = b.x
                b.x0_previews[slot] = b.x0
            b.rows.add_(1)
            self.done += 1
            yield self.done

    def wait_for(self, rows: int) -> int:
        # A device runs ahead of whoever watches it: here by one row.
        while self.done < rows + 1 and next(self._rows, None) is not None:
            pass
        return self.done

    def wait(self) -> None:
        for _ in self._rows:
            pass

    def cancel(self) -> None:
        self.cancelled = True

    def close(self) -> None:
        self.closed = True
        self.device.closed += 1


@dataclass
class FakeDevice:
    """``graph_seconds``, ``bare_seconds``: what the two ways are said to take. ``refusal``: what a
    capture says."""

    graph_seconds: float = 1e-3
    bare_seconds: float = 2e-3
    refusal: str = ""
    torch_device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    launches: int = 0
    captures: int = 0
    closed: int = 0
    measured: int = 0
    precise_now: int = 0

    @contextmanager
    def scope(self) -> Iterator[None]:
        with torch.inference_mode():
            yield

    @contextmanager
    def precise(self) -> Iterator[None]:
        self.precise_now += 1
        yield
        self.precise_now -= 1

    def capture(self, work: Callable[[], None]) -> FakeGraph:
        assert self.precise_now
        if self.refusal:
            raise FastdiffError(self.refusal)
        self.captures += 1
        work()  # as torch does: the work runs while it is captured
        return FakeGraph(work)

    def loop(self, start, step, buffers: LoopBuffers, mode: str) -> FakeLoop:
        return FakeLoop(self, start, step, buffers, mode)

    def seconds(self, work: Callable[[], None]) -> float:
        with self.scope():
            work()
        self.measured += 1
        return self.graph_seconds if self.measured % 2 else self.bare_seconds

    def bytes_in_use(self) -> int:
        return 2**20 * (1 + self.captures - self.closed)

    def synchronize(self) -> None:
        pass
