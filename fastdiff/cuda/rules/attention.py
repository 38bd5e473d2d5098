"""fuse_attention: softmax(scale q k^T) v without the matrix in between (``kernels/attention``)."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from fastdiff.cuda.rules.base import Arguments, Call
from fastdiff.program.ir import Node, Program

MAX_HEAD = 128


def fuse_attention(node: Node, program: Program) -> Call | str | None:
    """attention of heads up to 128 wide, whatever the strides of q, k and v."""
    if node.op != "attention":
        return None
    shape = program.values[node.inputs[0]].shape
    if len(shape) != 4:
        return f"q is {program.values[node.inputs[0]]}, not [B, heads, N, D]"
    if shape[-1] > MAX_HEAD:
        return f"heads are {shape[-1]} wide, the kernel takes at most {MAX_HEAD}"
    scale = float(node.attributes["scale"])

    def run(arguments: Arguments, batch: int) -> Tensor:
        from fastdiff.kernels.attention import attention

        q, k, v = (cast(Tensor, argument) for argument in arguments)
        return cast(Tensor, attention(q, k, v, scale))

    return Call(run)
