"""The rewriting rules, one a file: those that a node is offered to, in their order, and
``join_concat``, which sees what they made of all nodes."""

from __future__ import annotations

from collections.abc import Sequence

from fastdiff.cuda.rules.attention import fuse_attention
from fastdiff.cuda.rules.base import Call, Match, Rule
from fastdiff.cuda.rules.concat import Place, join_concat
from fastdiff.cuda.rules.elementwise import fuse_elementwise
from fastdiff.cuda.rules.epilogue import fuse_epilogue
from fastdiff.cuda.rules.norm import fuse_norm
from fastdiff.cuda.rules.plain import plain
from fastdiff.cuda.rules.upsample import native_upsample
from fastdiff.program.ir import Node, Program

# The last one takes everything.
RULES: Sequence[Rule] = (
    fuse_attention,
    fuse_norm,
    fuse_epilogue,
    fuse_elementwise,
    native_upsample,
    plain,
)


def match(node: Node, program: Program, rules: Sequence[Rule] = RULES) -> Match:
    """The first rule's call that takes the node; rules that are not about its op are not heard."""
    refusals: list[tuple[str, str]] = []
    for rule in rules:
        found = rule(node, program)
        if isinstance(found, Call):
            return Match(node, rule.__name__, found, tuple(refusals))
        if found is not None:
            refusals.append((rule.__name__, found))
    raise AssertionError(f"no rule takes {node.op}")


__all__ = ["RULES", "Call", "Match", "Place", "Rule", "join_concat", "match"]
