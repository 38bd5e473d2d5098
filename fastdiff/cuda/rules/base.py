"""What a rewriting rule is: from a node of a program to the call that runs in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from fastdiff.program.ir import BATCH, Node, Program, Shape

Arguments = Sequence[Tensor | None]


@dataclass(frozen=True)
class Call:
    """``run(arguments, batch)``: the node's output of its inputs, in their order.

    ``float32``: which of the inputs may be float32 where everything else is in half precision:
    biases, gains, what is added or multiplied in an epilogue.

    ``into(arguments, batch, slot, dense)``, where the kernel can: the output written into ``slot``,
    channels of a concatenation, and with ``dense`` as a tensor of its own, too. Returns the latter,
    else the slot.
    """

    run: Callable[[Arguments, int], Tensor]
    float32: frozenset[int] = frozenset()
    into: Callable[[Arguments, int, Tensor, bool], Tensor] | None = None


@dataclass(frozen=True)
class Match:
    """The call that a node became, by which rule, and why others did not match, or in part."""

    node: Node
    rule: str
    call: Call
    refusals: tuple[tuple[str, str], ...]


class Rule(Protocol):
    """A function with a name: a ``Call``, a sentence that says why not, or None where the op is
    none of its."""

    __name__: str

    def __call__(self, node: Node, program: Program) -> Call | str | None:
        """What becomes of the node."""
        ...


@dataclass(frozen=True)
class Chain:
    """A node's epilogue as the kernels take it: steps, and which of the node's inputs they read.

    ``steps``: ("unary", kind), ("add", k), ("mul", k) with k into ``operands``, which are indices
    of the node's inputs.
    """

    steps: tuple[tuple[str, Any], ...]
    operands: tuple[int, ...]

    def of(self, arguments: Arguments) -> list[Tensor]:
        """The operands among a call's arguments."""
        found = [arguments[k] for k in self.operands]
        return [tensor for tensor in found if tensor is not None]


def chain(steps: Sequence[tuple[str, Any]]) -> Chain:
    """An epilogue, its operands numbered anew: not by their place among the node's inputs."""
    operands = list(dict.fromkeys(what for kind, what in steps if kind != "unary"))
    return Chain(
        tuple((k, what if k == "unary" else operands.index(what)) for k, what in steps),
        tuple(operands),
    )


def refusal(
    steps: Chain, node: Node, program: Program, shape: Shape, blocks: Any = None
) -> str | None:
    """Why no kernel takes a chain on a node's output of ``shape``, in one sentence; or None.

    ``blocks``: what the kernel takes for samples, channels and pixels (``kernels/blocks``).
    """
    from fastdiff.kernels.steps import fits

    def sized(name: str) -> Tensor:
        # Any batch but 1, which would look as if it were broadcast.
        sizes = [2 if size == BATCH else size for size in program.values[name].shape]
        return torch.empty(sizes, device="meta")

    operands = [sized(node.inputs[k]) for k in steps.operands]
    sizes = [2 if size == BATCH else size for size in shape]
    reason: str | None = fits(steps.steps, operands, sizes, blocks)
    return reason
