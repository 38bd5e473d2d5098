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

    def group_norm(arguments: Arguments, slot: Tensor | None = None, dense: bool = True) -> Tensor:
        from fastdiff.kernels.group_norm_act import group_norm_act

        x = cast(Tensor, arguments[0])
        gamma, beta = (None, None) if whole else _gains(arguments)
        rest = (gamma, beta, eps, steps.steps, steps.of(arguments))
        return cast(Tensor, group_norm_act(x, groups, *rest, slot=slot, dense=dense))

    def layer_norm(arguments: Arguments, batch: int) -> Tensor:
        from fastdiff.kernels.layer_norm_act import layer_norm_act

        x, operands = cast(Tensor, arguments[0]), steps.of(arguments)
        return cast(Tensor, layer_norm_act(x, *_gains(arguments), eps, steps.steps, operands))

    float32 &= frozenset(range(len(node.inputs)))
    if by_rows:
        return Call(layer_norm, float32)
    return Call(
        lambda arguments, batch: group_norm(arguments),
        float32,
        lambda arguments, batch, slot, dense: group_norm(arguments, slot, dense),
    )


def _gains(arguments: Arguments) -> tuple[Tensor | None, Tensor | None]:
    gamma, beta = [*arguments[1:3], None, None][:2]
    return gamma, beta


def _with_gains(node: Node, steps: Chain) -> Chain:
    gains = [(k, kind) for k, kind in ((1, "mul"), (2, "add")) if node.inputs[k : k + 1] > ("",)]
    epilogue = node.attributes.get("epilogue", ())
    return chain([*((kind, k) for k, kind in gains), *epilogue])
