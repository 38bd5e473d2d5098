"""The wavefront: when each cell of a network is evaluated, and how long it must be kept.

Pixel (i, j), colour c is chosen at *subtime* C (s i + j) + c, with C colours and *slope* s: a row
begins s pixels after the one above, so that pixels on a line are chosen together. A channel is
evaluated at (i, j) at subtime C (s i + j) - A, its *lookahead* A as small as its readers allow:

    logits of colour c        A >= -c
    read at the same place    A >= A of the reader
    read k rows above, d columns to the right
                              A >= A of the reader + C (d - s k)

Of the input, colour c of a pixel is known from subtime C (s i + j) + c + 1 on, so the network runs
at slope s if and only if its readers ask for A of at most -(c + 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fastdiff.pixelcnn.network import FloatArray, IntArray, Network

NEVER = -np.inf  # the lookahead of what nobody reads: the zero of max and plus


def lookaheads(network: Network, slope: int) -> FloatArray:
    """The least A of every channel at a slope, float64 [count] of integers or ``NEVER``.

    The input's are what its readers ask for, whether it can be or not.
    """
    found = np.full(network.count, NEVER)
    # One value an index: NumPy 2.4's ufunc.at reads past the end of values that it must broadcast.
    colours = np.tile(np.arange(network.colours, dtype=np.float64), network.levels)
    np.maximum.at(found, network.logits.ravel(), -colours)
    for op in reversed(network.ops):
        own = found[op.channels]
        for numbers in op.beside():
            np.maximum.at(found, numbers, own)
        if op.window is not None:
            w = op.window
            asked = np.where(w.live, own[:, None], NEVER).max(axis=1)  # [taps, in]
            asked += network.colours * (w.columns_right - slope * w.rows_above)[:, None]
            np.maximum.at(found, w.channels, asked.max(axis=0, initial=NEVER))
    return found


def known(network: Network) -> FloatArray:
    """The A at which the input is known: -(c + 1) for colour c."""
    return -1.0 - np.arange(network.colours, dtype=np.float64)


def runs_at(network: Network, slope: int) -> bool:
    """Whether the network can be evaluated at a slope: no cell reads what is not known yet."""
    asked = lookaheads(network, slope)[network.channels[network.x]]
    return bool((asked <= known(network)).all())


@dataclass(frozen=True, eq=False)
class Group:
    """Channels of a value that are evaluated together. ``members``: int, their places in it."""

    lookahead: int
    members: IntArray


@dataclass(frozen=True, eq=False)
class Wavefront:
    """A network in the order of a slope at which it runs; ``Dependencies.at`` makes them."""

    network: Network
    slope: int

    @cached_property
    def lookahead(self) -> FloatArray:
        """A of every channel by its number, float64 [count]; ``NEVER`` where nobody needs it."""
        found = lookaheads(self.network, self.slope)
        found[self.network.channels[self.network.x]] = known(self.network)
        return found

    @cached_property
    def groups(self) -> Mapping[str, tuple[Group, ...]]:
        """Of every made value and x: its channels by lookahead, the earliest first."""
        found = {}
        for value, numbers in self.network.stored.items():
            own = self.lookahead[numbers]
            found[value] = tuple(
                Group(int(a), np.flatnonzero(own == a)) for a in -np.unique(-own) if a != NEVER
            )
        return found

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Rows that a ring must hold of every made value and x, 0 for what nobody reads.

        Row i lies in slot i mod R. Row i + R may come over it once its last reader is through:

            C s R - A > C (s k - d) - A of the reader

        The height always suffices, and at slope 0 nothing less does.
        """
        C, A = self.network.colours, self.lookahead
        kept = np.full(self.network.count, NEVER)  # the largest C (s k - d) + A - A of the reader
        logits = self.network.logits.ravel()
        np.maximum.at(kept, logits, A[logits] + np.tile(np.arange(C), self.network.levels))
        for op in self.network.ops:
            needed = A[op.channels] != NEVER
            own = np.where(needed, A[op.channels], 0.0)
            for numbers in op.beside():
                np.maximum.at(kept, numbers[needed], A[numbers[needed]] - own[needed])
            if op.window is not None:
                w = op.window
                gap = np.where(w.live & needed[:, None], A[w.channels] - own[:, None], NEVER)
                gap += C * (self.slope * w.rows_above - w.columns_right)[:, None, None]
                np.maximum.at(kept, w.channels, gap.max(axis=(0, 1), initial=NEVER))
        found = {}
        for value, numbers in self.network.stored.items():
            most, height = float(kept[numbers].max()), self.network.height
            if most == NEVER or self.slope == 0:
                found[value] = 0 if most == NEVER else height
            else:
                found[value] = min(height, int(most // (C * self.slope)) + 1)
        return found

    @property
    def subtimes(self) -> range:
        """All subtimes: from the first cell that is evaluated to the last pixel's last colour."""
        n = self.network
        first = -int(max(0.0, self.lookahead.max()))
        return range(first, n.colours * (self.slope * (n.height - 1) + n.width))

    def active(self, lookahead: int, subtime: int) -> tuple[IntArray, IntArray]:
        """(rows, columns) at which channels of a lookahead are evaluated, int [cells] each.

        With ``-c``: the pixels whose colour c is chosen.
        """
        place, rest = divmod(subtime + lookahead, self.network.colours)
        rows = np.arange(self.network.height)
        columns = place - self.slope * rows
        inside = (columns >= 0) & (columns < self.network.width) & (rest == 0)
        return rows[inside], columns[inside]
