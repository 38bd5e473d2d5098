"""native_upsample: nearest upsampling by torch's own kernel, which keeps channels last; the
reference's two repeat_interleave make two copies and ask the host for sizes."""

from __future__ import annotations

from typing import cast

from torch import Tensor
from torch.nn import functional

from fastdiff.cuda.rules.base import Arguments, Call
from fastdiff.program.ir import Node, Program


def native_upsample(node: Node, program: Program) -> Call | str | None:
    """upsample, by any whole factors."""
    if node.op != "upsample":
        return None
    rows, columns = node.attributes["scale"]
    height, width = program.values[node.inputs[0]].shape[2:]
    size = (height * rows, width * columns)

    def run(arguments: Arguments, batch: int) -> Tensor:
        return functional.interpolate(cast(Tensor, arguments[0]), size, mode="nearest-exact")

    return Call(run)
