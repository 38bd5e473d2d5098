"""An autoregressive network's step, read place by place: what one cell of every value needs.

A cell is one channel of a value at one place (row i, column j). Every channel of x and of what
convolutions and elementwise ops make has a *number*, in one sequence; ops that only move channels
(slice, concat, reshape, permute) then make nothing: what they give is a list of numbers that others
have. What is left reads in two ways: a convolution through its *window*, at (i - rows above,
j + columns right), and an *operand* at (i, j) itself. An op that reads otherwise is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fastdiff.program.ir import Node, Program

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Window:
    """What a convolution reads, and with which weights. Taps that are zero or always outside of
    the image are left out, so a tap is there because something passes through it.

    ``channels``: int [in], numbers. ``rows_above``, ``columns_right``: int [taps].
    ``weight``: float64 [taps, out, in]. ``bias``: float64 [out] or None.
    """

    channels: IntArray
    rows_above: IntArray
    columns_right: IntArray
    weight: FloatArray
    bias: FloatArray | None

    @cached_property
    def live(self) -> BoolArray:
        """Whether anything passes: bool [taps, out, in]."""
        passes: BoolArray = self.weight != 0
        return passes

    def columns(self, members: IntArray) -> tuple[IntArray, IntArray]:
        """(tap, input) of the pairs that any of the outputs ``members`` needs, int [pairs] each."""
        taps, inputs = np.nonzero(self.live[:, members].any(axis=1))
        return taps, inputs


@dataclass(frozen=True, eq=False)
class Fixed:
    """An operand that is the same at every place: a constant or a value of the request.

    ``elements``: int [out], which of its elements (of one sample) each output channel takes.
    """

    name: str
    elements: IntArray


Operand = IntArray | Fixed  # numbers [out]: read at the same place


@dataclass(frozen=True, eq=False)
class Op:
    """A convolution (``window``) or an elementwise op (``operands``), and its epilogue.

    ``channels``: int [out], the numbers of what it makes, consecutive. ``epilogue``: (kind,
    operand or None) in their order, as the node's own.
    """

    node: Node
    channels: IntArray
    window: Window | None
    operands: tuple[Operand, ...]
    epilogue: tuple[tuple[str, Operand | None], ...]

    def beside(self) -> list[IntArray]:
        """The numbers that each output channel reads at its own place: int [out] each."""
        found = [*self.operands, *(operand for _, operand in self.epilogue)]
        return [operand for operand in found if isinstance(operand, np.ndarray)]


@dataclass(frozen=True, eq=False)
class Network:
    """A step program, read. Ops stand in the program's order.

    ``channels``: the numbers of every value that differs from place to place, x and moved ones
    among them: int arrays of the value's shape without batch, rows and columns; the logits'
    are [levels, C]. ``count``: how many numbers there are.
    """

    program: Program
    x: str
    colours: int
    height: int
    width: int
    levels: int
    ops: tuple[Op, ...]
    channels: Mapping[str, IntArray]
    count: int

    @property
    def logits(self) -> IntArray:
        """The numbers of the logits, int [levels, C]."""
        return self.channels[self.program.outputs[0]]

    @cached_property
    def stored(self) -> dict[str, IntArray]:
        """The numbers, flat, of the values that are made rather than moved, x first."""
        made = {op.node.output: op.channels for op in self.ops}
        return {self.x: self.channels[self.x].ravel(), **made}
