"""Programs written node by node, by hand or at random."""

import numpy as np
import torch

from fastdiff.program.ir import BATCH, Node, Program, Value
from fastdiff.program.reference import apply


class Writer:
    """Writes a program of float32 inputs; the shape of an output is what the reference gives."""

    def __init__(self, inputs, seed=0):
        """``inputs``: the shape of one sample by name."""
        self.inputs = tuple(inputs)
        self.values = {name: Value((BATCH, *shape)) for name, shape in inputs.items()}
        self.constants, self.nodes = {}, []
        self.rng = np.random.default_rng(seed)

    def constant(self, *shape, scale=1.0, array=None):
        name = f"c{len(self.constants)}"
        if array is None:
            array = scale * self.rng.standard_normal(shape)
        self.constants[name] = np.asarray(array, dtype=np.float32)
        self.values[name] = Value(self.constants[name].shape)
        return name

    def op(self, op, *inputs, epilogue=(), **attributes):
        """A node; its output's name."""
        if epilogue:
            attributes["epilogue"] = epilogue
        name = f"v{len(self.nodes)}"
        node = Node(op, tuple(inputs), name, attributes, f"layer.{op}")
        out = apply(node, [self._example(i) if i else None for i in inputs], 2)
        shapes = [self.values[i].shape for i in inputs if i] + [attributes.get("shape", ())]
        batch = (BATCH,) if any(BATCH in shape for shape in shapes) else out.shape[:1]
        dtype = "int64" if out.dtype == torch.int64 else "float32"
        self.values[name] = Value((*batch, *out.shape[1:]), dtype)
        self.nodes.append(node)
        return name

    def program(self, *outputs):
        nodes = tuple(self.nodes)
        return Program("op", self.inputs, outputs, self.values, self.constants, nodes).check()

    def _example(self, name):
        value = self.values[name]
        if name in self.constants:
            return torch.from_numpy(self.constants[name])
        kind = torch.int64 if value.dtype == "int64" else torch.float32
        return torch.ones([2 if d == BATCH else d for d in value.shape], dtype=kind)


SHAPES = {"x": (4, 6, 6), "t": (1,), "context": (3,)}


def random_program(seed, ops=16):
    """A random program of x, t and context: images [B, 4, 6, 6], values of channels [B, 4, 1, 1].

    Numbers beside weights are powers of two: sums, products and quotients by them do not round.
    """
    w = Writer(SHAPES, seed)
    pool = ["x"]
    for name in ("t", "context"):
        row = w.op("linear", name, w.constant(4, *SHAPES[name]), w.constant(4))
        pool.append(w.op("reshape", row, shape=(BATCH, 4, 1, 1)))
    for _ in range(ops):
        rule = RULES[w.rng.integers(len(RULES))]
        pool.append(rule(w, *(pool[-1 - int(w.rng.integers(min(len(pool), 5)))] for _ in "ab")))
    made = [node.output for node in w.nodes if BATCH in w.values[node.output].shape]
    outputs = [pool[-1]] + [str(w.rng.choice(made)) for _ in range(w.rng.integers(3))]
    program = w.program(*dict.fromkeys(outputs))
    return program.with_nodes(program.nodes)  # without what nobody reads


def _unary(w, a, b):
    return w.op("unary", a, kind=str(w.rng.choice(["tanh", "relu", "sigmoid", "silu", "neg"])))


def _binary(w, a, b):
    return w.op("binary", a, b, kind=str(w.rng.choice(["add", "sub", "mul"])))


def _by_a_constant(w, a, b):
    kind = str(w.rng.choice(["add", "sub", "mul", "div"]))
    shape = [(), (1,), (4, 1, 1)][w.rng.integers(3)]
    array = 2.0 ** w.rng.integers(-1, 2, shape)
    if w.rng.integers(3) == 0:
        array = np.full(shape, 0.0 if kind in ("add", "sub") else 1.0)
    c = w.constant(array=array)
    if w.rng.integers(3) == 0:
        c = w.op("unary", c, kind="neg")
    swapped = kind != "div" and w.rng.integers(2)
    return w.op("binary", *((c, a) if swapped else (a, c)), kind=kind)


def _reshapes(w, a, b):
    shape = w.values[a].shape
    flat = w.op("reshape", a, shape=(BATCH, int(np.prod(shape[1:]))))
    if w.rng.integers(2):
        flat = w.op("unary", flat, kind="neg")
    return w.op("reshape", flat, shape=shape)


def _broadcast(w, a, b):
    if w.values[a].shape[1:] == SHAPES["x"]:  # a trace has no such broadcast
        return a
    return w.op("broadcast", a, shape=(BATCH, *SHAPES["x"]))


def _conv(w, a, b):
    pixels = w.values[a].shape[2]
    bias = w.constant(4) if w.rng.integers(2) else ""
    one = {"stride": (1, 1), "dilation": (1, 1), "groups": int(w.rng.choice([1, 2]))}
    kernel = 3 if pixels > 1 else 1
    weight = w.constant(4, 4 // one["groups"], kernel, kernel, scale=0.3)
    return w.op("conv2d", a, weight, bias, padding=(kernel // 2,) * 2, **one)


def _batch_norm(w, a, b):
    if w.rng.integers(2):
        a = _conv(w, a, b)
    variance = w.constant(array=w.rng.uniform(0.3, 2.0, 4))
    return w.op("batch_norm", a, w.constant(4), w.constant(4), w.constant(4), variance, eps=1e-5)


RULES = (
    _unary,
    _unary,
    _binary,
    _binary,
    _by_a_constant,
    _reshapes,
    _broadcast,
    _conv,
    _batch_norm,
)
