"""Program: a model as a list of few, standard ops over named values.

Shapes are static but for the batch, written ``BATCH``, which only ever is a value's first
dimension. Nodes stand in an order in which they can be run. Programs are values: passes make new
ones. Needs NumPy alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy.typing as npt

from fastdiff.errors import FastdiffError

BATCH: Final = -1
Shape = tuple[int, ...]
Array = npt.NDArray[Any]

# Every op that a program may hold, with its attributes. Inputs in brackets may be absent ("").
OPS: Final[Mapping[str, tuple[str, ...]]] = {
    "conv2d": ("stride", "padding", "dilation", "groups"),  # x, weight, [bias]
    "conv_transpose2d": ("stride", "padding", "output_padding", "dilation", "groups"),
    "linear": (),  # x, weight [out, in], [bias]
    "matmul": (),  # a, b
    "batch_norm": ("eps",),  # x, gamma, beta, mean, variance: folded away
    "group_norm": ("groups", "eps"),  # x, [gamma], [beta]
    "layer_norm": ("dims", "eps"),  # x, [gamma], [beta]: over the last dims
    "unary": ("kind",),  # relu, gelu, gelu_tanh, silu, sigmoid, tanh, elu, exp, log, sin, ...
    "binary": ("kind",),  # add, sub, mul, div, pow: broadcasting
    "concat": ("dim",),  # any number
    "slice": ("dim", "start", "stop", "step"),
    "reshape": ("shape",),
    "permute": ("dims",),
    "broadcast": ("shape",),
    "pool": ("kind", "kernel", "stride", "padding"),  # max, mean
    "mean": ("dims", "keep"),
    "upsample": ("scale",),  # nearest
    "pixel_shuffle": ("factor",),
    "pixel_unshuffle": ("factor",),
    "softmax": ("dim",),
    "attention": ("scale",),  # q, k, v [B, heads, N, D]
    "embedding": (),  # table, index
    "cast": ("dtype",),
}
# Ops whose output may pass through an "epilogue" before it is written: a tuple of steps, each
# ("unary", kind), ("add", i) or ("mul", i) with i the operand among the node's inputs.
EPILOGUE_HOSTS: Final = (
    *("conv2d", "conv_transpose2d", "linear", "matmul", "group_norm", "layer_norm"),
    *("pool", "unary", "binary"),
)
MAX_EPILOGUE: Final = 8  # steps
# Ops whose output may then pass through a pool of windows side by side: an attribute "pool", (kind,
# (rows, columns)). The value is what the pool makes; the epilogue's operands are of what it reads.
POOL_HOSTS: Final = ("conv2d",)
# Ops that may have another "padding_end", at the bottom and the right, than "padding".
UNEVEN_HOSTS: Final = ("conv2d",)
# What "kind" may be.
ACTIVATIONS: Final = ("relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh", "elu")
UNARY: Final = (*ACTIVATIONS, "exp", "log", "sin", "cos", "sqrt", "rsqrt", "neg", "abs")
BINARY: Final = ("add", "sub", "mul", "div", "pow")
KINDS: Final = {"unary": UNARY, "binary": BINARY, "pool": ("max", "mean")}


@dataclass(frozen=True)
class Value:
    """``shape``: ``BATCH`` for the batch. ``dtype``: NumPy's name, ``float32`` or ``int64``."""

    shape: Shape
    dtype: str = "float32"

    def __str__(self) -> str:
        inside = ",".join("B" if d == BATCH else str(d) for d in self.shape)
        return f"[{inside}]" + ("" if self.dtype == "float32" else f" {self.dtype}")


@dataclass(frozen=True)
class Node:
    """``output = op(inputs)``; ``path``: the module that it came from, for people."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""

    def __str__(self) -> str:
        told = [*OPS[self.op], *(k for k in ("padding_end",) if k in self.attributes)]
        attributes = [f"{k}={_text(self.attributes[k], k)}" for k in told]
        if self.op in ("unary", "binary"):  # the kind says it all
            head, attributes = str(self.attributes["kind"]), []
        else:
            head = self.op
        epilogue = self.attributes.get("epilogue", ())
        operands = sum(step[0] != "unary" for step in epilogue)
        own = self.inputs[: len(self.inputs) - operands]
        text = f"{head}({', '.join([*(name or 'none' for name in own), *attributes])})"
        for step, what in epilogue:
            text += f" > {what}" if step == "unary" else f" > {step} {self.inputs[what]}"
        if "pool" in self.attributes:
            kind, window = self.attributes["pool"]
            text += f" > {kind} pool {_text(window)}"
        return text


@dataclass(frozen=True)
class Program:
    """``inputs`` and ``outputs`` name values; ``constants`` holds the arrays that are no input."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: Mapping[str, Value]
    constants: Mapping[str, Array]
    nodes: tuple[Node, ...]

    def check(self) -> Program:
        """This program; raises FastdiffError where it is not one."""
        known = {*self.inputs, *self.constants}
        for node in self.nodes:
            _check_attributes(node)
            for name in filter(None, node.inputs):
                if name not in known:
                    raise FastdiffError(
                        f"program: {node.output!r} reads {name!r} before it is made"
                    )
            if node.output in known:
                raise FastdiffError(f"program: {node.output!r} is made twice")
            known.add(node.output)
        for name in (*self.inputs, *self.outputs, *known):
            if name not in self.values or name not in known:
                raise FastdiffError(f"program: {name!r} is used and never made")
            if BATCH in self.values[name].shape[1:]:
                raise FastdiffError(f"program: {name!r} has its batch inside, {self.values[name]}")
        for name, array in self.constants.items():
            if self.values[name] != Value(array.shape, str(array.dtype)):
                raise FastdiffError(f"program: constant {name!r} is not {self.values[name]}")
        return self

    def with_nodes(
        self,
        nodes: Iterable[Node],
        values: Mapping[str, Value] | None = None,
        constants: Mapping[str, Array] | None = None,
        outputs: tuple[str, ...] | None = None,
    ) -> Program:
        """This program with other nodes and more values and constants; what nobody reads is left
        out.
        """
        outputs = self.outputs if outputs is None else outputs
        arrays = {**self.constants, **(constants or {})}
        known = {**self.values, **(values or {})}
        for name in constants or {}:
            known[name] = Value(arrays[name].shape, str(arrays[name].dtype))
        kept: list[Node] = []
        wanted = set(outputs)
        for node in reversed(list(nodes)):
            if node.output in wanted:
                kept.append(node)
                wanted |= set(filter(None, node.inputs))
        kept.reverse()
        used = {*self.inputs, *wanted, *(n.output for n in kept)}
        return replace(
            self,
            nodes=tuple(kept),
            outputs=outputs,
            values={k: v for k, v in known.items() if k in used},
            constants={k: v for k, v in arrays.items() if k in used},
        )

    def readers(self) -> dict[str, list[Node]]:
        """The nodes that read each value; outputs have no node that stands for them."""
        found: dict[str, list[Node]] = {name: [] for name in self.values}
        for node in self.nodes:
            for name in dict.fromkeys(filter(None, node.inputs)):
                found[name].append(node)
        return found

    def __str__(self) -> str:
        """The program as text, one line a node."""
        inputs = ", ".join(f"{name} {self.values[name]}" for name in self.inputs)
        outputs = ", ".join(f"{name} {self.values[name]}" for name in self.outputs)
        elements = sum(a.size for a in self.constants.values())
        lines = [
            f"{self.name}: {inputs} -> {outputs}",
            f"{len(self.nodes)} ops, {len(self.constants)} constants of {elements:,} elements",
        ]
        width = max((len(n.output) for n in self.nodes), default=0)
        sizes = max((len(str(self.values[n.output])) for n in self.nodes), default=0)
        for node in self.nodes:
            value = str(self.values[node.output])
            note = f"  # {node.path}" if node.path else ""
            lines.append(f"  {node.output:<{width}} {value:<{sizes}} = {node}{note}")
        return "\n".join(lines)


def _check_attributes(node: Node) -> None:
    if node.op not in OPS:
        raise FastdiffError(f"program: expected ops of its list, got {node.op!r}")
    extra = {"epilogue"} if node.op in EPILOGUE_HOSTS else set()
    extra |= {"pool"} if node.op in POOL_HOSTS else set()
    extra |= {"padding_end"} if node.op in UNEVEN_HOSTS else set()
    if set(node.attributes) - extra != set(OPS[node.op]):
        raise FastdiffError(
            f"program: {node.op} {node.output!r} expected attributes "
            f"{', '.join(OPS[node.op]) or 'none'}, got {', '.join(node.attributes) or 'none'}"
        )
    kinds = KINDS.get(node.op)
    if kinds is not None and node.attributes["kind"] not in kinds:
        raise FastdiffError(
            f"program: {node.op} {node.output!r} expected one of {', '.join(kinds)}, "
            f"got {node.attributes['kind']!r}"
        )
    if "pool" in node.attributes and not _is_pool(node.attributes["pool"]):
        raise FastdiffError(
            f"program: {node.op} {node.output!r} expected a pool ('max' or 'mean', "
            f"(rows, columns)), got {node.attributes['pool']!r}"
        )


def _is_pool(pool: Any) -> bool:
    match pool:
        case (str(kind), (int(rows), int(columns))):
            return kind in KINDS["pool"] and min(rows, columns) >= 1
    return False


def _text(value: Any, key: str = "") -> str:
    if key == "shape":
        return str(Value(value))
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, tuple):
        return "[" + ",".join(_text(v) for v in value) + "]"
    return str(value)
