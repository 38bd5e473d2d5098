"""The table of an autoregressive program: its ops, taps, groups and rings, as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdiff.pixelcnn.network import Fixed, IntArray, Network, Op, Operand
from fastdiff.pixelcnn.wavefront import Group, Wavefront


def table_of(wavefront: Wavefront) -> dict[str, Any]:
    """``wavefront`` as dicts, lists, strings and integers.

    ``values``: name, channels and ring rows, x first. ``ops``: in their order, each with the groups
    in which its output is evaluated; ``reads`` of a group are the taps of a convolution, each with
    the channels that pass through it. Channels are [value, [channel, ...]] pairs in their order.
    """
    n = wavefront.network
    return {
        "name": n.program.name,
        "colours": n.colours,
        "height": n.height,
        "width": n.width,
        "levels": n.levels,
        "slope": wavefront.slope,
        "subtimes": [wavefront.subtimes.start, wavefront.subtimes.stop],
        "values": [
            {"name": value, "channels": len(numbers), "rows": wavefront.rows[value]}
            for value, numbers in n.stored.items()
        ],
        "ops": [_op(wavefront, op) for op in n.ops],
        "logits": [_channels(n, n.logits[:, c]) for c in range(n.colours)],
    }


def _op(wavefront: Wavefront, op: Op) -> dict[str, Any]:
    n = wavefront.network
    own = len(op.node.inputs) - sum(operand is not None for _, operand in op.epilogue)
    return {
        "op": op.node.op if op.window else op.node.attributes["kind"],
        "output": op.node.output,
        "path": op.node.path,
        "weights": list(filter(None, op.node.inputs[1:own])) if op.window else [],
        "operands": [_operand(n, operand) for operand in op.operands],
        "epilogue": [
            [kind, operand if operand is None else _operand(n, operand)]
            for kind, operand in op.epilogue
        ],
        "groups": [_group(n, op, group) for group in wavefront.groups[op.node.output]],
    }


def _group(network: Network, op: Op, group: Group) -> dict[str, Any]:
    reads = []
    if op.window is not None:
        taps, inputs = op.window.columns(group.members)
        for tap in np.unique(taps):
            reads.append({
                "rows_above": int(op.window.rows_above[tap]),
                "columns_right": int(op.window.columns_right[tap]),
                "channels": _channels(network, op.window.channels[inputs[taps == tap]]),
            })  # fmt: skip
    return {"lookahead": group.lookahead, "channels": group.members.tolist(), "reads": reads}


def _operand(network: Network, operand: Operand) -> Any:
    if isinstance(operand, Fixed):
        return {"fixed": operand.name, "elements": operand.elements.tolist()}
    return _channels(network, operand)


def _channels(network: Network, numbers: IntArray) -> list[Any]:
    """Numbers as [value, [channel, ...]] pairs, neighbours of one value in one."""
    values = list(network.stored)
    firsts = np.array([own[0] for own in network.stored.values()])
    found: list[Any] = []
    for number, k in zip(numbers, np.searchsorted(firsts, numbers, "right") - 1, strict=True):
        if not found or found[-1][0] != values[k]:
            found.append([values[k], []])
        found[-1][1].append(int(number - firsts[k]))
    return found
