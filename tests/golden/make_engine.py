"""Writes tiny.fdiff, an engine file of a few KB with every op that one can hold, and the files that
fuzzing starts from (tests/fuzz/corpus).

The network means nothing; every shape is small and no two dimensions are alike where they need not
be, so that a mixed-up axis shows. ``network`` is also what tests take apart.
"""

from pathlib import Path

import numpy as np

from fastdiff.program.binding import Split, split
from fastdiff.program.engine_file import autoregressive_bytes, engine_bytes
from fastdiff.program.ir import BATCH, Node, Program, Value
from fastdiff.program.passes.fuse_epilogue import fuse_epilogue
from fastdiff.program.passes.fuse_pool import fuse_pool
from fastdiff.samplers import build_table
from fastdiff.schedules import course

PLAIN = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}


class Builder:
    """A program, node by node."""

    def __init__(self) -> None:
        self.values = {
            "x": Value((BATCH, 2, 8, 6)),
            "t": Value((BATCH,)),
            "context": Value((BATCH, 3)),
        }
        self.constants = {}
        self.nodes = []
        self.random = np.random.default_rng(0)

    def weight(self, *shape):
        name = f"c{len(self.constants)}"
        # Halves and quarters: the file's text stays readable, the values exact.
        array = self.random.integers(-4, 5, shape).astype(np.float32) / 4
        return self.constant(name, array)

    def constant(self, name, array):
        self.constants[name] = array
        self.values[name] = Value(array.shape, str(array.dtype))
        return name

    def node(self, op, inputs, shape, dtype="float32", /, **attributes):
        name = f"v{len(self.nodes)}"
        self.values[name] = Value((BATCH, *shape), dtype)
        self.nodes.append(Node(op, tuple(inputs), name, attributes, f"net.{op}"))
        return name


def network() -> Split:
    """Inputs x [B,2,8,6], t [B], context [B,3]; the output has x's shape."""
    b = Builder()
    n, w = b.node, b.weight
    # row: t as a number in two waves, and as a whole number in a table of embeddings
    t1 = n("reshape", ["t"], (1,), shape=(BATCH, 1))
    angle = n("binary", [t1, w(2)], (2,), kind="mul")
    waves = n("concat", [n("unary", [angle], (2,), kind=k) for k in ("sin", "cos")], (4,), dim=1)
    e = n("linear", [waves, w(4, 4), w(4)], (4,))
    e = n("unary", [e], (4,), kind="silu")
    whole = n("cast", ["t"], (), "int64", dtype="int64")
    e = n("binary", [e, n("embedding", [w(5, 4), whole], (4,))], (4,), kind="add")
    row = n("reshape", [e], (4, 1, 1), shape=(BATCH, 4, 1, 1))
    # request, and both
    c = n("linear", ["context", w(4, 3), ""], (4,))
    c = n("softmax", [c], (4,), dim=1)
    request = n("reshape", [c], (4, 1, 1), shape=(BATCH, 4, 1, 1))
    both = n("binary", [row, request], (4, 1, 1), kind="mul")
    # step
    h = n("conv2d", ["x", w(4, 2, 3, 3), w(4)], (4, 8, 6), **PLAIN)
    h = n("unary", [h], (4, 8, 6), kind="gelu")
    h = n("binary", [h, row], (4, 8, 6), kind="add")
    h = n("group_norm", [h, w(4), w(4)], (4, 8, 6), groups=2, eps=1e-5)
    h = n("binary", [h, both], (4, 8, 6), kind="mul")
    top = h
    h = n("pool", [h], (4, 4, 3), kind="max", kernel=(2, 2), stride=(2, 2), padding=(0, 0))
    h = n("conv2d", [h, w(4, 2, 3, 3), ""], (4, 4, 3), **{**PLAIN, "groups": 2})
    low = h
    q = n("reshape", [h], (2, 2, 12), shape=(BATCH, 2, 2, 12))
    q = n("permute", [q], (2, 12, 2), dims=(0, 1, 3, 2))
    a = n("attention", [q, q, q], (2, 12, 2), scale=0.5)
    a = n("layer_norm", [a, w(2), w(2)], (2, 12, 2), dims=1, eps=1e-6)
    keys = n("permute", [q], (2, 2, 12), dims=(0, 1, 3, 2))
    scores = n("softmax", [n("matmul", [q, keys], (2, 12, 12))], (2, 12, 12), dim=3)
    a = n("binary", [a, n("matmul", [scores, q], (2, 12, 2))], (2, 12, 2), kind="sub")
    a = n("permute", [a], (2, 2, 12), dims=(0, 1, 3, 2))
    a = n("reshape", [a], (4, 4, 3), shape=(BATCH, 4, 4, 3))
    h = n("binary", [a, low], (4, 4, 3), kind="add")
    mean = n("mean", [h], (4, 1, 1), dims=(2, 3), keep=True)
    spread = n("broadcast", [mean], (4, 4, 3), shape=(BATCH, 4, 4, 3))
    h = n("concat", [h, spread], (8, 4, 3), dim=1)
    up = n("pixel_shuffle", [h], (2, 8, 6), factor=2)
    down = n("pixel_unshuffle", [up], (8, 4, 3), factor=2)
    part = n("slice", [down], (4, 4, 3), dim=1, start=1, stop=8, step=2)
    h = n("upsample", [part], (4, 16, 12), scale=(4, 4))
    h = n("conv2d", [h, w(4, 4, 3, 3), ""], (4, 16, 12), **PLAIN)
    h = n("unary", [h], (4, 16, 12), kind="relu")
    h = n("pool", [h], (4, 8, 6), kind="mean", kernel=(2, 2), stride=(2, 2), padding=(0, 0))
    h = n("concat", [h, top, up], (10, 8, 6), dim=1)
    transposed = {**PLAIN, "output_padding": (0, 0)}
    h = n("conv_transpose2d", [h, w(10, 2, 3, 3), w(2)], (2, 8, 6), **transposed)
    h = n("binary", [h, w()], (2, 8, 6), kind="mul")
    program = Program(
        "tiny", ("x", "t", "context"), (h,), b.values, b.constants, tuple(b.nodes)
    ).check()
    parts = split(program).parts()
    return Split(**{time: fuse_pool(fuse_epilogue(part)) for time, part in parts.items()})


def tiny() -> bytes:
    """The engine file of ``network`` with four rows of DDIM."""
    schedule = course()
    table = build_table("ddim", schedule, 4)
    return engine_bytes(
        network(),
        name="tiny",
        sample_shape=(2, 8, 6),
        context_width=3,
        labels=("a", "b", "\N{GREEK SMALL LETTER GAMMA}"),
        table=table.rows,
        table_name=table.name,
        init_scale=table.init_scale,
        to_noise=table.to_noise,
        schedule=schedule.to_dict(),
    )


def small() -> bytes:
    """An engine file of one convolution and one sum, without context."""
    b = Builder()
    b.values = {"x": Value((BATCH, 1, 4, 4)), "t": Value((BATCH,))}
    t = b.node("reshape", ["t"], (1, 1, 1), shape=(BATCH, 1, 1, 1))
    h = b.node("conv2d", ["x", b.weight(1, 1, 1, 1), ""], (1, 4, 4), **{**PLAIN, "padding": (0, 0)})
    h = b.node("binary", [h, t], (1, 4, 4), kind="add")
    program = Program("small", ("x", "t"), (h,), b.values, b.constants, tuple(b.nodes)).check()
    rows = np.zeros((1, 19))
    rows[:, [1, 6, 12, 14]] = 1
    return engine_bytes(
        split(program),
        name="small",
        sample_shape=(1, 4, 4),
        context_width=0,
        labels=(),
        table=rows,
        table_name="plain",
        to_noise=True,
        schedule={"kind": "linear"},
    )


def pixels() -> bytes:
    """An autoregressive model's file: two colours, four levels, a gate, a context, 3x4 pixels."""
    b = Builder()
    b.values = {"x": Value((BATCH, 2, 3, 4)), "context": Value((BATCH, 3))}
    n, w = b.node, b.weight
    seen = np.zeros((4, 2, 3, 3), dtype=np.float32)  # rows above, and to the left
    seen[:, :, 0] = seen[:, :, 1, 0] = 1
    seen[2:, :1, 1, 1] = 1  # the second colour's features see the first
    by_colour = np.kron(np.tril(np.ones((2, 2))), np.ones((2, 2))).astype(np.float32)
    first = b.constant("first", b.random.integers(-4, 5, (4, 2, 3, 3)).astype(np.float32) * seen)
    last = b.random.integers(-4, 5, (8, 4)).astype(np.float32)
    last *= np.repeat(by_colour, 2, axis=0)
    shift = n("linear", ["context", w(4, 3), ""], (4,))
    shift = n("reshape", [shift], (4, 1, 1), shape=(BATCH, 4, 1, 1))
    h = n("conv2d", ["x", first, w(4)], (4, 3, 4), **PLAIN)
    h = n("binary", [h, shift], (4, 3, 4), kind="add")
    gate = n("unary", [h], (4, 3, 4), kind="sigmoid")
    h = n("binary", [n("unary", [h], (4, 3, 4), kind="tanh"), gate], (4, 3, 4), kind="mul")
    flat = b.constant("last", last[:, :, None, None])
    h = n("conv2d", [h, flat, w(8)], (8, 3, 4), **{**PLAIN, "padding": (0, 0)})
    h = n("reshape", [h], (2, 4, 3, 4), shape=(BATCH, 2, 4, 3, 4))
    h = n("permute", [h], (4, 2, 3, 4), dims=(0, 2, 1, 3, 4))
    program = Program("pixels", ("x", "context"), (h,), b.values, b.constants, tuple(b.nodes))
    parts = split(program.check()).parts()
    return autoregressive_bytes(
        Split(**{time: fuse_epilogue(part) for time, part in parts.items()}),
        name="pixels",
        sample_shape=(2, 3, 4),
        levels=4,
        input_scale=2 / 3,
        input_shift=-1.0,
        context_width=3,
        labels=(),
    )


if __name__ == "__main__":
    golden = Path(__file__).parent
    corpus = golden.parent / "fuzz" / "corpus"
    (golden / "tiny.fdiff").write_bytes(tiny())
    (corpus / "tiny.fdiff").write_bytes(tiny())
    (corpus / "small.fdiff").write_bytes(small())
    (golden / "pixels.fdiff").write_bytes(pixels())
    for folder in (corpus, corpus.parent / "corpus_run"):
        (folder / "pixels.fdiff").write_bytes(pixels())
    (corpus / "newer.fdiff").write_bytes(small().replace(b'format\\":1', b'format\\":2'))
