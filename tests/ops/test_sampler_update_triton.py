"""kernels/sampler_update.py in Triton's interpreter: update_checks.py's tests, and its own.

Run by test_interpreted.py, or by itself with TRITON_INTERPRET=1.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("needs TRITON_INTERPRET=1", allow_module_level=True)

import torch

from fastdiff.kernels import launch, sampler_tile
from fastdiff.kernels import sampler_update as kernel

pytest.register_assert_rewrite(
    *(f"tests.ops.update_{name}" for name in ("checks", "runs", "state", "steps"))
)
from tests.ops.update_checks import *  # noqa: F403
from tests.ops.update_state import laid_out, same_bits
from tests.ops.update_steps import STEPS, Case


def outcome(case: Case) -> list[torch.Tensor]:
    case.run()
    state = case.state
    return [state.x, state.x_past, state.m_past, state.model_in, case.x0]


@pytest.mark.parametrize("name", ["mask", "everything", "channels-last bfloat16"])
def test_wide_offsets_give_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = outcome(Case(STEPS[name]))

    def big(*arguments: Any) -> dict[str, int | bool]:
        return {**sampler_tile.tiling(*arguments), "BIG": True}

    monkeypatch.setattr(kernel, "tiling", big)
    assert all(map(same_bits, outcome(Case(STEPS[name])), expected))


def test_a_sample_of_many_tiles_takes_the_grids_third_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = outcome(Case(STEPS["size 768"]))
    assert launch.row_grid(3, 5) == (3, 5, 1)
    assert launch.row_grid(3, 65536) == (3, 65535, 2)
    monkeypatch.setattr(launch, "MAX_GRID_Y", 1)
    assert launch.row_grid(3, 2) == (3, 1, 2)
    assert all(map(same_bits, outcome(Case(STEPS["size 768"])), expected))


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta", dtype=torch.bfloat16)


def test_tiles_say_what_they_may_count_on() -> None:
    dense = {"PIXELS": 1, "ROW": 1, "WIDE": True, "BIG": False, "BLOCK": sampler_tile.BLOCK}
    x = meta(3, 3, 4, 5)
    assert sampler_tile.tiling(x, [x], False) == dense
    assert sampler_tile.tiling(x, [x], True) == {**dense, "PIXELS": 20}
    strided = laid_out(x, "channels_last")
    assert sampler_tile.tiling(x, [x, strided], False) == {**dense, "PIXELS": 20, "ROW": 5}
    assert sampler_tile.tiling(meta(3, 3, 3, 5), [], False) == {**dense, "WIDE": False}
    # A dense sample at an odd distance from the next: no 16-byte access.
    odd = laid_out(x, "odd")
    assert sampler_tile.dense(odd)
    assert not sampler_tile.tiling(x, [odd], False)["WIDE"]
    assert sampler_tile.tiling(x[:1], [odd[:1]], False)["WIDE"]  # no next one
    # 32 bits of offset are not enough.
    assert sampler_tile.tiling(meta(1, 2, 2**15, 2**15), [], False)["BIG"]
    far = meta(2**31).as_strided((1, 3, 4, 5), (1, 2**29, 5, 2**29))
    assert sampler_tile.tiling(x[:1], [far], False)["BIG"]
