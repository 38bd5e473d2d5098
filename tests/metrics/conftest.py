"""Features of the tiny model's data, made in a moment, and the curated sprites."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tests.conftest import ROOT

torch = pytest.importorskip("torch")


@pytest.fixture(scope="session")
def tiny_features():
    """An untrained feature net for 8x8 pictures of classes a, b, c: enough to be measured in."""
    from fastdiff.metrics.features import FeatureNet, FeatureNetConfig, Features
    from fastdiff.metrics.frechet import statistics

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = FeatureNet(FeatureNetConfig(3, (4, 4, 4), n_features=6, n_classes=3)).eval()
    rng = np.random.default_rng(0)
    blank = statistics(np.zeros((2, 6)))
    features = Features(
        "tiny-features-1", net, (3, 8, 8), ("a", "b", "c"), blank, np.array([10, 5, 5]),
        np.zeros((0, 6)), np.zeros(0, dtype=np.int64), {"licence": "none"},
    )  # fmt: skip
    held_out, training = (
        features.of(rng.uniform(-1, 1, (k, 3, 8, 8)).astype(np.float32)) for k in (20, 60)
    )
    return Features(
        features.name, net, features.sample_shape, features.labels, statistics(held_out),
        features.counts, training.astype(np.float16).astype(np.float64),
        np.arange(60) % 3, features.facts,
    )  # fmt: skip


@pytest.fixture(scope="session")
def sprites(shared):
    """(training x, label, held-out x, label): the sprites as the recipes split them."""
    sys.path.insert(0, str(ROOT / "recipes"))
    try:
        import sprites_data
    finally:
        sys.path.pop(0)
    x, label = sprites_data.curate(shared / "sprites")
    held = sprites_data.held_out(len(x))
    return x[~held], label[~held], x[held], label[held]
