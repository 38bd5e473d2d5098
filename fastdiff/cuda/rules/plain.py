"""plain: what no kernel of ours does better, by torch as the op's definition says."""

from __future__ import annotations

from fastdiff.cuda.rules.base import Call
from fastdiff.program.ir import Node, Program
from fastdiff.program.reference import apply


def plain(node: Node, program: Program) -> Call | str | None:
    """Any node: its reference in torch, on the device where its inputs are."""
    return Call(lambda arguments, batch: apply(node, list(arguments), batch))
