"""Whole runs over real tables, by a network that makes history count, against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fastdiff import noise, schedules
from fastdiff.backends import eager
from fastdiff.samplers import SamplerTable, build_table
from fastdiff.samplers.reference import run_all
from fastdiff.samplers.table import INDEX
from tests.ops.update_state import State, assert_as_near_as_plain, normal, same_bits

V = schedules.Schedule("linear", prediction="v")
EPS = schedules.course()
# Together they use every column: see test_the_tables_use_every_column.
TABLES = {
    "ddim": build_table("ddim", EPS, 5, clip=(-1.0, 1.0)),
    "ddpm": build_table("ddpm", EPS, 4),
    "dpmpp_2m_sde": build_table("dpmpp_2m_sde", EPS, 6, clip=(-1.0, 0.9)),
    "dpmpp_3m": build_table("dpmpp_3m", V, 6),
    "unipc": build_table("unipc", V, 8, order=3),
    "lms": build_table("lms", V, 7),
    "plms": build_table("plms", EPS, 7, clip=(-1.0, 1.0)),
    "edm": build_table("edm", schedules.EDMSchedule(), 7),
}


class Network:
    """An affine network of its own weights for each element, so that histories count."""

    def __init__(self, table: SamplerTable, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(7)
        self.weight, self.shift = rng.uniform(-0.9, 0.9, (2, *shape))
        self.per_t = 1.0 / max(1.0, float(np.abs(table["t"]).max()))

    def __call__(self, x: Any, t: Any) -> Any:
        if isinstance(x, np.ndarray):
            return self.weight * x + self.shift * t * self.per_t
        weight, shift = (torch.from_numpy(a).to(x) for a in (self.weight, self.shift))
        return weight * x + shift * (t * self.per_t)


def run_eager(
    table: SamplerTable, shape: tuple[int, ...], network: Network, dtype: torch.dtype
) -> list[torch.Tensor]:
    """Every x of a batch of three, by the eager backend's functions in ``dtype``."""
    rows = torch.from_numpy(table.rows.copy()).to(dtype)
    x = (table.init_scale * normal(3, 0, noise.STREAM_INIT, shape)).to(dtype)
    xs, ms, made = [], [], []
    for k in range(len(table)):
        row = rows[k].expand(3, -1)
        m = network(eager.column(row, "in_scale") * x, eager.column(row, "t"))
        if table["clamp_m"][k]:
            m = eager.clamp_output(row, x, m)
        xs, ms = [x, *xs][: table.x_depth], [m, *ms][: table.m_depth]
        z = normal(3, k, noise.STREAM_STEP, shape).to(dtype)
        x = eager.sampler_update(row, xs, ms, z, bool(table["x0"][k]))
        made.append(x)
    return made


def check_whole_runs(name: str, shape: tuple[int, ...]) -> None:
    """Three samples that enter one after the other: each always at another row, or finished."""
    table = TABLES[name]
    network = Network(table, shape)
    state, t = State.of(table, 3, shape), torch.tensor(table["t"]).float()
    state.start(table.init_scale)
    made: list[list[torch.Tensor]] = [[], [], []]
    for launch in range(len(table) + 3):
        k = launch - np.arange(3)
        inside = (k >= 0) & (k < len(table))
        # Before its turn a sample counts as finished; after its last row it is.
        state.rows.copy_(torch.from_numpy(np.where(k < 0, len(table) + 5, k).astype(np.int32)))
        times = t[torch.from_numpy(np.clip(k, 0, len(table) - 1))][:, None, None, None]
        before = [a.clone() for a in state.written()]
        state.update(network(state.model_in, times))
        for b in range(3):
            if inside[b]:
                made[b].append(state.x[b].clone())
                last = k[b] + 1 == len(table)
                scale = 1.0 if last else state.table[k[b] + 1, INDEX["in_scale"]]
                assert same_bits(state.model_in[b], state.x[b] * scale)
            else:
                pairs = zip(before, state.written(), strict=True)
                assert all(same_bits(old[b], new[b]) for old, new in pairs)
    plain = run_eager(table, shape, network, torch.float32)
    double = run_eager(table, shape, network, torch.float64)
    noises = np.stack([normal(3, k, 1, shape).numpy() for k in range(len(table))])
    starts = table.init_scale * normal(3, 0, 0, shape).numpy()
    for b in range(3):
        expected = run_all(table, starts[b], noises[:, b], network)
        assert len(made[b]) == len(expected) == len(table)
        for k in range(len(table)):
            truth = torch.from_numpy(expected[k])
            torch.testing.assert_close(double[k][b], truth, rtol=1e-9, atol=1e-9)
            # The noise's own error is there from the start, and the network may double it.
            weight = 2.0 * max(table.init_scale, table["noise"].max())
            assert_as_near_as_plain(made[b][k], truth, plain[k][b], weight)
