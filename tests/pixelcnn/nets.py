"""Autoregressive networks as programs, written op by op, and what they do by brute force.

A network is causal by construction: every channel carries a *label* (row, column, colour), the last
input in raster order, relative to its own place, that it may see; (-1, inf, 0) is all rows above.
Weights that would let it see more are zero.
"""

from math import inf

import numpy as np
import torch

from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.pixelcnn.dependencies import analyse
from fastdiff.pixelcnn.evaluator import Evaluator
from fastdiff.pixelcnn.incremental import draw
from fastdiff.program.ir import BATCH, Node, Program, Value
from fastdiff.program.passes.fuse_epilogue import fuse_epilogue
from fastdiff.program.reference import apply


class Net:
    """Writes a program of x [B, colours, height, width]; a value is known by its name."""

    def __init__(self, colours=1, height=6, width=6, levels=3, seed=0):
        self.colours, self.height, self.width, self.levels = colours, height, width, levels
        self.values = {"x": Value((BATCH, colours, height, width))}
        self.labels = {"x": [(0, 0, c) for c in range(colours)]}
        self.inputs, self.constants, self.nodes = ["x"], {}, []
        self.rng = np.random.default_rng(seed)

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array, dtype=np.float32)
        self.values[name] = Value(self.constants[name].shape)
        return name

    def of_request(self, channels, height=1, width=1):
        """A value that the request makes: a number for each sample and channel, but for sizes."""
        name = f"request{len(self.inputs)}"
        self.inputs.append(name)
        self.values[name] = Value((BATCH, channels, height, width))
        return name

    def op(self, op, *inputs, labels=None, **attributes):
        name = f"v{len(self.nodes) + 1}"
        node = Node(op, inputs, name, attributes, f"net.{op}{len(self.nodes) + 1}")
        examples = [
            torch.from_numpy(self.constants[i])
            if i in self.constants
            else torch.ones(2, *self.values[i].shape[1:])
            for i in inputs
            if i
        ]
        given = iter(examples)
        out = apply(node, [next(given) if i else None for i in inputs], 2)
        self.values[name] = Value((BATCH, *out.shape[1:]))
        self.labels[name] = labels
        self.nodes.append(node)
        return name

    def conv(self, x, labels, kernel=(3, 3), dilation=(1, 1), *, density=1.0, groups=1, free=None):
        """A convolution to channels of these labels; ``free``: a tap that obeys no label."""
        sees, (kh, kw), (dh, dw) = self.labels[x], kernel, dilation
        padding = (dh * (kh - 1) // 2, dw * (kw - 1) // 2)
        inputs = len(sees) // groups
        weight = self.rng.standard_normal((len(labels), inputs, kh, kw))
        weight *= self.rng.random(weight.shape) < density
        for o, i, r, c in np.ndindex(weight.shape):
            row, column, colour = sees[i + o // (len(labels) // groups) * inputs]
            seen = (row + r * dh - padding[0], column + c * dw - padding[1], colour)
            if seen > tuple(labels[o]) and (r, c) != free:
                weight[o, i, r, c] = 0
        weight *= (inputs * kh * kw) ** -0.5
        bias = self.constant(self.rng.standard_normal(len(labels)))
        return self.op(
            "conv2d", x, self.constant(weight), bias, labels=list(labels), stride=(1, 1),
            padding=padding, dilation=dilation, groups=groups,
        )  # fmt: skip

    def unary(self, x, kind):
        return self.op("unary", x, kind=kind, labels=self.labels[x])

    def both(self, a, b, kind="add"):
        """A sum or product of two values of as many channels; ``b`` may be fixed."""
        others = self.labels.get(b) or self.labels[a]
        labels = [max(pair) for pair in zip(self.labels[a], others, strict=True)]
        return self.op("binary", a, b, kind=kind, labels=labels)

    def part(self, x, start, stop, step=1):
        labels = self.labels[x][start:stop:step]
        return self.op("slice", x, dim=1, start=start, stop=stop, step=step, labels=labels)

    def concat(self, *xs):
        return self.op("concat", *xs, dim=1, labels=[k for x in xs for k in self.labels[x]])

    def gate(self, x):
        """tanh of one half by the sigmoid of the other."""
        half = len(self.labels[x]) // 2
        a, b = self.part(x, 0, half), self.part(x, half, 2 * half)
        return self.both(self.unary(a, "tanh"), self.unary(b, "sigmoid"), "mul")

    def logits(self, x, kernel=(1, 1), colour_first=False, **options):
        """The program, ended by a convolution to the logits and their reshape."""
        C, L, size = self.colours, self.levels, (self.height, self.width)
        before = [(0, 0, c - 1) for c in range(C)]
        labels = [k for k in before for _ in range(L)] if colour_first else before * L
        out = self.conv(x, labels, kernel, **options)
        if colour_first:
            out = self.op("reshape", out, shape=(BATCH, C, L, *size))
            out = self.op("permute", out, dims=(0, 2, 1, 3, 4))
        else:
            out = self.op("reshape", out, shape=(BATCH, L, C, *size))
        return self.program(out)

    def program(self, output, fuse=True):
        program = Program(
            "net", tuple(self.inputs), (output,), self.values, self.constants, tuple(self.nodes)
        )
        program = program.with_nodes(self.nodes).check()
        return fuse_epilogue(program) if fuse else program


def evaluate(program, given):
    """The program's output in float64, with gradients."""
    known = {k: torch.from_numpy(a).double() for k, a in program.constants.items()} | given
    for node in program.nodes:
        arguments = [known[name] if name else None for name in node.inputs]
        known[node.output] = apply(node, arguments, len(given["x"]))
    return known[program.outputs[0]]


def fixed_of(program, n, seed=1):
    """Numbers for what the request makes, float64 [n, ...]."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(n, *program.values[name].shape[1:], generator=generator).double()
        for name in program.inputs
        if name != "x"
    }


def dependence(program, seed=0):
    """Which input the logits of a pixel depend on, by gradients: bool [H, W, C, then H, W, C].

    One sample a logit: its gradient by its own x is one row of the Jacobian.
    """
    _, levels, C, H, W = program.values[program.outputs[0]].shape
    generator, n = torch.Generator().manual_seed(seed), H * W * C
    x = torch.randn(1, C, H, W, generator=generator, dtype=torch.float64)
    x = x.repeat(n, 1, 1, 1).requires_grad_()
    fixed = {k: v.expand(n, *v.shape[1:]) for k, v in fixed_of(program, 1).items()}
    out = evaluate(program, {"x": x, **fixed}).permute(0, 3, 4, 2, 1).reshape(n, n, levels)
    weights = torch.randn(levels, generator=generator, dtype=torch.float64)
    (out.diagonal() * weights[:, None]).sum().backward()
    return (x.grad != 0).permute(0, 2, 3, 1).reshape(H, W, C, H, W, C).numpy()


class ProgramModule(torch.nn.Module):
    """A program in float64, as the naive sampler calls a network."""

    def __init__(self, program, fixed):
        super().__init__()
        self.somewhere = torch.nn.Parameter(torch.zeros(()))  # a network is on some device
        self._program, self._fixed = program, fixed

    def forward(self, x):
        return evaluate(self._program, {"x": x.double(), **self._fixed})


def model_of(program, fixed):
    _, levels, *sizes = program.values[program.outputs[0]].shape
    return AutoregressiveModel(
        ProgramModule(program, fixed).eval(), tuple(sizes), levels,
        input_scale=2 / (levels - 1), input_shift=-1.0,
    )  # fmt: skip


def drawn(dependencies, fixed, model, keys, slope=None, **options):
    """Levels by the incremental evaluator in float64."""
    evaluator = Evaluator(dependencies.at(slope), len(keys), fixed, torch.float64)
    return draw(evaluator, keys, model.input_of, **options)


def plain(height=9, width=9, blocks=2, seed=0, colours=1):
    """A small PixelCNN: mask A 7x7, residual blocks with mask B 3x3, two 1x1."""
    net = Net(colours, height, width, seed=seed)
    own = [(0, 0, c - 1) for c in range(colours) for _ in range(2)]  # two features a colour
    h = net.conv("x", own, (7, 7))
    for _ in range(blocks):
        inside = net.unary(net.conv(h, own, (1, 1)), "tanh")
        inside = net.unary(net.conv(inside, own, (3, 3)), "tanh")
        h = net.both(h, net.conv(inside, own, (1, 1)))
    return net.logits(net.unary(h, "tanh"))


def gated(height=9, width=9, dilations=(1, 2, 1), seed=0):
    """A small gated PixelCNN: a vertical stack of the rows above, a horizontal one of the left."""
    net = Net(1, height, width, seed=seed)
    above, before = [(-1, inf, 0)] * 2, [(0, 0, -1)] * 2
    v, h = net.conv("x", above, (3, 3)), net.conv("x", before, (1, 3))
    for d in dilations:
        v2 = net.conv(v, above * 2, (3, 3), (d, d))
        h2 = net.both(net.conv(h, before * 2, (1, 3), (d, d)), net.conv(v2, before * 2, (1, 1)))
        v, h = net.gate(v2), net.both(h, net.conv(net.gate(h2), before, (1, 1)))
    return net.logits(net.unary(h, "tanh"))


def least_slope_seen(seen, row, column, colour):
    """The least slope by what the logits of one pixel see: bool [H, W, C]."""
    colours, least = seen.shape[2], 0
    for i, j, c in np.argwhere(seen):
        k, d = row - i, j - column
        late = colours * d - colour + c + 1  # C (d - s k) - colour <= -(c + 1)
        if k > 0:
            least = max(least, -(-late // (colours * k)))
        else:
            assert k == 0, (i, j, c)
            assert late <= 0, (i, j, c)
    return least


def slopes_of(program):
    """Every slope that tells wavefronts apart: from the least to beyond raster order."""
    dependencies = analyse(program)
    width = program.values["x"].shape[3]
    return dependencies, range(dependencies.slope, max(dependencies.slope, width + 2) + 1)
