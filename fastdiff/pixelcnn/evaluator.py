"""A wavefront's network in torch, cell by cell, from rings of rows: obvious, never optimised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fastdiff.pixelcnn.network import Fixed, IntArray, Op, Operand
from fastdiff.pixelcnn.wavefront import Group, Wavefront
from fastdiff.program.reference import REFERENCE

Cells = tuple[IntArray, IntArray]  # (rows, columns) [cells] each


@dataclass(frozen=True, eq=False)
class _Part:
    """What a group of an op's channels needs, gathered once. ``matrix`` [pairs, members]: the live
    weights of a convolution, a row for each pair of a tap and an input channel.
    """

    op: Op
    group: Group
    taps: IntArray
    inputs: IntArray
    matrix: Tensor | None
    bias: Tensor | None


class Evaluator:
    """The caches of ``samples`` images, and the evaluation of a subtime's cells into them.

    ``fixed``: the request's values by name, [samples, ...]. One flat cache [samples, elements]:
    element 0 is the zero that is outside of the image, then a ring [rows, W] for every channel.
    """

    def __init__(
        self,
        wavefront: Wavefront,
        samples: int,
        fixed: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        network, self.wavefront, self._dtype = wavefront.network, wavefront, dtype
        constants = {k: torch.from_numpy(a)[None] for k, a in network.program.constants.items()}
        given: dict[str, Tensor] = {**constants, **(fixed or {})}
        self._fixed = {k: v.to(dtype).reshape(len(v), -1) for k, v in given.items()}
        self._rows = np.ones(network.count, dtype=np.int64)  # of each channel's ring
        self._first = np.zeros(network.count, dtype=np.int64)  # where it begins
        end = 1
        for name, numbers in network.stored.items():
            rows = max(1, wavefront.rows[name])  # x is written even where nobody reads it
            self._rows[numbers] = rows
            self._first[numbers] = end + rows * network.width * np.arange(len(numbers))
            end += rows * network.width * len(numbers)
        self._cache = torch.zeros(samples, end, dtype=dtype)
        self._parts = [
            self._part(op, group)
            for op in network.ops
            for group in wavefront.groups[op.node.output]
        ]

    def advance(self, subtime: int) -> None:
        """Evaluates the cells of a subtime; those of all subtimes before have been."""
        for part in self._parts:
            cells = self.wavefront.active(part.group.lookahead, subtime)
            if len(cells[0]):
                self.write(part.op.channels[part.group.members], cells, self._made(part, cells))

    def read(self, numbers: IntArray, cells: Cells) -> Tensor:
        """Channels at cells, [samples, cells, channels]; zero where a cell is outside.

        ``cells`` may also be [cells, channels]: a place for each channel.
        """
        network = self.wavefront.network
        rows, columns = (k.reshape(len(k), -1) for k in cells)
        inside = (rows >= 0) & (rows < network.height) & (columns >= 0) & (columns < network.width)
        at = self._first[numbers] + rows % self._rows[numbers] * network.width + columns
        return self._cache[:, torch.from_numpy(np.where(inside, at, 0))]

    def write(self, numbers: IntArray, cells: Cells, values: Tensor) -> None:
        """Puts [samples, cells, channels] over what the rings hold at these cells."""
        rows, columns = (k[:, None] for k in cells)
        width = self.wavefront.network.width
        at = self._first[numbers] + rows % self._rows[numbers] * width + columns
        self._cache[:, torch.from_numpy(at)] = values.to(self._dtype)

    def _part(self, op: Op, group: Group) -> _Part:
        if op.window is None:
            none = np.zeros(0, dtype=np.int64)
            return _Part(op, group, none, none, None, None)
        taps, inputs = op.window.columns(group.members)
        matrix = op.window.weight[taps, :, inputs][:, group.members]
        bias = None if op.window.bias is None else torch.from_numpy(op.window.bias[group.members])
        return _Part(
            op,
            group,
            taps,
            inputs,
            torch.from_numpy(matrix).to(self._dtype),
            None if bias is None else bias.to(self._dtype),
        )

    def _made(self, part: _Part, cells: Cells) -> Tensor:
        """The op's output at cells, [samples, cells, members]."""
        op = part.op
        if op.window is not None and part.matrix is not None:
            rows = cells[0][:, None] - op.window.rows_above[part.taps]
            columns = cells[1][:, None] + op.window.columns_right[part.taps]
            out = self.read(op.window.channels[part.inputs], (rows, columns)) @ part.matrix
            out = out if part.bias is None else out + part.bias
        else:
            operands = [self._operand(operand, part, cells) for operand in op.operands]
            out = REFERENCE[op.node.op](*operands, kind=op.node.attributes["kind"])
        for kind, operand in op.epilogue:
            if operand is None:
                out = REFERENCE["unary"](out, kind=kind)
            else:
                out = REFERENCE["binary"](out, self._operand(operand, part, cells), kind=kind)
        return out

    def _operand(self, operand: Operand, part: _Part, cells: Cells) -> Tensor:
        if isinstance(operand, Fixed):
            elements = torch.from_numpy(operand.elements[part.group.members])
            return self._fixed[operand.name][:, None, elements]
        return self.read(operand[part.group.members], cells)
