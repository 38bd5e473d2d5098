"""Ctrl-C and SIGTERM end a run between two steps, so that it can save."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any


class Interrupts:
    """While it is entered the first signal sets ``asked``; the second one ends at once."""

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._ask)
        except ValueError:  # not the main thread: the caller handles signals
            pass
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
