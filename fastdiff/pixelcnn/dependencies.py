"""What every cell of an autoregressive network depends on, and the least slope of its wavefront.

At slope 1 + the sum of the windows' widest columns, beyond every reach, a wavefront is raster
order: what lies a row above is then earlier by more than any columns can make up for, and what lies
below is later. So the network is causal if and only if it runs at that slope. As then no path leads
down, it runs at every slope from the least one on: a larger one never asks for more.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdiff.errors import FastdiffError
from fastdiff.pixelcnn.network import BoolArray, Network
from fastdiff.pixelcnn.read import read
from fastdiff.pixelcnn.table import table_of
from fastdiff.pixelcnn.wavefront import Wavefront, runs_at
from fastdiff.program.ir import Program


@dataclass(frozen=True, eq=False)
class Dependencies:
    """A causal network and its least ``slope``, the one with the most pixels at a time."""

    network: Network
    slope: int

    def at(self, slope: int | None = None) -> Wavefront:
        """The network in the order of a slope, the least unless told otherwise.

        Raises FastdiffError for a slope below it.
        """
        slope = self.slope if slope is None else slope
        if isinstance(slope, bool) or not isinstance(slope, int) or slope < self.slope:
            raise FastdiffError(f"slope: expected an integer from {self.slope} on, got {slope!r}")
        return Wavefront(self.network, slope)

    def to_dict(self, slope: int | None = None) -> dict[str, Any]:
        """The table of the program at a slope, plain values (``pixelcnn/table.py``)."""
        return table_of(self.at(slope))


def analyse(program: Program, x: str = "x") -> Dependencies:
    """The dependencies of a step program with input ``x`` [B, C, H, W] and logits
    [B, levels, C, H, W].

    Raises FastdiffError as ``read`` does, and for a network that is not causal: whose logits of
    some pixel and colour depend on that pixel's colour or on one that comes later.
    """
    network = read(program, x)
    slope = raster_slope(network)
    if not runs_at(network, slope):
        raise FastdiffError(_violation(network))
    return Dependencies(network, bisect_left(range(slope), True, key=lambda s: runs_at(network, s)))


def raster_slope(network: Network) -> int:
    """A slope at which the wavefront is raster order: more than the columns of any path."""
    windows = [op.window.columns_right for op in network.ops if op.window is not None]
    return 1 + sum(int(abs(columns).max(initial=0)) for columns in windows)


def seen_by(network: Network, row: int, column: int, colour: int) -> BoolArray:
    """The cells on which the logits of one pixel's colour depend, bool [count, H, W].

    Exact: a path through weights that are not zero leads there within the image.
    """
    size = (network.height, network.width)
    seen = np.zeros((network.count, *size), dtype=bool)
    seen[network.logits[:, colour], row, column] = True
    for op in reversed(network.ops):
        own = seen[op.channels]
        for numbers in op.beside():
            np.logical_or.at(seen, numbers, own)
        if op.window is not None:
            w = op.window
            found = np.zeros((len(w.channels), *size), dtype=bool)
            for above, right, live in zip(w.rows_above, w.columns_right, w.live, strict=True):
                through = live.T.astype(np.float32) @ own.reshape(len(own), -1)
                found |= _moved(through.reshape(-1, *size) > 0, -above, right)
            np.logical_or.at(seen, w.channels, found)
    return seen


def _moved(cells: BoolArray, down: int, right: int) -> BoolArray:
    """[..., H, W] moved, with False from outside."""
    height, width = cells.shape[-2:]
    moved = np.zeros_like(cells)
    moved[..., max(0, down) : height + down, max(0, right) : width + right] = cells[
        ..., max(0, -down) : height - down, max(0, -right) : width - right
    ]
    return moved


def _violation(network: Network) -> str:
    """The sentence that refuses a network, with the first pair of pixels that shows why."""
    x, C = network.channels[network.x], network.colours
    for row, column in _from_the_centre(network.height, network.width):
        for colour in range(C):
            seen = seen_by(network, row, column, colour)[x].transpose(1, 2, 0)
            order = np.flatnonzero(seen)
            late = order[order >= C * (network.width * row + column) + colour]
            if len(late):
                i, j, c = np.unravel_index(late[0], seen.shape)
                return (
                    f"model: expected logits that depend on earlier pixels alone, got those of "
                    f"(row {row}, column {column}, colour {colour}) depending on the input at "
                    f"(row {i}, column {j}, colour {c})"
                )
    return (
        "model: expected logits that depend on earlier pixels alone, got paths to later ones, if "
        "only by way of places outside of the image"
    )


def _from_the_centre(height: int, width: int) -> Iterator[tuple[int, int]]:
    rows, columns = (sorted(range(n), key=lambda k: abs(2 * k + 1 - n)) for n in (height, width))
    yield from ((i, j) for i in rows for j in columns)
