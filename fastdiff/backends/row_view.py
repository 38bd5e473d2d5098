"""What ``after_row`` is told where a row's x and x0 are gone when the row is over."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Protocol

from fastdiff.backends.base import Fetch, Float32Array
from fastdiff.errors import FastdiffError
from fastdiff.samplers.table import SamplerTable


class RowView(Protocol):
    """A row that is just done: x and x0 can be copied until the callback returns."""

    @property
    def has_x0(self) -> bool:
        """Whether the table says how x0 follows from x and m."""
        ...

    def x(self) -> Float32Array:
        """x after the row, [n, C, H, W]."""
        ...

    def x0(self) -> Float32Array:
        """The row's prediction of x0, [n, C, H, W]."""
        ...


def telling(
    table: SamplerTable, callback: Callable[[int, Fetch, Fetch], bool]
) -> Callable[[int, RowView], bool]:
    """``callback`` (``Request.after_row``) for a backend that has a view of each row.

    Copying x and x0 in every row would cost those who never look. So they are copied when asked
    for; and once more at the row's end for whoever still holds a fetch and may ask later.
    """

    def after_row(rows_done: int, row: RowView) -> bool:
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
