"""The reference of every op, in torch, and a program run by it: obvious, never optimised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fastdiff.program.ir import BATCH, Node, Program

Op = Callable[..., Tensor]


def run(
    program: Program, inputs: Mapping[str, Tensor], dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """The program's outputs, in ``dtype`` wherever it has floats.

    ``inputs``: a tensor [B, ...] for each input; integers stay what they are.
    """

    def put(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    known = {name: put(torch.from_numpy(array)) for name, array in program.constants.items()}
    known |= {name: put(inputs[name]) for name in program.inputs}
    batch = len(next(iter(inputs.values()))) if inputs else 1
    with torch.no_grad():
        for node in program.nodes:
            arguments = [known[name] if name else None for name in node.inputs]
            known[node.output] = apply(node, arguments, batch)
    return [known[name] for name in program.outputs]


def apply(node: Node, arguments: list[Tensor | None], batch: int) -> Tensor:
    """One op's output; ``batch`` stands where its attributes say ``BATCH``."""
    attributes = dict(node.attributes)
    if "shape" in attributes:
        attributes["shape"] = [batch if d == BATCH else d for d in attributes["shape"]]
    epilogue, pool = attributes.pop("epilogue", ()), attributes.pop("pool", None)
    operands = sum(step != "unary" for step, _ in epilogue)
    out = REFERENCE[node.op](*arguments[: len(arguments) - operands], **attributes)
    for step, what in epilogue:
        out = _UNARY[what](out) if step == "unary" else _BINARY[step](out, arguments[what])
    if pool is not None:
        kind, window = pool
        out = _pool(out, kind, window, window, (0, 0))
    return out


def _batch_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float
) -> Any:
    return functional.batch_norm(x, mean, var, gamma, beta, False, 0.0, eps)


def _layer_norm(x: Tensor, gamma: Tensor | None, beta: Tensor | None, dims: int, eps: float) -> Any:
    return functional.layer_norm(x, x.shape[-dims:], gamma, beta, eps)


def _conv2d(x: Tensor, w: Tensor, b: Tensor | None = None, **a: Any) -> Tensor:
    end = a.pop("padding_end", None)
    if end is not None:
        (top, left), (bottom, right) = a.pop("padding"), end
        x = functional.pad(x, (left, right, top, bottom))
    return functional.conv2d(x, w, b, **a)


def _pool(x: Tensor, kind: str, kernel: Any, stride: Any, padding: Any) -> Tensor:
    if kind == "max":
        return functional.max_pool2d(x, kernel, stride, padding)
    return functional.avg_pool2d(x, kernel, stride, padding)


_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "elu": functional.elu,
    "exp": torch.exp,
    "log": torch.log,
    "sin": torch.sin,
    "cos": torch.cos,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "neg": torch.neg,
    "abs": torch.abs,
}
_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "pow": torch.pow,
}
_CAST = {"float32": torch.float32, "int64": torch.int64}

REFERENCE: dict[str, Op] = {
    "conv2d": _conv2d,
    "conv_transpose2d": lambda x, w, b, **a: functional.conv_transpose2d(
        x, w, b, a["stride"], a["padding"], a["output_padding"], a["groups"], a["dilation"]
    ),
    "linear": functional.linear,
    "matmul": torch.matmul,
    "batch_norm": _batch_norm,
    "group_norm": lambda x, gamma, beta, groups, eps: functional.group_norm(
        x, groups, gamma, beta, eps
    ),
    "layer_norm": _layer_norm,
    "unary": lambda x, kind: _UNARY[kind](x),
    "binary": lambda a, b, kind: _BINARY[kind](a, b),
    "concat": lambda *xs, dim: torch.cat(xs, dim),
    "slice": lambda x, dim, start, stop, step: x[
        (slice(None),) * dim + (slice(start, stop, step),)
    ],
    "reshape": lambda x, shape: x.reshape(shape),
    "permute": lambda x, dims: x.permute(dims),
    "broadcast": lambda x, shape: x.expand(shape),
    "pool": _pool,
    "mean": lambda x, dims, keep: x.mean(dims, keepdim=keep),
    "upsample": lambda x, scale: x.repeat_interleave(scale[0], 2).repeat_interleave(scale[1], 3),
    "pixel_shuffle": lambda x, **a: functional.pixel_shuffle(x, a["factor"]),
    "pixel_unshuffle": lambda x, **a: functional.pixel_unshuffle(x, a["factor"]),
    "softmax": torch.softmax,
    "attention": lambda q, k, v, scale: torch.softmax(scale * q @ k.transpose(-1, -2), -1) @ v,
    "embedding": lambda table, index: table[index],
    "cast": lambda x, dtype: x.to(
        torch.get_default_dtype() if x.is_floating_point() and dtype == "float32" else _CAST[dtype]
    ),
}
