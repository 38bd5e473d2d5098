"""What the backend asks of a GPU, so that its logic can be tested on a machine without one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

MODES = ("auto", "while", "launches", "off")


@dataclass(frozen=True)
class LoopBuffers:
    """The device memory that the loop itself reads and writes.

    ``rows``: int32 [B]. ``count``: int32 [1]. ``x``: float32 [B, C, H, W]. ``schedule``: int32
    [capacity], the slot of ``previews`` float32 [slots, B, C, H, W] (and of ``x0_previews``) that
    takes x (and ``x0``) after a row, or -1; all four None where there are no previews.
    """

    rows: Tensor
    count: Tensor
    x: Tensor
    x0: Tensor | None = None
    previews: Tensor | None = None
    x0_previews: Tensor | None = None
    schedule: Tensor | None = None


class Captured(Protocol):
    """Work that was captured and can be run again."""

    def replay(self) -> None:
        """Puts the work on the current stream."""
        ...


class Loop(Protocol):
    """start, then step for every row: one launch (``_native.pyi``, GraphLoop)."""

    mode: str
    node_count: int

    def launch(self) -> None:
        """Puts a whole run on the device's stream."""
        ...

    def wait(self) -> None:
        """Returns when it is over."""
        ...

    def wait_for(self, rows: int) -> int:
        """The rows done, once they are ``rows`` or the run is over."""
        ...

    def cancel(self) -> None:
        """The run ends after the row that it is at."""
        ...

    def close(self) -> None:
        """Gives the graph back."""
        ...


class Device(Protocol):
    """A GPU, or what stands in for one."""

    torch_device: torch.device

    def scope(self) -> AbstractContextManager[None]:
        """A stream of its own as the current one, until the end of the scope."""
        ...

    def precise(self) -> AbstractContextManager[None]:
        """Products in the precision asked for, until the end: for work that is launched as it is or
        captured. One thread at a time: torch's switch is the whole process's.
        """
        ...

    def capture(self, work: Callable[[], None]) -> Captured:
        """``work`` as a graph. It has run before, so that nothing is compiled in a capture."""
        ...

    def loop(self, start: Captured, step: Captured, buffers: LoopBuffers, mode: str) -> Loop:
        """``start`` and ``step`` as one graph; ``mode``: "auto", "while" or "launches"."""
        ...

    def seconds(self, work: Callable[[], None]) -> float:
        """What ``work`` takes on the device, its launches included."""
        ...

    def bytes_in_use(self) -> int:
        """Memory that this process's tensors and graphs hold."""
        ...

    def synchronize(self) -> None:
        """Returns when everything on the current stream is done."""
        ...
