"""tidy: the same program in fewer and fewer kinds of ops.

Reshapes of reshapes become one, reshapes to the same shape none; a difference from or a quotient by
a constant becomes a sum or a product, since x * (1 / c) is the multiplication that later passes
know how to put into a weight or an epilogue; a value is not spread out for an op that broadcasts by
itself, and not multiplied by 1; what depends on constants alone is computed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastdiff.program.ir import BATCH, Array, Node, Program, Value

_ANY = 1 << 40


def tidy(program: Program) -> Program:
    """``program`` tidied; rounding differs by one multiplication where a quotient was."""
    constants: dict[str, Array] = dict(program.constants)
    values: dict[str, Value] = dict(program.values)
    same: dict[str, str] = {}  # value -> the value that it is equal to
    made: dict[str, Node] = {}
    for original in program.nodes:
        node = replace(original, inputs=tuple(same.get(name, name) for name in original.inputs))
        kept = None
        if node.op == "reshape":
            node, kept = _reshape(node, made, values)
        elif node.op == "binary":
            node = _unbroadcast(_plain(node, constants, values), made, values)
            kept = _unchanged(node, constants, values)
        if kept is not None:
            same[node.output] = kept
            continue
        if _computable(node, constants, values):
            constants[node.output] = _computed(node, constants)
            continue
        made[node.output] = node
    outputs = tuple(same.get(name, name) for name in program.outputs)
    new = {name: array for name, array in constants.items() if name not in program.constants}
    return program.with_nodes(made.values(), values, new, outputs).check()


def _reshape(
    node: Node, made: dict[str, Node], values: dict[str, Value]
) -> tuple[Node, str | None]:
    """(one reshape for a chain of them, the value that it is if the shape is the same)."""
    before = made.get(node.inputs[0])
    if before is not None and before.op == "reshape":
        node = replace(node, inputs=before.inputs)
    same = values[node.inputs[0]].shape == values[node.output].shape
    return node, node.inputs[0] if same else None


def _plain(node: Node, constants: dict[str, Array], values: dict[str, Value]) -> Node:
    """x - c as x + (-c), x / c as x * (1 / c)."""
    kind, (first, second) = node.attributes["kind"], node.inputs
    if kind not in ("sub", "div") or second not in constants or first in constants:
        return node
    array = constants[second].astype(np.float64)
    if kind == "div" and not array.all():
        return node
    name = f"{second}.{'negative' if kind == 'sub' else 'inverse'}"
    # asarray: arithmetic makes NumPy numbers of arrays without dimensions.
    constants[name] = np.asarray(-array if kind == "sub" else 1.0 / array, dtype=np.float32)
    values[name] = Value(constants[name].shape)
    kind = "add" if kind == "sub" else "mul"
    return replace(node, inputs=(first, name), attributes={"kind": kind})


def _unbroadcast(node: Node, made: dict[str, Node], values: dict[str, Value]) -> Node:
    """A binary op on values as they were before a broadcast, where it broadcasts them itself."""
    inputs = list(node.inputs)
    for k, name in enumerate(node.inputs):
        before = made.get(name)
        if before is None or before.op != "broadcast":
            continue
        shapes = [values[before.inputs[0]].shape, values[inputs[1 - k]].shape]
        # No real dimension is as large as this stand-in for the batch.
        sizes = [tuple(_ANY if d == BATCH else d for d in shape) for shape in shapes]
        wanted = tuple(_ANY if d == BATCH else d for d in values[node.output].shape)
        try:
            if np.broadcast_shapes(*sizes) == wanted:
                inputs[k] = before.inputs[0]
        except ValueError:
            continue
    return replace(node, inputs=tuple(inputs))


def _unchanged(node: Node, constants: dict[str, Array], values: dict[str, Value]) -> str | None:
    """The input that a product by 1 or a sum with 0 leaves as it is."""
    neutral = {"mul": 1.0, "add": 0.0}.get(node.attributes["kind"])
    for k, name in enumerate(node.inputs):
        other = node.inputs[1 - k]
        if neutral is None or name not in constants or values[other] != values[node.output]:
            continue
        if (constants[name] == neutral).all():
            return other
    return None


def _computable(node: Node, constants: dict[str, Array], values: dict[str, Value]) -> bool:
    known = all(name in constants for name in filter(None, node.inputs))
    return known and BATCH not in values[node.output].shape


def _computed(node: Node, constants: dict[str, Array]) -> Array:
    import torch

    from fastdiff.program.reference import apply

    arguments = [torch.from_numpy(constants[name]) if name else None for name in node.inputs]
    with torch.no_grad():
        return np.ascontiguousarray(apply(node, arguments, 1).numpy())
