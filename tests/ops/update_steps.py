"""One update of random rows with every option, against the eager backend's functions in float64."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fastdiff import noise
from fastdiff.backends import eager
from fastdiff.samplers import SamplerTable
from fastdiff.samplers.table import INDEX, WIDTH
from tests.ops.update_state import (
    NAN,
    SEEDS,
    SHAPES,
    State,
    assert_as_near_as_plain,
    is_rounded,
    laid_out,
    same_bits,
)

ROWS = 6
AT = (0, 3, ROWS - 1)  # the rows of the batch's samples
UNUSED = ("m[2]", 3)  # a column that is 0 in a row whose slot exists


@dataclass(frozen=True)
class Step:
    """What varies: sizes, dtypes, layouts and which options are given."""

    shape: tuple[int, ...] = (3, 16, 16)
    batch: int = 3
    x_depth: int = 4
    m_depth: int = 4
    m_dtype: torch.dtype = torch.float32
    in_dtype: torch.dtype = torch.float32
    m_layout: str = "contiguous"
    in_layout: str = "contiguous"
    twice: bool = False
    guided: bool = False
    factor: bool = False
    guided_rows: int | None = None
    kept: bool = False
    x0: bool = False


STEPS = {
    "history 4/4": Step(),
    "history 2/1": Step(x_depth=2, m_depth=1),
    "history 1/3": Step(x_depth=1, m_depth=3),
    "no history": Step(x_depth=1, m_depth=1),
    "guided": Step(guided=True, twice=True),
    "guided to row 3": Step(guided=True, guided_rows=3, shape=(3, 4, 5)),
    "guided to row 0": Step(guided=True, guided_rows=0, shape=(3, 4, 5)),
    "rescaled": Step(guided=True, factor=True, guided_rows=4, shape=(3, 4, 5)),
    "mask": Step(kept=True),
    "mask, odd size": Step(kept=True, shape=(2, 3, 5)),
    "x0": Step(x0=True),
    "x0, odd size": Step(x0=True, shape=(1, 27, 19)),
    "bfloat16 both": Step(m_dtype=torch.bfloat16, in_dtype=torch.bfloat16, x_depth=1, m_depth=2),
    "float16 both": Step(m_dtype=torch.float16, in_dtype=torch.float16, x_depth=1, m_depth=2),
    "bfloat16 answer": Step(m_dtype=torch.bfloat16, shape=(1, 3, 5)),
    "m channels-last": Step(m_layout="channels_last", guided=True),
    "model_in channels-last": Step(in_layout="channels_last", twice=True, kept=True),
    "channels-last bfloat16": Step(
        m_layout="channels_last", in_layout="channels_last", m_dtype=torch.bfloat16,
        in_dtype=torch.bfloat16, guided=True, twice=True, shape=(3, 5, 7),
    ),
    "apart": Step(m_layout="apart", in_layout="apart", guided=True, shape=(3, 4, 5)),
    "odd": Step(m_layout="odd", in_layout="odd", guided=True),
    "half": Step(m_layout="half", guided=True, twice=True),
    "half, odd size": Step(m_layout="half", guided=True, twice=True, shape=(1, 1, 5)),
    "everything": Step(
        guided=True, factor=True, guided_rows=5, kept=True, x0=True, twice=True,
        m_dtype=torch.float16, in_dtype=torch.bfloat16, m_layout="apart",
        in_layout="channels_last", shape=(2, 5, 3),
    ),
}  # fmt: skip
STEPS |= {
    f"size {int(np.prod(shape))}": Step(shape=shape, guided=True, kept=True, x0=True)
    for shape in SHAPES
}
STEPS |= {f"{name}, alone": replace(STEPS[name], batch=1) for name in ("size 3", "size 768")}


def random_table(x_depth: int, m_depth: int) -> SamplerTable:
    """Rows in which every column says something; they clamp x0 in places."""
    rng = np.random.default_rng(3)
    rows = rng.uniform(0.2, 1.2, (ROWS, WIDTH)) * rng.choice([-1.0, 1.0], (ROWS, WIDTH))
    rows[:, INDEX["x0_lo"]], rows[:, INDEX["x0_hi"]] = -0.4, 0.5
    rows[:, INDEX["clamp_m"]] = [1, 0, 0, 0, 0, 1]
    rows[AT[1], INDEX["noise"]] = rows[AT[0], INDEX["x0"]] = 0.0
    rows[UNUSED[1], INDEX[UNUSED[0]]] = 0.0
    for prefix, depth in (("x", x_depth), ("m", m_depth)):
        for back in range(1, 4):
            rows[: ROWS if back >= depth else back, INDEX[f"{prefix}[{back}]"]] = 0.0
    return SamplerTable(rows, "random")


class Case:
    """A step's inputs, the update itself, and what it should have done."""

    def __init__(self, step: Step) -> None:
        self.step, self.table = step, random_table(step.x_depth, step.m_depth)
        n, shape = step.batch, step.shape
        self.random = torch.Generator().manual_seed(11)
        self.state = State.of(self.table, n, shape)
        self.state.rows.copy_(torch.tensor(AT[:n], dtype=torch.int32))
        self.state.x.copy_(self.some(n, *shape))
        asked = torch.full((n * (2 if step.twice else 1), *shape), NAN, dtype=step.in_dtype)
        self.state.model_in = laid_out(asked, step.in_layout)
        self.xs = [self.state.x.clone(), *self.filled("x", self.state.x_past)]
        self.ms = self.filled("m", self.state.m_past)
        self.m, self.uncond = (self.some(n, *shape).to(step.m_dtype) for _ in range(2))
        self.guidance = torch.tensor([2.0, 1.5, -0.5])[:n]
        self.phi = torch.tensor([0.7, 0.0, 1.0])[:n]
        self.image = self.some(n, *shape)
        self.mask = torch.rand(n, 1, *shape[1:], generator=self.random)
        self.mask[..., 0, 0], self.mask[..., -1, -1] = 1.0, 0.0
        self.x0 = torch.full((n, *shape), NAN)

    def some(self, *sizes: int) -> torch.Tensor:
        return torch.randn(*sizes, generator=self.random)

    def filled(self, prefix: str, past: torch.Tensor) -> list[torch.Tensor]:
        """Older values, newest first, and put where the row finds them; the rest stays nan."""
        older = []
        for back in range(1, past.shape[0] + 1):
            values = self.some(*past.shape[1:])
            older.append(values)
            for b, k in enumerate(AT[: len(values)]):
                if k >= back and (f"{prefix}[{back}]", k) != UNUSED:
                    past[(k - back) % past.shape[0], b] = values[b]
        return older

    def run(self) -> None:
        step, layout = self.step, self.step.m_layout
        options: dict[str, Any] = {}
        if step.guided:
            options |= {"uncond": laid_out(self.uncond, layout), "guidance": self.guidance}
        if step.guided_rows is not None:
            options["guided_rows"] = torch.tensor([step.guided_rows], dtype=torch.int32)
        if step.factor:
            options["factor"] = self.factor()
        if step.kept:
            options |= {"image": self.image, "mask": self.mask}
        if step.x0:
            options["x0"] = self.x0
        self.state.update(laid_out(self.m, layout), **options)

    def factor(self) -> torch.Tensor:
        """What guidance rescale makes of the guided output, as ``eager.guide`` does."""
        cond, uncond = self.m.double(), self.uncond.double()
        mixed = eager.guide(uncond, cond, self.guidance.double(), None)
        ratio = cond.std(dim=(1, 2, 3)) / mixed.std(dim=(1, 2, 3))
        return (1.0 + self.phi.double() * (ratio - 1.0)).float()

    def expected(self, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """x, the kept output and x0 afterwards, computed in ``dtype``, sample by sample."""
        step, rows = self.step, torch.tensor(self.table.rows).to(dtype)
        made: dict[str, list[torch.Tensor]] = {"x": [], "m": [], "x0": []}
        for b, k in enumerate(AT[: step.batch]):

            def own(values: torch.Tensor, b: int = b) -> torch.Tensor:
                return values[b : b + 1].to(dtype)

            def normal(k: int, stream: int, b: int = b) -> torch.Tensor:
                z = noise.normal(SEEDS[b : b + 1], k, stream, int(np.prod(step.shape)))
                return torch.from_numpy(z).to(dtype).reshape(1, *step.shape)

            row, m = rows[k : k + 1], own(self.m)
            if step.guided and (step.guided_rows is None or k < step.guided_rows):
                phi = own(self.phi) if step.factor else None
                m = eager.guide(own(self.uncond), m, own(self.guidance), phi)
            xs = [own(x) for x in self.xs]
            m = eager.clamp_output(row, xs[0], m)
            ms = [m, *(own(older) for older in self.ms)]
            x = eager.sampler_update(row, xs, ms, normal(k, 1), bool(self.table["x0"][k]))
            if step.kept:
                kept = eager._Kept(self.table, own(self.image), own(self.mask), normal(0, 0))
                x = kept.mix(x, k + 1)
            made["x"].append(x)
            made["m"].append(m)
            made["x0"].append(eager.predicted_x0(row, xs[0], m))
        return {name: torch.cat(values) for name, values in made.items()}

    def check(self) -> None:
        state, truth, plain = (
            self.state, self.expected(torch.float64), self.expected(torch.float32),
        )  # fmt: skip
        assert_as_near_as_plain(state.x, truth["x"], plain["x"], 4.0)
        if self.step.x0:
            assert_as_near_as_plain(self.x0, truth["x0"], plain["x0"])
        for b, k in enumerate(AT[: self.step.batch]):
            if len(state.x_past):
                assert same_bits(state.x_past[k % len(state.x_past), b], self.xs[0][b])
            if len(state.m_past):
                got = state.m_past[k % len(state.m_past), b]
                assert_as_near_as_plain(got, truth["m"][b], plain["m"][b])
            scale = 1.0 if k + 1 == ROWS else state.table[k + 1, INDEX["in_scale"]]
            for sample in state.model_in[b :: self.step.batch]:
                assert is_rounded(sample, scale * state.x[b])
            if self.step.kept and k + 1 == ROWS:
                assert same_bits(state.x[b, :, -1, -1], self.image[b, :, -1, -1])


def check_step(step: Step) -> None:
    case = Case(step)
    around = case.state.model_in._base
    case.run()
    case.check()
    if around is not None:  # nothing between the view's elements is written
        assert int(around.isnan().sum()) == around.numel() - case.state.model_in.numel()
