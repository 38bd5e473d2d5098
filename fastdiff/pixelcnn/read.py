"""read: a step program to the network of its cells; what looks at an image otherwise is refused."""

from __future__ import annotations

from typing import Final, NoReturn

import numpy as np

from fastdiff.errors import FastdiffError
from fastdiff.pixelcnn.network import Fixed, FloatArray, IntArray, Network, Op, Operand, Window
from fastdiff.program.ir import BATCH, Node, Program, Shape

MOVES: Final = ("slice", "concat", "reshape", "permute", "broadcast")
ELEMENTWISE: Final = ("unary", "binary")


def read(program: Program, x: str = "x") -> Network:
    """The network of a step program with input ``x`` [B, C, H, W] and logits [B, levels, C, H, W].

    Every other input, and every constant, is taken to be the same at every place. Raises
    FastdiffError for a program of other shapes and for an op that reads otherwise than through
    windows and at its own place.
    """
    if x not in program.inputs or len(program.values[x].shape) != 4 or len(program.outputs) != 1:
        raise FastdiffError("model: expected one x [B, C, H, W] and logits that depend on it")
    return _Reader(program, x).network()


class _Reader:
    """Walks a program once, numbering channels as they are made."""

    def __init__(self, program: Program, x: str) -> None:
        self._program, self._x = program, x
        _, self._colours, self._height, self._width = program.values[x].shape
        self._count = 0
        self._ops: list[Op] = []
        self._channels: dict[str, IntArray] = {x: self._numbered((self._colours,))}

    def network(self) -> Network:
        """The network of the whole program."""
        for node in self._program.nodes:
            if node.op in MOVES:
                self._channels[node.output] = self._moved(node)
            else:
                self._ops.append(self._op(node))
        output = self._program.outputs[0]
        found = self._channels.get(output)
        if found is None or found.ndim != 2 or found.shape[1] != self._colours:
            raise FastdiffError(
                f"model: expected logits [B, levels, {self._colours}, "
                f"{self._height}, {self._width}], got {self._program.values[output]}"
            )
        return Network(
            self._program,
            self._x,
            self._colours,
            self._height,
            self._width,
            found.shape[0],
            tuple(self._ops),
            self._channels,
            self._count,
        )

    def _numbered(self, shape: Shape) -> IntArray:
        first = self._count
        self._count += int(np.prod(shape))
        return np.arange(first, self._count, dtype=np.int64).reshape(shape)

    def _inner(self, node: Node, name: str) -> Shape:
        """A value's shape without batch, rows and columns."""
        shape = self._program.values[name].shape
        if len(shape) < 4 or shape[0] != BATCH or shape[-2:] != (self._height, self._width):
            self._refuse(node, f"to {self._program.values[name]}")
        return shape[1:-2]

    def _moved(self, node: Node) -> IntArray:
        """The op, done to the numbers instead of the channels."""
        inner = self._inner(node, node.output)
        before = []
        for name in node.inputs:
            if name not in self._channels:
                self._refuse(node, f"of {name!r}, which does not depend on x")
            before.append(self._channels[name])
        first, a = before[0], node.attributes
        axes = range(1, first.ndim + 1)  # those of channels
        if node.op == "reshape":
            return first.reshape(inner)
        if node.op == "broadcast" and first.ndim == len(inner):
            return np.broadcast_to(first, inner)
        if node.op == "permute" and sorted(a["dims"][:-1]) == [0, *axes, axes.stop]:
            return np.transpose(first, [axis - 1 for axis in a["dims"][1:-2]])
        if node.op == "concat" and a["dim"] in axes:
            return np.concatenate(before, axis=a["dim"] - 1)
        if node.op == "slice" and a["dim"] in axes:
            cut = slice(a["start"], a["stop"], a["step"])
            found: IntArray = first[(slice(None),) * (a["dim"] - 1) + (cut,)]
            return found
        return self._refuse(node, "along rows or columns")

    def _op(self, node: Node) -> Op:
        steps = node.attributes.get("epilogue", ())
        own = node.inputs[: len(node.inputs) - sum(kind != "unary" for kind, _ in steps)]
        inner = self._inner(node, node.output)
        if node.op in ELEMENTWISE:
            window, operands = None, tuple(self._operand(node, name, inner) for name in own)
        elif node.op == "conv2d":
            window, operands = self._window(node, *own), ()
        else:
            self._refuse(node)
        epilogue = tuple(
            (what, None)
            if kind == "unary"
            else (kind, self._operand(node, node.inputs[what], inner))
            for kind, what in steps
        )
        numbers = self._channels[node.output] = self._numbered(inner)
        return Op(node, numbers.ravel(), window, operands, epilogue)

    def _operand(self, node: Node, name: str, inner: Shape) -> Operand:
        """What an op whose output has the channels ``inner`` reads of a value, broadcast."""
        rank = len(inner) + 3
        if name in self._channels:
            numbers = self._channels[name]
            if numbers.ndim != len(inner):
                self._refuse(node, f"with {self._program.values[name]}")
            return np.broadcast_to(numbers, inner).ravel()
        shape = self._program.values[name].shape
        padded = (*[1] * (rank - len(shape)), *shape)
        if padded[0] not in (1, BATCH) or padded[-2:] != (1, 1):
            self._refuse(node, f"with {self._program.values[name]}, which depends on the place")
        elements = np.arange(np.prod(padded[1:-2], dtype=int)).reshape(padded[1:-2])
        return Fixed(name, np.broadcast_to(elements, inner).ravel())

    def _window(self, node: Node, x: str, weight: str, bias: str = "") -> Window:
        constants, a = self._program.constants, node.attributes
        if x not in self._channels or weight not in constants or (bias and bias not in constants):
            self._refuse(node, "with weights that are no constants")
        if tuple(a["stride"]) != (1, 1):
            self._refuse(node, f"of stride {tuple(a['stride'])}")
        kernel = _without_groups(constants[weight].astype(np.float64), a["groups"])
        (ph, pw), (dh, dw) = a["padding"], a["dilation"]
        rows, columns, weights = [], [], []
        for r, c in np.ndindex(kernel.shape[2:]):
            above, right = ph - r * dh, c * dw - pw
            if abs(above) < self._height and abs(right) < self._width and kernel[:, :, r, c].any():
                rows.append(above)
                columns.append(right)
                weights.append(kernel[:, :, r, c])
        return Window(
            self._channels[x],
            np.array(rows, dtype=np.int64),
            np.array(columns, dtype=np.int64),
            np.array(weights).reshape(-1, *kernel.shape[:2]),
            constants[bias].astype(np.float64) if bias else None,
        )

    def _refuse(self, node: Node, what: str = "") -> NoReturn:
        raise FastdiffError(
            "model: expected convolutions of stride 1 that keep rows and columns, elementwise ops "
            f"and moves of channels, got {' '.join(filter(None, (node.op, what)))} "
            f"at {node.path or 'the top module'}"
        )


def _without_groups(kernel: FloatArray, groups: int) -> FloatArray:
    """[out, in / groups, kh, kw] -> [out, in, kh, kw], zero between groups."""
    outputs, inputs, *size = kernel.shape
    whole = np.zeros((groups, outputs // groups, groups, inputs, *size))
    for g, part in enumerate(np.split(kernel, groups)):
        whole[g, :, g] = part
    return whole.reshape(outputs, groups * inputs, *size)
