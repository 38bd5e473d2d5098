"""fuse_norm: group and layer norms with their gains and what follows, in one kernel
(``kernels/group_norm_act``)."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from fastdiff.cuda.rules.base import Arguments, Call, Chain, chain, refusal
from fastdiff.program.ir import Node, Program


def fuse_norm(node: Node, program: Program) -> Call | str | None:
    """group_norm of images, layer_norm over features or over whole images."""
    if node.op not in ("group_norm", "layer_norm"):
        return None
    from fastdiff.kernels.blocks import last_blocks

    value = program.values[node.output]
    steps = chain(node.attributes.get("epilogue", ()))
    whole = node.op == "layer_norm" and node.attributes["dims"] == len(value.shape) - 1 == 3
    if whole:  # a gain for each element is a step like any other
        steps = _with_gains(node, steps)
    elif node.op == "layer_norm" and node.attributes["dims"] != 1:
        return f"a layer norm over the last {node.attributes['dims']} of {value}"
    elif node.op == "group_norm" and len(value.shape) != 4:
        return f"a group norm of {value}, not of images"
    by_rows = node.op == "layer_norm" and not whole
    blocks = last_blocks(len(value.shape), 1) if by_rows else None
    reason = refusal(steps, node, program, value.shape, blocks)
    if reason is not None:
        return reason
    float32 = frozenset({1, 2, *steps.operands})
    eps = float(node.attributes["eps"])
    groups = 1 if whole else node.attributes.get("groups", 0)

    def run(arguments: Arguments, batch: int) -> Tensor:
        from fastdiff.kernels.group_norm_act import group_norm_act
        from fastdiff.kernels.layer_norm_act import layer_norm_act

        x, gains = cast(Tensor, arguments[0]), list(arguments[1:3]) + [None] * 2
        operands = steps.of(arguments)
        if groups:
            gamma, beta = (None, None) if whole else gains[:2]
            out = group_norm_act(x, groups, gamma, beta, eps, steps.steps, operands)
        else:
            out = layer_norm_act(x, gains[0], gains[1], eps, steps.steps, operands)
        return cast(Tensor, out)

    return Call(run, float32 & frozenset(range(len(node.inputs))))


def _with_gains(node: Node, steps: Chain) -> Chain:
    gains = [(k, kind) for k, kind in ((1, "mul"), (2, "add")) if node.inputs[k : k + 1] > ("",)]
    epilogue = node.attributes.get("epilogue", ())
    return chain([*((kind, k) for k, kind in gains), *epilogue])
