"""Whole networks by kernels/wavefront_stage.py and choose_levels.py in Triton's interpreter: what
the Evaluator makes in float64. The plan here is also how one is made: maps lie channels last.

Run by test_interpreted.py, or by itself:
TRITON_INTERPRET=1 pytest tests/ops/test_wavefront_networks_triton.py
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("needs TRITON_INTERPRET=1", allow_module_level=True)

import torch

from fastdiff import noise
from fastdiff.kernels.choose_levels import choose_levels
from fastdiff.kernels.wavefront_stage import RingOperand, columns_of, wavefront_stage
from fastdiff.pixelcnn.dependencies import analyse
from fastdiff.pixelcnn.evaluator import Evaluator
from fastdiff.pixelcnn.network import Fixed
from tests.pixelcnn.nets import Net, drawn, fixed_of, gated, model_of, plain

# Lanes that nobody stores are computed all the same, in NumPy: 0 / 0, log 0.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter")

INT = torch.int32


def tensor(values: Any) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values).astype(np.int32))


class Plan:
    """A wavefront as tables, and its run by the kernels: maps lie channels last, row by row."""

    def __init__(self, wavefront, fixed, samples, dtype=torch.float32, aligned=16) -> None:
        self.wavefront, self.network = wavefront, wavefront.network
        n = self.network
        constants = {k: torch.from_numpy(a)[None] for k, a in n.program.constants.items()}
        self.fixed = {k: v.float().reshape(len(v), -1) for k, v in {**constants, **fixed}.items()}
        self.value, self.channel = (np.zeros(n.count, dtype=np.int64) for _ in range(2))
        self.first, self.rows, self.stride, end = [], [], [], 0
        for k, (name, numbers) in enumerate(n.stored.items()):
            self.value[numbers], self.channel[numbers] = k, np.arange(len(numbers))
            self.rows.append(max(1, wavefront.rows[name]))
            self.stride.append(-(-len(numbers) // aligned) * aligned)
            self.first.append(end)
            end += self.rows[k] * n.width * self.stride[k]
        self.cache = torch.full((samples, end), torch.nan, dtype=dtype)  # nothing unwritten is read
        self.stages = [
            self.stage(op, group, dtype)
            for op in n.ops
            for group in wavefront.groups[op.node.output]
        ]

    def active(self, lookahead: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return [self.wavefront.active(lookahead, s) for s in self.wavefront.subtimes]

    def places(self, value: int, cells: Any, above: int = 0, right: int = 0) -> np.ndarray:
        """int [S, M]: where a value's cells begin; -1 outside, and where a cell is not active."""
        n, most = self.network, max(1, *(len(rows) for rows, _ in cells))
        found = np.full((len(cells), most), -1)
        for s, (rows, columns) in enumerate(cells):
            i, j = rows - above, columns + right
            inside = (i >= 0) & (i < n.height) & (j >= 0) & (j < n.width)
            at = self.first[value] + (i % self.rows[value] * n.width + j) * self.stride[value]
            found[s, : len(rows)] = np.where(inside, at, -1)
        return found

    def ring(self, numbers: np.ndarray, cells: Any) -> RingOperand:
        values, groups = np.unique(self.value[numbers], return_inverse=True)
        positions = np.stack([self.places(v, cells) for v in values], axis=-1)
        return RingOperand(tensor(positions), tensor(groups), tensor(self.channel[numbers]))

    def stage(self, op: Any, group: Any, dtype: torch.dtype) -> dict[str, Any]:
        cells, members = self.active(group.lookahead), group.members
        operands: list[Any] = []
        steps: list[tuple[str, Any]] = []

        def operand(what: Any) -> int:
            if isinstance(what, Fixed):
                operands.append(self.fixed[what.name][:, what.elements[members]].contiguous())
            else:
                operands.append(self.ring(what[members], cells))
            return len(operands) - 1

        weight, bias = torch.zeros(0, len(members), dtype=dtype), None
        pairs, columns, channels = np.zeros((0, 2), int), np.zeros(0, int), np.zeros(0, int)
        if op.window is not None:
            taps, inputs = op.window.columns(members)
            numbers = op.window.channels[inputs]
            order = np.lexsort((self.channel[numbers], self.value[numbers], taps))
            taps, inputs, numbers = taps[order], inputs[order], numbers[order]
            pairs, columns = np.unique(
                np.stack([taps, self.value[numbers]], 1), axis=0, return_inverse=True
            )
            channels = self.channel[numbers]
            matrix = op.window.weight[taps, :, inputs][:, members]
            weight = torch.from_numpy(matrix).to(dtype)
            if op.window.bias is not None:
                bias = torch.from_numpy(op.window.bias[members]).float()
        else:
            kind = op.node.attributes["kind"]
            steps.append(("add", operand(op.operands[0])))
            steps += (
                [("unary", kind)] if len(op.operands) == 1 else [(kind, operand(op.operands[1]))]
            )
        steps += [
            ("unary", kind) if what is None else (kind, operand(what)) for kind, what in op.epilogue
        ]
        own = int(self.value[op.channels[0]])
        writes = self.places(own, cells)
        reads = np.zeros((*writes.shape, 0), int)
        if len(pairs):
            w = op.window
            reads = np.stack([
                self.places(v, cells, w.rows_above[t], w.columns_right[t]) for t, v in pairs
            ], axis=-1)  # fmt: skip
        tables = [tensor(k) for k in (reads, columns.reshape(-1), channels)]
        return {
            **dict(zip(("reads", "groups", "offsets"), tables, strict=True)),
            "weight": weight.contiguous(), "bias": bias, "writes": tensor(writes),
            "out_offsets": tensor(self.channel[op.channels[members]]), "steps": steps,
            "operands": operands, "columns": columns_of(*tables),
        }  # fmt: skip

    def draw(self, model: Any, keys: Any, temperature: float = 1.0, top_k: int = 0) -> Any:
        """Levels [n, C, H, W] by the two kernels alone."""
        n, count = self.network, len(keys)
        C, H, W = n.colours, n.height, n.width
        u = torch.from_numpy(noise.uniform(keys, 0, noise.STREAM_CHOICE, C * H * W).copy())
        levels = torch.full((count, C * H * W), -1, dtype=INT)
        colours = []
        for c in range(C):
            cells, logits = self.active(-c), n.logits[:, c]
            x = n.channels[n.x][c]
            place = np.full(self.places(0, cells).shape, -1)
            for s, (i, j) in enumerate(cells):
                place[s, : len(i)] = (i * W + j) * C + c
            where = (self.places(int(self.value[logits[0]]), cells), self.channel[logits])
            to = (self.places(int(self.value[x]), cells), int(self.channel[x]))
            colours.append((*map(tensor, where), tensor(place), tensor(to[0]), to[1]))
        settings = (torch.tensor([temperature]), torch.tensor([top_k], dtype=INT))
        for s in range(len(self.wavefront.subtimes)):
            subtime = tensor([s])
            for stage in self.stages:
                wavefront_stage(self.cache, subtime, **stage)
            for logits, offsets, place, inputs, offset in colours:
                choose_levels(
                    self.cache, subtime, logits, offsets, u, place, torch.full_like(levels, -1),
                    inputs, offset, levels, *settings, model.input_scale, model.input_shift,
                )  # fmt: skip
        return levels.reshape(count, H, W, C).permute(0, 3, 1, 2).numpy()


def mixed() -> Any:
    """Two values in one window, a request's values, products and quotients, slices."""
    net = Net(1, 4, 5, seed=3)
    before = [(0, 0, -1)] * 4
    a, b = net.conv("x", before, (3, 3)), net.conv("x", before[:2], (1, 3))
    a = net.both(net.unary(a, "sigmoid"), net.of_request(4), "div")
    both = net.concat(net.part(a, 1, 4), b)
    c = net.conv(both, before, (3, 3), density=0.7)
    c = net.both(
        net.both(c, a, "sub"), net.constant(np.array([1.0, 2, 3, 4])[:, None, None]), "mul"
    )
    return net.logits(net.unary(c, "silu"))


NETS = {
    "plain": plain(4, 4, 1),
    "colours": plain(3, 3, 1, colours=3),
    "gated": gated(3, 4, (1, 2)),
    "mixed": mixed(),
}
KEYS = noise.as_seeds([3, 2**63 + 5])


@pytest.mark.parametrize("name", NETS)
def test_networks_draw_what_the_evaluator_draws_in_float64(name: str) -> None:
    program = NETS[name]
    dependencies, fixed = analyse(program), fixed_of(program, len(KEYS))
    model = model_of(program, fixed)
    expected = drawn(dependencies, fixed, model, KEYS)
    assert len(np.unique(expected)) > 1
    got = Plan(dependencies.at(), fixed, len(KEYS)).draw(model, KEYS)
    assert (got == expected).all()


def test_temperature_top_k_one_sample_and_maps_that_are_not_aligned() -> None:
    program = NETS["plain"]
    dependencies, keys = analyse(program), KEYS[1:]
    model = model_of(program, {})
    expected = drawn(dependencies, {}, model, keys, temperature=1.5, top_k=2)
    assert (expected != drawn(dependencies, {}, model, keys)).any()
    got = Plan(dependencies.at(), {}, 1, aligned=1).draw(model, keys, 1.5, 2)
    assert (got == expected).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_logits_are_the_evaluators(dtype: torch.dtype) -> None:
    program, n = mixed(), 2
    fixed = fixed_of(program, n)
    wavefront, model = analyse(program).at(), model_of(program, fixed)
    plan = Plan(wavefront, fixed, n, dtype)
    evaluator, network = Evaluator(wavefront, n, fixed, torch.float64), wavefront.network
    levels = torch.from_numpy(np.random.default_rng(5).integers(0, 3, (n, 4, 5)))
    logits, x = network.logits[:, 0], network.channels["x"]
    worst, largest = 0.0, 0.0
    for s, subtime in enumerate(wavefront.subtimes):
        evaluator.advance(subtime)
        for stage in plan.stages:
            wavefront_stage(plan.cache, tensor([s]), **stage)
        cells = wavefront.active(0, subtime)
        if len(cells[0]):
            expected = evaluator.read(logits, cells)
            at = plan.places(int(plan.value[logits[0]]), [cells])[0][:, None] + plan.channel[logits]
            error = (plan.cache[:, torch.from_numpy(at)].double() - expected).abs().max().item()
            worst, largest = max(worst, error), max(largest, expected.abs().max().item())
            inputs = model.input_of(levels[:, cells[0], cells[1]])
            evaluator.write(x, cells, inputs[..., None])
            to = plan.places(0, [cells])[0]
            plan.cache[:, torch.from_numpy(to)] = inputs.to(dtype)
    assert largest > 0.5
    assert 0 < worst < largest * {torch.float32: 2e-6, torch.bfloat16: 0.03}[dtype]
