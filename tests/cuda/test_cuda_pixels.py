"""PixelCNN by the stages of the cuda backend, on a fake device: the levels of the naive loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fastdiff.backends.base import PixelRequest
from fastdiff.backends.cuda import pixel_runner_of
from fastdiff.errors import FastdiffError
from tests.cuda.fake_device import FakeDevice
from tests.pixelcnn.agreement import check_naive
from tests.pixelcnn.random_models import in_float64
from tests.pixelcnn.test_native_pixels import MODELS, SEEDS, contexts_of, model_of

RULES: list[dict[str, Any]] = [{}, {"temperature": 0.7}, {"top_k": 3}]


def runner(key: str, **options: Any) -> tuple[Any, FakeDevice]:
    device = FakeDevice()
    return pixel_runner_of(model_of(key), device, **options), device


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("key", MODELS)
def test_levels_are_the_naive_loops(key: str, rule: dict[str, Any]) -> None:
    model = model_of(key)
    context = contexts_of(model, len(SEEDS))
    got = runner(key, graph="while")[0].run(PixelRequest(SEEDS, context, **rule))
    assert got.levels.dtype == np.int32
    assert got.done == got.levels.size
    tensor = None if context is None else torch.from_numpy(context)
    check_naive(in_float64(model), SEEDS, got.levels, tensor, **rule)


@pytest.mark.parametrize("key", ["7x5", "colours", "gated classes"])
def test_given_pixels_stay(key: str) -> None:
    model = model_of(key)
    C, H, W = model.sample_shape
    rng = np.random.default_rng(0)
    given = rng.integers(0, model.levels, (len(SEEDS), C, H, W)).astype(np.int32)
    kept = rng.random((H, W)) < 0.4
    context = contexts_of(model, len(SEEDS))
    request = PixelRequest(SEEDS, context, given=np.where(kept, given, -1).astype(np.int32))
    got = runner(key)[0].run(request)
    assert (got.levels[:, :, kept] == given[:, :, kept]).all()
    tensor = None if context is None else torch.from_numpy(context)
    check_naive(in_float64(model), SEEDS, got.levels, tensor, given=given, kept=kept)


def test_one_capture_serves_rules_seeds_and_smaller_batches() -> None:
    run, device = runner("7x5", graph="while")
    for rule in RULES:
        run.run(PixelRequest(SEEDS, **rule))
    whole = run.run(PixelRequest(SEEDS[:5])).levels
    alone = run.run(PixelRequest(SEEDS[2:3])).levels
    assert (alone[0] == whole[2]).all()
    assert (device.captures, run.captures.misses) == (4, 2)
    assert "wavefront slope" in run.describe()


def test_large_requests_go_in_parts() -> None:
    run, _ = runner("binary", graph="while")
    whole = run.run(PixelRequest(SEEDS)).levels
    run.max_batch = 2
    assert (run.run(PixelRequest(SEEDS)).levels == whole).all()


@pytest.mark.parametrize("graph", ["while", "off"])
def test_progress_and_cancel(graph: str) -> None:
    run, _ = runner("7x5", graph=graph)
    told: list[int] = []
    whole = run.run(PixelRequest(SEEDS[:2], on_progress=lambda d, n: told.append(d) or n == 70))
    assert told[0] == 0
    assert told[-1] == 70
    assert told == sorted(set(told))
    got = run.run(PixelRequest(SEEDS[:2], on_progress=lambda done, _: done < 30))
    assert 30 <= got.done < 70
    drawn = got.levels >= 0
    assert got.done == drawn.sum()
    assert (got.levels[drawn] == whole.levels[drawn]).all()


def test_reduced_precision_draws_levels() -> None:
    run, _ = runner("7x5", dtype="bfloat16")
    got = run.run(PixelRequest(SEEDS))
    exact = runner("7x5")[0].run(PixelRequest(SEEDS))
    assert got.done == got.levels.size
    assert (got.levels[:, 0, 0, 0] == exact.levels[:, 0, 0, 0]).mean() >= 0.6


def test_a_model_that_is_not_causal_is_refused() -> None:
    from dataclasses import replace

    model = model_of("7x5")
    module = torch.nn.Conv2d(1, 256, 3, padding=1)

    class Sees(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x)[:, :, None]

    with pytest.raises(FastdiffError, match="depend"):
        pixel_runner_of(replace(model, module=Sees().eval()), FakeDevice())


def test_wide_networks_lie_as_vector_loads_want_them() -> None:
    from fastdiff.cuda.pixels.network import PixelNetwork
    from tests.pixelcnn.random_models import random_model

    model = random_model("pixelcnn", height=6, width=5, levels=16, hidden=60, blocks=1)
    network = PixelNetwork(model, torch.device("cpu"), torch.float32)
    columns = [s.columns for s in network.stages if len(s.weight) > 60]
    assert {c.run for c in columns} >= {120}
    assert network.layout.elements % 16 == 0
    for stage in network.stages:
        positions = stage.reads[0]
        if positions.shape[2] and stage.columns.run >= 60:
            assert (positions[positions >= 0] % 4 == 0).all()
    got = pixel_runner_of(model, FakeDevice()).run(PixelRequest(SEEDS))
    check_naive(in_float64(model), SEEDS, got.levels)


def test_powers_are_refused_by_name() -> None:
    from fastdiff.cuda.pixels.layout import Layout
    from fastdiff.cuda.pixels.stages import stages_of
    from fastdiff.pixelcnn.dependencies import analyse
    from tests.pixelcnn.nets import Net

    net = Net()
    h = net.conv("x", [(0, 0, -1)] * 2, (3, 3))
    squared = net.both(h, net.constant(np.full((2, 1, 1), 2.0)), "pow")
    wavefront = analyse(net.logits(squared)).at(None)
    with pytest.raises(FastdiffError, match=r"^model: '.*' \(net\.binary.*\) is a power"):
        stages_of(wavefront, Layout(wavefront))
