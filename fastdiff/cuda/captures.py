"""A bounded cache of what is costly to make and holds device memory; what was used least recently
goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Held(Protocol):
    """What the cache holds."""

    bytes_held: int

    def close(self) -> None:
        """Gives its memory back; waits for whoever uses it."""
        ...


Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item", bound=Held)


class CaptureCache(Generic[Key, Item]):
    """At most ``max_items`` items, of ``max_bytes`` together unless one alone is larger.

    ``hits``, ``misses``, ``evicted`` count. Making one item holds up only those who want one made.
    """

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self.max_items, self.max_bytes = max_items, max_bytes
        self.hits = self.misses = self.evicted = 0
        self._items: OrderedDict[Key, Item] = OrderedDict()
        self._lock, self._making = threading.Lock(), threading.Lock()

    @property
    def bytes_held(self) -> int:
        """Device memory of all items."""
        with self._lock:
            return sum(item.bytes_held for item in self._items.values())

    def __len__(self) -> int:
        with self._lock:
            return len(self._items)

    def get(self, key: Key, make: Callable[[], Item]) -> Item:
        """The item of ``key``; where ``make`` raises, the cache is as it was before."""
        found = self._find(key)
        if found is not None:
            return found
        with self._making:
            found = self._find(key)  # another thread may have made it meanwhile
            if found is not None:
                return found
            item = make()
            with self._lock:
                self.misses += 1
                self._items[key] = item
                leaving = self._overflow()
        for old in leaving:
            old.close()
        return item

    def _find(self, key: Key) -> Item | None:
        with self._lock:
            item = self._items.get(key)
            if item is not None:
                self.hits += 1
                self._items.move_to_end(key)
            return item

    def _overflow(self) -> list[Item]:
        leaving = []
        while len(self._items) > 1 and (
            len(self._items) > self.max_items
            or sum(item.bytes_held for item in self._items.values()) > self.max_bytes
        ):
            leaving.append(self._items.popitem(last=False)[1])
        self.evicted += len(leaving)
        return leaving

    def clear(self) -> None:
        """Closes all items."""
        with self._lock:
            items = list(self._items.values())
            self._items.clear()
        for item in items:
            item.close()

    def describe(self) -> str:
        """One line: items, memory, hits and misses."""
        megabytes = self.bytes_held / 2**20
        return (
            f"{len(self)} captures, {megabytes:.1f} MiB; {self.hits} hits, {self.misses} misses, "
            f"{self.evicted} evicted"
        )
