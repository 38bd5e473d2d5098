"""fuse_elementwise: an elementwise op and its epilogue in one pass (``kernels/epilogue``)."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor

from fastdiff.cuda.rules.base import Arguments, Call, chain, refusal
from fastdiff.program.ir import Node, Program

STEPS = ("add", "mul")


def fuse_elementwise(node: Node, program: Program) -> Call | str | None:
    """unary, and sums and products, that an epilogue follows."""
    if node.op not in ("unary", "binary"):
        return None
    if not node.attributes.get("epilogue", ()):
        return "one step alone: torch's own kernel moves the same bytes"
    return one_pass(node, program)


def one_pass(node: Node, program: Program) -> Call | str:
    """A unary or binary op and its epilogue, if it has one; or why no kernel takes them."""
    begun = _begin(node, program)
    if isinstance(begun, str):
        return begun
    base, first = begun
    steps = chain([first, *node.attributes.get("epilogue", ())])
    shape = program.values[node.output].shape
    reason = refusal(steps, node, program, shape)
    if reason is not None:
        return reason
    channel_dim = 1 if len(shape) == 4 else -1

    def run(arguments: Arguments, batch: int) -> Tensor:
        from fastdiff.kernels.epilogue import epilogue as kernel

        x = cast(Tensor, arguments[base])
        out = kernel(x, None, steps.steps, steps.of(arguments), channel_dim=channel_dim)
        return cast(Tensor, out)

    def into(arguments: Arguments, batch: int, slot: Tensor, dense: bool) -> Tensor:
        from fastdiff.kernels.epilogue_into import epilogue_into

        x, operands = cast(Tensor, arguments[base]), steps.of(arguments)
        out = epilogue_into(x, slot, None, steps.steps, operands, channel_dim, dense)
        return cast(Tensor, out)

    return Call(run, frozenset(steps.operands) - {base}, into if len(shape) == 4 else None)


def _begin(node: Node, program: Program) -> tuple[int, tuple[str, Any]] | str:
    """Which input the kernel walks over, and the op itself as the first step; or why not."""
    kind, value = node.attributes["kind"], program.values[node.output]
    whole = [k for k, name in enumerate(node.inputs[:2]) if program.values[name] == value]
    if node.op == "unary":
        return (0, ("unary", kind)) if whole else "its input has another dtype than its output"
    if kind not in STEPS:
        return f"{kind} is no step of an epilogue"
    if not whole:
        return "both operands are broadcast"
    return whole[0], (kind, 1 - whole[0])
