"""The networks that benchmarks/gpu.py measures: what they are, and that the backend runs them."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch

from fastdiff.cuda.network import Network
from fastdiff.requests.tables import table_of
from tests.conftest import ROOT

SMALL = {"height": 16, "width": 16, "channels": (8, 16, 16, 16), "groups": 4}


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("gpu_cases")


@pytest.fixture
def networks(cases: Any) -> Any:
    return importlib.import_module("gpu_networks")


def test_the_ddpm_unet_is_the_published_one(cases: Any, networks: Any) -> None:
    model = networks.NETWORKS["ddpm-cifar10"]()
    assert model.sample_shape == (3, 32, 32)
    assert sum(p.numel() for p in model.module.parameters()) == 35_746_307
    # Ho et al. 2020 train it with 35.7 M parameters; 12.1 GFLOP an image are 6.05 G products.
    with torch.no_grad():
        flops = cases.direct_flops(model.module, networks.inputs(model, 1, "cpu"))
    assert flops == pytest.approx(12.1e9, rel=0.02)


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_backend_runs_it_as_it_is(networks: Any, channels_last: bool) -> None:
    model = networks.ddpm_cifar10(**SMALL)
    network = Network(model, torch.device("cpu"), torch.float32, channels_last)
    rules = [found.rule for found in network.step.matches if found.node.op == "concat"]
    assert rules == ["join_concat"] * 12
    table = table_of("ddim", model.schedule, 10, {})
    rows = torch.tensor([0, 3, 9, 7], dtype=torch.int32)
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        got = network.ask(x, rows, network.row_values(table), {})
        t = torch.tensor(table["t"].copy(), dtype=torch.float32)[rows.long()]
        want = model.module(x, t)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5 * float(want.abs().max()))


def test_every_network_is_called_with_what_it_takes(networks: Any) -> None:
    sprites = networks.NETWORKS["sprites16"]()
    for model in (sprites, networks.ddpm_cifar10(**SMALL)):
        with torch.no_grad():
            given = networks.inputs(model, 7, "cpu")
            assert len(given) == 2 + bool(model.context_width)
            assert model.module(*given).shape == given[0].shape
    assert set(networks.BATCHES) <= set(networks.NETWORKS)
