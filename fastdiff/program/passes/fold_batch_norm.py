"""fold_batch_norm: batch norms into the convolution before them, or into a product and a sum.

In inference a batch norm is y = s x + o with s = gamma / sqrt(variance + eps) and o = beta -
s mean, a number for each channel. Behind a convolution or a linear layer that nobody else reads, s
goes into the weights of each output channel and o into the bias; elsewhere it stays as a product
and a sum. Computed in float64, rounded once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastdiff.program.ir import Array, Node, Program, Value

# Where the output channels stand in the weight.
CHANNELS = {"conv2d": 0, "linear": 0, "conv_transpose2d": 1}


def fold_batch_norm(program: Program) -> Program:
    """``program`` without batch norms; outputs differ by rounding."""
    readers = program.readers()
    made = {node.output: node for node in program.nodes}
    constants: dict[str, Array] = {}
    values: dict[str, Value] = {}
    nodes: dict[str, Node] = {}
    for node in program.nodes:
        if node.op != "batch_norm":
            nodes[node.output] = node
            continue
        scale, offset = _scale_and_offset(program, node)
        before = made.get(node.inputs[0])
        if (
            before is not None
            and _takes(program, before)
            and len(readers[before.output]) == 1
            and before.output not in program.outputs
        ):
            weight, bias = (f"{node.output}.{part}" for part in ("weight", "bias"))
            shape = [1] * program.constants[before.inputs[1]].ndim
            shape[CHANNELS[before.op]] = -1
            old = program.constants[before.inputs[1]].astype(np.float64)
            constants[weight] = (old * scale.reshape(shape)).astype(np.float32)
            if before.inputs[2]:
                offset = offset + scale * program.constants[before.inputs[2]].astype(np.float64)
            constants[bias] = offset.astype(np.float32)
            del nodes[before.output]
            nodes[node.output] = replace(
                before, inputs=(before.inputs[0], weight, bias), output=node.output
            )
            continue
        rank = len(program.values[node.output].shape)
        x = node.inputs[0]
        for kind, array in (("mul", scale), ("add", offset)):
            name = f"{node.output}.{kind}"
            constants[name] = array.astype(np.float32).reshape(-1, *[1] * (rank - 2))
            output = node.output if kind == "add" else f"{node.output}.scaled"
            values[output] = program.values[node.output]
            nodes[output] = Node("binary", (x, name), output, {"kind": kind}, node.path)
            x = output
    return program.with_nodes(nodes.values(), values, constants).check()


def _scale_and_offset(program: Program, node: Node) -> tuple[Array, Array]:
    _, gamma, beta, mean, variance = node.inputs
    arrays = [
        program.constants[name].astype(np.float64) if name else None
        for name in (gamma, beta, mean, variance)
    ]
    scale = 1.0 / np.sqrt(arrays[3] + node.attributes["eps"])
    scale = scale if arrays[0] is None else scale * arrays[0]
    offset = -scale * arrays[2]
    return scale, offset if arrays[1] is None else offset + arrays[1]


def _takes(program: Program, node: Node) -> bool:
    """Whether a node's weights can take a factor for each of its output channels."""
    if node.op not in CHANNELS or node.inputs[1] not in program.constants:
        return False
    if node.inputs[2] and node.inputs[2] not in program.constants:
        return False
    if node.op == "linear":  # of tokens: a batch norm is over dimension 1, the channels are last
        return len(program.values[node.output].shape) == 2
    return node.op != "conv_transpose2d" or node.attributes["groups"] == 1
