"""What aten's ops are in a program's: one handler an op, given its arguments by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from fastdiff.errors import FastdiffError
from fastdiff.program.ir import BATCH

if TYPE_CHECKING:
    from fastdiff.program.trace import _Tracer

Given = dict[str, Any]
Handler = Callable[["_Tracer", fx.Node, Given], Any]
HANDLERS: dict[str, Handler] = {}
# Ops that are nothing in inference, and the argument that they pass on.
UNDONE = {
    "clone": "self",
    "contiguous": "input",
    "alias": "self",
    "detach": "self",
    "detach_": "self",
    "dropout": "input",
    "lift_fresh_copy": "self",
}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Registers a handler for these aten ops."""

    def register(handler: Handler) -> Handler:
        for name in names:
            HANDLERS[name] = handler
        return handler

    return register


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (int(value[0]), int(value[-1]))


@handles("conv2d")
def _conv2d(t: _Tracer, node: fx.Node, a: Given) -> str:
    dilation, padding = _pair(a["dilation"]), a["padding"]
    if isinstance(padding, str):
        kernel = node.args[1].meta["val"].shape[2:]  # type: ignore[union-attr]
        reach = tuple(d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        if padding == "same" and any(r % 2 for r in reach):
            raise FastdiffError("model: expected odd kernels under padding 'same', got even ones")
        padding = [r // 2 for r in reach] if padding == "same" else [0, 0]
    x, begin = a["input"], _pair(padding)
    end = begin
    if x in t.padded:
        x, before, after = t.padded[x]
        begin = (begin[0] + before[0], begin[1] + before[1])
        end = (end[0] + after[0], end[1] + after[1])
    uneven: Given = {} if end == begin else {"padding_end": end}
    return t.emit(
        node, "conv2d", [x, a["weight"], a["bias"]],
        stride=_pair(a["stride"]), padding=begin, dilation=dilation, groups=a["groups"], **uneven,
    )  # fmt: skip


@handles("pad", "constant_pad_nd")
def _pad(t: _Tracer, node: fx.Node, a: Given) -> str:
    """Zeros around an image: concatenations, but for convolutions, which pad for themselves."""
    x, pads = t.name_of(a["self"]), a["pad"]
    shape = t.value(x).shape
    left, right, top, bottom = (*pads, 0, 0)[:4]
    if (
        a.get("mode", "constant") != "constant"
        or a["value"]
        or len(shape) != 4
        or len(pads) not in (2, 4)
        or min(pads) < 0
    ):
        raise FastdiffError(
            "model: expected zeros around images where there is padding, got "
            f"{a.get('mode', 'constant')} padding {list(pads)} with {a['value'] or 0} of "
            f"{t.value(x)} (backend 'eager' can run it)"
        )
    padded, size = x, list(shape)
    for dim, before, after in ((3, left, right), (2, top, bottom)):
        parts = [padded]
        for place, count in ((0, before), (len(parts) + (before > 0), after)):
            if count:
                strip = tuple(count if d == dim else s for d, s in enumerate(size))
                zeros = torch.zeros((1, *strip[1:]))
                wide = t.emit_shaped("broadcast", [zeros], strip, shape=strip)
                parts.insert(place, wide)
        if len(parts) > 1:
            size[dim] += before + after
            padded = t.emit_shaped("concat", parts, tuple(size), dim=dim)
    if padded != x:
        t.padded[padded] = (x, (top, left), (bottom, right))
    return padded


@handles("conv_transpose2d")
def _conv_transpose2d(t: _Tracer, node: fx.Node, a: Given) -> str:
    return t.emit(
        node, "conv_transpose2d", [a["input"], a["weight"], a["bias"]],
        stride=_pair(a["stride"]), padding=_pair(a["padding"]),
        output_padding=_pair(a["output_padding"]), dilation=_pair(a["dilation"]),
        groups=a["groups"],
    )  # fmt: skip


@handles("linear")
def _linear(t: _Tracer, node: fx.Node, a: Given) -> str:
    return t.emit(node, "linear", [a["input"], a["weight"], a["bias"]])


@handles("matmul", "mm", "bmm")
def _matmul(t: _Tracer, node: fx.Node, a: Given) -> str:
    return t.emit(node, "matmul", [a["self"], a.get("other", a.get("mat2"))])


@handles("_native_batch_norm_legit_no_training", "batch_norm", "_native_batch_norm_legit")
def _batch_norm(t: _Tracer, node: fx.Node, a: Given) -> list[str | None]:
    inputs = [a["input"], a["weight"], a["bias"], a["running_mean"], a["running_var"]]
    return [t.emit(node, "batch_norm", inputs, output=0, eps=a["eps"]), None, None]


@handles("group_norm")
def _group_norm(t: _Tracer, node: fx.Node, a: Given) -> str:
    inputs = [a["input"], a["weight"], a["bias"]]
    return t.emit(node, "group_norm", inputs, groups=a["num_groups"], eps=a["eps"])


@handles("layer_norm")
def _layer_norm(t: _Tracer, node: fx.Node, a: Given) -> str:
    inputs = [a["input"], a["weight"], a["bias"]]
    return t.emit(node, "layer_norm", inputs, dims=len(a["normalized_shape"]), eps=a["eps"])


@handles(
    "relu", "silu", "sigmoid", "tanh", "exp", "log", "sin", "cos", "sqrt", "rsqrt", "neg", "abs"
)
def _unary(t: _Tracer, node: fx.Node, a: Given) -> str:
    return t.emit(node, "unary", [a["self"]], kind=str(node.target._opname))  # type: ignore[union-attr]


@handles("gelu")
def _gelu(t: _Tracer, node: fx.Node, a: Given) -> str:
    kind = "gelu" if a["approximate"] == "none" else "gelu_tanh"
    return t.emit(node, "unary", [a["self"]], kind=kind)


@handles("elu")
def _elu(t: _Tracer, node: fx.Node, a: Given) -> str:
    if (a["scale"], a["input_scale"]) != (1, 1):
        raise FastdiffError(
            "model: expected elu of scale and input scale 1, "
            f"got {a['scale']:g} and {a['input_scale']:g}"
        )
    y = t.emit(node, "unary", [a["self"]], kind="elu")
    if a["alpha"] == 1:
        return y
    # relu(x) + alpha (elu(x) - relu(x))
    above = t.emit(node, "unary", [a["self"]], kind="relu")
    below = t.emit(node, "binary", [y, above], kind="sub")
    below = t.emit(node, "binary", [below, a["alpha"]], kind="mul")
    return t.emit(node, "binary", [above, below], kind="add")


def _binary(kind: str) -> Handler:
    def handler(t: _Tracer, node: fx.Node, a: Given) -> str:
        first, second = a["self"], a.get("other", a.get("exponent"))
        if a.get("alpha", 1) != 1:
            raise FastdiffError(f"model: expected {kind} without alpha, got alpha {a['alpha']}")
        return t.emit(node, "binary", [first, second], kind=kind)

    return handler


for _kind in ("add", "sub", "mul", "div", "pow"):
    handles(_kind)(_binary(_kind))


@handles("rsub")
def _rsub(t: _Tracer, node: fx.Node, a: Given) -> str:
    return t.emit(node, "binary", [a["other"], a["self"]], kind="sub")


@handles("reciprocal")
def _reciprocal(t: _Tracer, node: fx.Node, a: Given) -> str:
    return t.emit(node, "binary", [1.0, a["self"]], kind="div")


@handles("cat")
def _cat(t: _Tracer, node: fx.Node, a: Given) -> str:
    rank = len(t.shape(node))
    return t.emit(node, "concat", a["tensors"], dim=a["dim"] % rank)


@handles("slice")
def _slice(t: _Tracer, node: fx.Node, a: Given) -> Any:
    size = t.value(a["self"]).shape
    dim = a["dim"] % len(size)
    start, stop = a["start"] or 0, a["end"]
    if size[dim] == BATCH:
        if start == 0 and (stop is None or stop > 1 << 60) and a["step"] == 1:
            return a["self"]
        raise FastdiffError("model: expected a batch that is not cut, got a slice of it")
    start = max(0, start + size[dim] if start < 0 else start)
    stop = size[dim] if stop is None else min(size[dim], stop + size[dim] if stop < 0 else stop)
    return _part(t, a["self"], dim, start, stop, a["step"])


@handles("split", "split_with_sizes", "chunk")
def _split(t: _Tracer, node: fx.Node, a: Given) -> list[Any]:
    dim = a["dim"] % len(t.value(a["self"]).shape)
    sizes = [t.shape(node, k)[dim] for k in range(len(node.meta["val"]))]
    ends = [sum(sizes[: k + 1]) for k in range(len(sizes))]
    return [_part(t, a["self"], dim, end - n, end, 1) for n, end in zip(sizes, ends, strict=True)]


@handles("select")
def _select(t: _Tracer, node: fx.Node, a: Given) -> str:
    size = t.value(a["self"]).shape
    dim = a["dim"] % len(size)
    if size[dim] == BATCH:
        raise FastdiffError("model: expected a batch that is not cut, got a choice from it")
    index = a["index"] % size[dim]
    one = _part(t, a["self"], dim, index, index + 1, 1)
    return t.emit(node, "reshape", [one], shape=t.shape(node))


def _part(t: _Tracer, x: str, dim: int, start: int, stop: int, step: int) -> str:
    value = t.value(x)
    shape = list(value.shape)
    shape[dim] = max(0, -(-(stop - start) // step))
    if tuple(shape) == value.shape:
        return x
    return t.emit_shaped(
        "slice", [x], tuple(shape), value.dtype, dim=dim, start=start, stop=stop, step=step
    )


@handles("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze")
def _reshape(t: _Tracer, node: fx.Node, a: Given) -> str:
    x, shape = a["self"], t.shape(node)
    if t.value(x).shape == shape:
        return str(x)
    return t.emit(node, "reshape", [x], shape=shape)


@handles("permute", "transpose", "t", "numpy_T")
def _permute(t: _Tracer, node: fx.Node, a: Given) -> str:
    rank = len(t.shape(node))
    dims = list(range(rank))
    if "dims" in a:
        dims = [d % rank for d in a["dims"]]
    else:
        one, other = a.get("dim0", 0) % rank, a.get("dim1", 1) % rank
        dims[one], dims[other] = dims[other], dims[one]
    return t.emit(node, "permute", [a["self"]], dims=tuple(dims))


@handles("expand")
def _expand(t: _Tracer, node: fx.Node, a: Given) -> str:
    x, shape = a["self"], t.shape(node)
    if isinstance(x, str) and t.value(x).shape == shape:
        return x
    return t.emit(node, "broadcast", [x], shape=shape)


@handles("full", "zeros", "ones", "full_like", "zeros_like", "ones_like", "new_zeros", "new_ones")
def _full(t: _Tracer, node: fx.Node, a: Given) -> str:
    name = str(node.target._opname)  # type: ignore[union-attr]
    value = a.get("fill_value", 1.0 if "ones" in name else 0.0)
    return t.emit(node, "broadcast", [value], shape=t.shape(node))


@handles("max_pool2d", "avg_pool2d")
def _pool(t: _Tracer, node: fx.Node, a: Given) -> str:
    kernel = _pair(a["kernel_size"])
    padding, odd = _pair(a["padding"]), a["ceil_mode"] or set(_pair(a.get("dilation", 1))) != {1}
    kind = "max" if "max" in str(node.target._opname) else "mean"  # type: ignore[union-attr]
    if odd or (kind == "mean" and (any(padding) or a["divisor_override"])):
        raise FastdiffError(f"model: expected a plain {kind} pool, got {a}")
    stride = _pair(a["stride"] or kernel)
    return t.emit(
        node, "pool", [a["self"]], kind=kind, kernel=kernel, stride=stride, padding=padding
    )


@handles("adaptive_avg_pool2d", "_adaptive_avg_pool2d")
def _global_mean(t: _Tracer, node: fx.Node, a: Given) -> str:
    if list(a["output_size"]) != [1, 1]:
        raise FastdiffError(f"model: expected adaptive pooling to 1x1, got {a['output_size']}")
    return t.emit(node, "mean", [a["self"]], dims=(2, 3), keep=True)


@handles("mean")
def _mean(t: _Tracer, node: fx.Node, a: Given) -> str:
    rank = len(t.value(a["self"]).shape)
    dims = tuple(sorted(d % rank for d in (a["dim"] or range(rank))))
    if 0 in dims:
        raise FastdiffError("model: expected a mean of each sample, got one over the batch")
    return t.emit(node, "mean", [a["self"]], dims=dims, keep=bool(a["keepdim"]))


@handles("upsample_nearest2d")
def _upsample(t: _Tracer, node: fx.Node, a: Given) -> str:
    x = a["self"] if "self" in a else a["input"]
    before, after = t.value(x).shape, t.shape(node)
    scale = (after[2] // before[2], after[3] // before[3])
    if (before[2] * scale[0], before[3] * scale[1]) != after[2:]:
        raise FastdiffError(f"model: expected a whole upsampling factor, got {before} to {after}")
    return t.emit(node, "upsample", [x], scale=scale)


@handles("pixel_shuffle")
def _pixel_shuffle(t: _Tracer, node: fx.Node, a: Given) -> str:
    return t.emit(node, "pixel_shuffle", [a["self"]], factor=a["upscale_factor"])


@handles("pixel_unshuffle")
def _pixel_unshuffle(t: _Tracer, node: fx.Node, a: Given) -> str:
    return t.emit(node, "pixel_unshuffle", [a["self"]], factor=a["downscale_factor"])


@handles("softmax", "_softmax")
def _softmax(t: _Tracer, node: fx.Node, a: Given) -> str:
    return t.emit(node, "softmax", [a["self"]], dim=a["dim"] % len(t.shape(node)))


@handles("scaled_dot_product_attention")
def _attention(t: _Tracer, node: fx.Node, a: Given) -> str:
    if a["attn_mask"] is not None or a["is_causal"]:
        raise FastdiffError("model: expected attention without a mask, got one with")
    width = t.value(a["query"]).shape[-1]
    scale = a["scale"] if a["scale"] is not None else width**-0.5
    return t.emit(node, "attention", [a["query"], a["key"], a["value"]], scale=float(scale))


@handles("embedding")
def _embedding(t: _Tracer, node: fx.Node, a: Given) -> str:
    return t.emit(node, "embedding", [a["weight"], a["indices"]])


@handles("_to_copy", "to")
def _cast(t: _Tracer, node: fx.Node, a: Given) -> str:
    value, dtype = t.value(a["self"]), t._dtype(node)
    if value.dtype == dtype:
        return str(a["self"])
    return t.emit(node, "cast", [a["self"]], dtype=dtype)
