"""Small programs, written node by node, run by the native engine and, in float64, the reference."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")

from fastdiff.backends.native import runner_of
from fastdiff.program.binding import split
from fastdiff.program.engine_file import engine_bytes
from fastdiff.program.ir import BATCH
from fastdiff.program.reference import run
from fastdiff.samplers.table import INDEX
from fastdiff.schedules import course
from tests.program import writer


class Writer(writer.Writer):
    """Writes a program of x [B, 1, 1, N]: parts of x in any shape, ops on them, one output."""

    def __init__(self, elements):
        super().__init__({"x": (1, 1, elements)}, seed=elements)
        self.elements, self._at = elements, 0

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
        return super().program(flat)


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
