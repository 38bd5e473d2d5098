"""Stages: what is evaluated together at a subtime, with the positions of all subtimes.

The host works out, from the real dependencies (``fastdiff/pixelcnn/wavefront.py``), where each
stage reads and writes at every subtime; the device follows its counter through these tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastdiff.cuda.pixels.layout import OUTSIDE, Int32Array, Layout
from fastdiff.errors import FastdiffError
from fastdiff.pixelcnn.network import Fixed, FloatArray, IntArray, Op, Operand, Window
from fastdiff.pixelcnn.wavefront import Group, Wavefront

MAX_STEPS, MAX_OPERANDS = 8, 4  # as kernels/wavefront_stage.py takes them


@dataclass(frozen=True, eq=False)
class Reads:
    """Channels at cells: element k is at ``positions[s, cell, groups[k]] + offsets[k]``.

    ``positions``: int32 [S, M, G], ``OUTSIDE`` where it is a zero; ``groups``, ``offsets``:
    int32 [K].
    """

    positions: Int32Array
    groups: Int32Array
    offsets: Int32Array


@dataclass(frozen=True, eq=False)
class Stage:
    """One op's channels of one lookahead.

    ``weight``: float64 [K, N], of what ``reads`` reads; K is 0 where there is no convolution.
    ``steps``: ("unary", kind) or (kind, k) with ``operands[k]`` read from the cache or fixed.
    ``writes``: int32 [S, M], ``OUTSIDE`` where there is no cell.
    """

    name: str
    reads: Reads
    weight: FloatArray
    bias: FloatArray | None
    steps: tuple[tuple[str, str | int], ...]
    operands: tuple[Reads | Fixed, ...]
    writes: Int32Array
    out_offsets: Int32Array


@dataclass(frozen=True, eq=False)
class Choice:
    """One colour's choices: where its logits begin and each lies, where the input goes, and which
    value of the image it is, in the order (row, column, colour). int32 [S, M]; offsets [levels].
    """

    logits: Int32Array
    logit_offsets: Int32Array
    places: Int32Array
    inputs: Int32Array
    input_offset: int


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a lookahead at every subtime: int64 [S, M], rows and columns; -1 for none."""

    rows: IntArray
    columns: IntArray


def cells_of(wavefront: Wavefront, lookahead: int) -> Cells:
    """As ``Wavefront.active`` gives them."""
    active = [wavefront.active(lookahead, subtime) for subtime in wavefront.subtimes]
    most = max(1, *(len(rows) for rows, _ in active))
    rows = np.full((len(active), most), -1, dtype=np.int64)
    columns = rows.copy()
    for s, (i, j) in enumerate(active):
        rows[s, : len(i)], columns[s, : len(j)] = i, j
    return Cells(rows, columns)


def stages_of(wavefront: Wavefront, layout: Layout) -> list[Stage]:
    """All stages in the order in which a subtime runs them."""
    network = wavefront.network
    return [
        _stage(wavefront, layout, op, group)
        for op in network.ops
        for group in wavefront.groups[op.node.output]
    ]


def choices_of(wavefront: Wavefront, layout: Layout) -> list[Choice]:
    """The choices of every colour."""
    network = wavefront.network
    x = network.channels[network.x]
    found = []
    for colour in range(network.colours):
        cells = cells_of(wavefront, -colour)
        logits = _beside(layout, network.logits[:, colour], cells)
        if logits.positions.shape[2] != 1:
            raise FastdiffError("model: expected logits that one op makes")
        value = (cells.rows * network.width + cells.columns) * network.colours + colour
        where = int(layout.values_of(x[colour : colour + 1])[0])
        found.append(
            Choice(
                logits.positions[:, :, 0],
                logits.offsets,
                np.where(cells.rows >= 0, value, OUTSIDE).astype(np.int32),
                layout.positions(where, cells.rows, cells.columns),
                int(layout.places_of(x[colour : colour + 1])[0]),
            )
        )
    return found


def _stage(wavefront: Wavefront, layout: Layout, op: Op, group: Group) -> Stage:
    members = group.members
    cells = cells_of(wavefront, group.lookahead)
    operands: list[Reads | Fixed] = []

    def operand(which: Operand) -> int:
        if isinstance(which, Fixed):
            operands.append(Fixed(which.name, which.elements[members]))
        else:
            operands.append(_beside(layout, which[members], cells))
        return len(operands) - 1

    steps: list[tuple[str, str | int]] = []
    if op.window is not None:
        reads, weight = _through(layout, op.window, members, cells)
        bias = None if op.window.bias is None else op.window.bias[members]
    else:
        reads, bias = _nothing(cells), None
        weight = np.zeros((0, len(members)))
        kind = str(op.node.attributes["kind"])
        steps.append(("add", operand(op.operands[0])))
        if op.node.op == "unary":
            steps.append(("unary", kind))
        else:
            steps.append((kind, operand(op.operands[1])))
    for kind, which in op.epilogue:
        steps.append(("unary", kind) if which is None else (kind, operand(which)))
    if any(kind == "pow" for kind, _ in steps):
        raise FastdiffError(
            f"model: {op.node.output!r} ({op.node.path}) is a power, which backend 'cuda' has no "
            "step for in an autoregressive model; 'native' and 'eager' have"
        )
    if len(steps) > MAX_STEPS or len(operands) > MAX_OPERANDS:
        raise FastdiffError(
            f"model: {op.node.output!r} ({op.node.path}) has {len(steps)} steps and "
            f"{len(operands)} operands, backend 'cuda' takes {MAX_STEPS} and {MAX_OPERANDS}"
        )
    out = op.channels[members]
    return Stage(
        op.node.output,
        reads,
        weight,
        bias,
        tuple(steps),
        tuple(operands),
        layout.positions(int(layout.values_of(out)[0]), cells.rows, cells.columns),
        layout.places_of(out),
    )


def _through(
    layout: Layout, window: Window, members: IntArray, cells: Cells
) -> tuple[Reads, FloatArray]:
    """What a convolution reads, taps and values in groups, and the weights in that order."""
    taps, inputs = window.columns(members)
    values = layout.values_of(window.channels[inputs])
    places = layout.places_of(window.channels[inputs])
    order = np.lexsort((places, values, taps))
    taps, inputs, values = (a[order] for a in (taps, inputs, values))
    pairs, groups = np.unique(np.stack([taps, values]), axis=1, return_inverse=True)
    positions = [
        _positions(
            layout,
            int(value),
            cells,
            -int(window.rows_above[tap]),
            int(window.columns_right[tap]),
        )
        for tap, value in pairs.T
    ]
    weight: FloatArray = window.weight[taps, :, inputs][:, members]
    return Reads(_stacked(positions, cells), groups.ravel().astype(np.int32), places[order]), weight


def _beside(layout: Layout, numbers: IntArray, cells: Cells) -> Reads:
    """Channels at the cells themselves."""
    values, groups = np.unique(layout.values_of(numbers), return_inverse=True)
    positions = [_positions(layout, int(value), cells, 0, 0) for value in values]
    places = layout.places_of(numbers)
    return Reads(_stacked(positions, cells), groups.ravel().astype(np.int32), places)


def _positions(layout: Layout, value: int, cells: Cells, down: int, right: int) -> Int32Array:
    at = layout.positions(value, cells.rows + down, cells.columns + right)
    at[cells.rows < 0] = OUTSIDE
    return at


def _nothing(cells: Cells) -> Reads:
    none = np.zeros(0, dtype=np.int32)
    return Reads(_stacked([], cells), none, none)


def _stacked(positions: Sequence[Int32Array], cells: Cells) -> Int32Array:
    if not positions:
        return np.zeros((*cells.rows.shape, 0), dtype=np.int32)
    return np.stack(positions, axis=2)
