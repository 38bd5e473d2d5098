"""Small programs, written node by node, run by the native engine and, in float64, the reference."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")

from fastdiff.backends.native import runner_of
from fastdiff.program.binding import split
from fastdiff.program.engine_file import engine_bytes
from fastdiff.program.ir import BATCH, Node, Program, Value
from fastdiff.program.reference import apply, run
from fastdiff.samplers.table import INDEX
from fastdiff.schedules import course


class Writer:
    """Writes a program of x [B, 1, 1, N]: parts of x in any shape, ops on them, one output."""

    def __init__(self, elements):
        self.values = {"x": Value((BATCH, 1, 1, elements))}
        self.constants, self.nodes, self._at = {}, [], 0
        self.elements = elements
        self._rng = np.random.default_rng(elements)

    def constant(self, *shape, scale=1.0, array=None):
        name = f"c{len(self.constants)}"
        if array is None:
            array = scale * self._rng.standard_normal(shape)
        self.constants[name] = np.asarray(array, dtype=np.float32)
        self.values[name] = Value(self.constants[name].shape)
        return name

    def op(self, op, *inputs, epilogue=(), **attributes):
        """A node; its output's shape is what the reference gives."""
        if epilogue:
            attributes["epilogue"] = epilogue
        name = f"v{len(self.nodes)}"
        node = Node(op, tuple(inputs), name, attributes, f"layer.{op}")
        arguments = [self._example(i) if i else None for i in inputs]
        out = apply(node, arguments, 2)
        self.values[name] = Value(
            (BATCH, *out.shape[1:]), "int64" if out.dtype == torch.int64 else "float32"
        )
        self.nodes.append(node)
        return name

    def _example(self, name):
        value = self.values[name]
        if name in self.constants:
            return torch.from_numpy(self.constants[name])
        kind = torch.int64 if value.dtype == "int64" else torch.float32
        return torch.ones([2, *value.shape[1:]], dtype=kind)

    def part(self, *shape):
        """The next elements of x, as [B, *shape]."""
        size = int(np.prod(shape))
        assert self._at + size <= self.elements, (self._at, size, self.elements)
        cut = self.op("slice", "x", dim=3, start=self._at, stop=self._at + size, step=1)
        self._at += size
        return self.op("reshape", cut, shape=(BATCH, *shape))

    def program(self, output):
        """The whole: ``output``, filled up with what x has last, as [B, 1, 1, N]."""
        size = int(np.prod(self.values[output].shape[1:]))
        assert size <= self.elements, (size, self.elements)
        flat = self.op("reshape", output, shape=(BATCH, 1, 1, size))
        if size < self.elements:
            rest = self.op("slice", "x", dim=3, start=size, stop=self.elements, step=1)
            flat = self.op("concat", flat, rest, dim=3)
        inputs = ("x",)
        return Program(
            "op", inputs, (flat,), self.values, self.constants, tuple(self.nodes)
        ).check()


def runner(program, **options):
    """The program on the native engine."""
    elements = program.values["x"].shape[-1]
    row = np.zeros((1, len(INDEX)))
    data = engine_bytes(
        split(program),
        name=program.name,
        sample_shape=(1, 1, elements),
        context_width=0,
        labels=(),
        table=row,
        table_name="none",
        schedule=course().to_dict(),
    )
    return runner_of(data, **{"autotune": False, **options})


def error(program, batch=3, seed=0, **options):
    """(rms of the engine's error, of float32 torch's), both of the float64 output's rms."""
    elements = program.values["x"].shape[-1]
    x = np.random.default_rng(seed).standard_normal((batch, 1, 1, elements)).astype(np.float32)
    given = {"x": torch.from_numpy(x)}
    exact = run(program, {"x": given["x"].double()}, torch.float64)[0].numpy()
    single = run(program, given)[0].numpy()
    got = runner(program, **options).predict(x, np.zeros(batch, np.float32))
    assert np.isfinite(exact).all()
    scale = np.sqrt((exact**2).mean())

    def rms(array):
        return float(np.sqrt(((array - exact) ** 2).mean()) / scale)

    return rms(got), rms(single)
