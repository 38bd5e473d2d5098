"""The packaged model: its size, its promises, and the figures of its card recomputed."""

import re
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff.checkpoint import ZOO
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def model():
    return fastdiff.load("sprites16")


def test_it_is_small_half_precision_and_what_it_says(model):
    path = ZOO / "sprites16.safetensors"
    assert path.stat().st_size < 4e6
    assert model.sample_shape == (3, 16, 16)
    assert model.labels == ("monster", "player", "item", "spell", "dungeon")
    assert model.schedule == fastdiff.Schedule("course", 500, 1e-4, 0.02, "fraction")
    assert (model.module.config.n_feat, model.module.config.n_cfeat) == (64, 5)
    assert "sprites16" in fastdiff.packaged()


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_a_seed_gives_the_same_image_alone_and_in_any_batch(model, sampler):
    engine = fastdiff.compile(model, sampler, 10, backend="eager")
    names = [model.labels[s % 5] for s in range(8)]
    batch = engine.sample(8, seed=0, context=names).images
    alone = np.concatenate([engine.sample(1, seed=s, context=names[s]).images for s in range(8)])
    backwards = engine.sample(seed=list(range(7, -1, -1)), context=names[::-1]).images[::-1]
    assert np.abs(alone - batch).max() < 1e-5
    assert np.abs(backwards - batch).max() < 1e-5


def test_samples_look_like_the_data_by_its_statistics(model, curated):
    """Not a measure of quality: it catches a model or sampler that is broken altogether."""
    x, label = curated
    engine = fastdiff.compile(model, "ddim", 25, backend="eager")
    for k, name in enumerate(model.labels):
        real = x[label == k].astype(np.float64).transpose(0, 3, 1, 2) / 127.5 - 1
        drawn = engine.sample(16, seed=100, context=name).images
        assert abs(drawn.mean() - real.mean()) < 0.25, name
        assert abs(drawn.std() - real.std()) < 0.2, name
    # Class by class they differ, as a context that is ignored would not.
    means = [engine.sample(8, seed=0, context=n).images.mean(axis=(0, 1)) for n in model.labels]
    assert min(np.abs(a - b).mean() for a in means for b in means if a is not b) > 0.03


@pytest.fixture(scope="module")
def curated(shared):
    sys.path.insert(0, str(ROOT / "recipes"))
    try:
        import sprites_data
    finally:
        sys.path.pop(0)
    return sprites_data.curate(shared / "sprites")


def test_the_cards_noise_error_is_what_the_model_gives(model, curated):
    import sprites_data

    from fastdiff.data.dataset import ImageSet, one_hot
    from fastdiff.metrics.noise_error import FRACTIONS, noise_error

    x, label = curated
    held = sprites_data.held_out(len(x))
    card = (ZOO / "sprites16.md").read_text()
    rows = dict(re.findall(r"^\| (0\.\d+) \| (\d\.\d+) ±", card, re.MULTILINE))
    assert [float(k) for k in rows] == list(FRACTIONS)
    images = ImageSet(x[held], one_hot(label[held], 5), model.labels)
    for got in noise_error(model, images, draws=4):
        reported = float(rows[str(got.fraction)])
        assert abs(got.mean - reported) <= 1e-3 * reported + 1e-4, got
        assert got.mean < 0.5 * got.predict_zero


@pytest.mark.long
@pytest.mark.parametrize(("sampler", "steps", "bound"), [("ddim", 25, 1e-4), ("ddpm", 500, 1e-3)])
def test_float32_stays_near_float64_over_whole_runs(model, sampler, steps, bound):
    names = [model.labels[k % 5] for k in range(10)]
    runs = [
        fastdiff.compile(model, sampler, steps, backend="eager", dtype=dtype)
        .sample(10, seed=0, context=names, guidance=2.0)
        .images
        for dtype in ("float32", "float64")
    ]
    assert np.abs(runs[0] - runs[1]).max() < bound
