"""fuse_epilogue: bias, activation, products and sums behind a convolution or a matrix product.

The product itself is cuDNN's or cuBLAS's; what follows it becomes one pass over its output
(``kernels/epilogue``) instead of one for the bias and one for each step.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor
from torch.nn import functional

from fastdiff.cuda.rules.base import Arguments, Call, chain, refusal
from fastdiff.program.ir import Node, Program
from fastdiff.program.reference import apply

HOSTS = ("conv2d", "conv_transpose2d", "linear", "matmul")


def fuse_epilogue(node: Node, program: Program) -> Call | str | None:
    """conv2d, conv_transpose2d, linear and matmul with a bias or an epilogue."""
    if node.op not in HOSTS:
        return None
    from fastdiff.kernels.blocks import channel_blocks

    steps = chain(node.attributes.get("epilogue", ()))
    biased = node.op != "matmul" and len(node.inputs) > 2 and bool(node.inputs[2])
    if not steps.steps and not biased:
        return "nothing follows it"
    shape = _shape_before_pool(node, program)
    channel_dim = 1 if node.op.startswith("conv") else -1
    blocks = channel_blocks(len(shape), channel_dim)
    reason = refusal(steps, node, program, shape, blocks)
    if reason is not None:
        return reason
    attributes = {k: v for k, v in node.attributes.items() if k not in ("epilogue", "pool")}
    count = 2 if node.op == "matmul" else 3
    bare = Node(node.op, (*node.inputs[:2], "")[:count], node.output, attributes)
    pool = node.attributes.get("pool")

    def run(arguments: Arguments, batch: int) -> Tensor:
        from fastdiff.kernels.epilogue import epilogue_

        product = apply(bare, [*arguments[:2], None][:count], batch)
        bias = arguments[2] if biased else None
        out = epilogue_(product, bias, steps.steps, steps.of(arguments), channel_dim=channel_dim)
        return cast(Tensor, out) if pool is None else _pooled(out, *pool)

    def into(arguments: Arguments, batch: int, slot: Tensor, dense: bool) -> Tensor:
        from fastdiff.kernels.epilogue import epilogue_
        from fastdiff.kernels.epilogue_into import epilogue_into

        product = apply(bare, [*arguments[:2], None][:count], batch)
        bias, operands = arguments[2] if biased else None, steps.of(arguments)
        if dense:
            out = epilogue_(product, bias, steps.steps, operands, channel_dim, slot)
        else:
            out = epilogue_into(product, slot, bias, steps.steps, operands, channel_dim)
        return cast(Tensor, out)

    joins = node.op.startswith("conv") and pool is None
    float32 = frozenset({*steps.operands, *((2,) if biased else ())})
    return Call(run, float32, into if joins else None)


def _pooled(x: Tensor, kind: str, window: tuple[int, int]) -> Tensor:
    pool = functional.max_pool2d if kind == "max" else functional.avg_pool2d
    return pool(x, window, window)


def _shape_before_pool(node: Node, program: Program) -> tuple[int, ...]:
    shape = program.values[node.output].shape
    if "pool" not in node.attributes:
        return shape
    rows, columns = node.attributes["pool"][1]
    return (*shape[:2], shape[2] * rows, shape[3] * columns)
