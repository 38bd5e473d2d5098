"""Small modules and what tests of passes ask of their programs."""

import torch

from fastdiff.program.reference import run
from fastdiff.program.trace import trace


class Wrapped(torch.nn.Module):
    """A function as a module."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x, t):
        return self.f(x, t)


def small(f):
    """The program of f(x, t) or of such a module, for x [B, 4] and t [B]."""
    module = f if isinstance(f, torch.nn.Module) else Wrapped(f)
    return trace(module, {"x": torch.randn(2, 4), "t": torch.rand(2)})


def ops(program):
    """The ops in order, those of one kind by it: "conv2d", "tanh", "add"."""
    return [n.attributes["kind"] if n.op in ("unary", "binary") else n.op for n in program.nodes]


def given(program, batch=5):
    """Random float64 inputs."""
    generator = torch.Generator().manual_seed(batch)
    return {
        name: torch.randn((batch, *program.values[name].shape[1:]), generator=generator).double()
        for name in program.inputs
    }


def difference(before, after):
    """The largest difference of two programs' outputs in float64, of the largest output or 1."""
    inputs = given(before)
    pairs = zip(*(run(p, inputs, torch.float64) for p in (before, after)), strict=True)
    return max(float((a - b).abs().max() / max(1.0, a.abs().max())) for a, b in pairs)
