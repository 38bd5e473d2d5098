"""The packaged features: their card recomputed, and whether a distance grows with what is wrong."""

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff.checkpoint import ZOO
from fastdiff.data.pictures import from_pixels
from fastdiff.metrics.features_file import load_features
from fastdiff.metrics.floor import floor
from fastdiff.metrics.frechet import frechet_distance, statistics
from fastdiff.metrics.quality import allocate, distance, quality

N = 256


@pytest.fixture(scope="module")
def features():
    return load_features("sprites16")


@pytest.fixture(scope="module")
def card():
    return (ZOO / "sprites16-features.md").read_text()


def test_they_say_what_they_are(features, card):
    assert features.name == "sprites16-features-1"
    assert features.net.config.n_features == 64
    assert features.labels == fastdiff.load("sprites16").labels
    assert np.trace(features.held_out.cov) == pytest.approx(100, rel=1e-2)
    assert card.startswith("# sprites16-features-1\n")


def test_held_out_statistics_and_accuracy_are_the_cards(features, sprites, card):
    _, _, x, label = sprites
    both = from_pixels(np.concatenate([x, x[:, :, ::-1]]))
    got = statistics(features.of(both))
    assert frechet_distance(got, features.held_out) < 1e-2
    assert features.held_out.count == len(both)
    assert features.counts.tolist() == np.bincount(label).tolist()
    with torch.inference_mode():
        told = features.net.classes(features.net(torch.from_numpy(from_pixels(x)))).argmax(1)
    right = int((told.numpy() == label).sum())
    assert f"({right} of {len(x)})" in card
    assert right > 0.85 * len(x)
    rows = re.findall(r"^\| (?:monster|player|item|spell|dungeon) \| ([\d |]+) \|$", card, re.M)
    confusion = np.array([[int(v) for v in row.split("|")] for row in rows])
    assert confusion.sum() == len(x)
    assert np.trace(confusion) == right


def test_the_training_features_are_those_of_the_training_sprites(features, sprites):
    x, label, _, _ = sprites
    np.testing.assert_array_equal(features.training_label, label)
    plain, mirrored = features.of(from_pixels(x)), features.of(from_pixels(x[:, :, ::-1].copy()))
    off = [np.abs(v - features.training).max(axis=1) for v in (plain, mirrored)]
    assert np.minimum(*off).max() < 0.02
    assert 0.4 < (off[1] < off[0]).mean() < 0.6


def test_the_cards_floor_is_recomputed(features, card):
    rows = re.findall(r"^\| (\d+) \| (\d+\.\d+) ± \S+ \| (\d+) \|$", card, re.M)
    assert len(rows) >= 4
    for n, reported, subsets in rows:
        got = floor(features, int(n))
        assert got.mean == pytest.approx(float(reported), abs=2e-3)
        assert len(got.distances) == int(subsets)
    assert [float(v) for _, v, _ in rows] == sorted((float(v) for _, v, _ in rows), reverse=True)


@pytest.fixture(scope="module")
def pictures(sprites):
    """N training sprites in the held-out proportions, float [N, 3, 16, 16], and their labels."""
    x, label, _, held = sprites
    rng = np.random.default_rng(0)
    share = allocate(N, np.bincount(held))
    index = np.concatenate(
        [rng.permutation(np.flatnonzero(label == k))[:v] for k, v in enumerate(share)]
    )
    return from_pixels(x[index]), label[index]


def test_held_out_sprites_are_at_no_distance_from_themselves(features, sprites):
    _, _, x, _ = sprites
    mirrored = from_pixels(np.concatenate([x, x[:, :, ::-1]]))
    assert distance(features, mirrored) < 0.01
    assert distance(features, mirrored[::2]) < 0.5 * floor(features, N).mean


def rising(values, least):
    assert values == sorted(values)
    assert np.diff(values).min() > least, values


def test_it_grows_with_noise(features, pictures):
    x, _ = pictures
    z = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    rising([distance(features, np.clip(x + s * z, -1, 1)) for s in (0, 0.1, 0.2, 0.4, 0.8)], 0.1)


def test_it_grows_with_blur(features, pictures):
    x, _ = pictures

    def blurred(weight):
        near = [np.roll(x, s, axis) for axis in (2, 3) for s in (-1, 1)]
        return (1 - weight) * x + weight * np.mean(near, axis=0)

    rising([distance(features, blurred(w)) for w in (0, 0.1, 0.2, 0.4, 0.8)], 0.1)


def test_it_grows_with_classes_that_are_missing(features, pictures):
    """At the same n: the missing pictures are replaced by more of the others."""
    x, label = pictures
    found = []
    for dropped in range(5):
        left = np.flatnonzero(label >= dropped)
        found.append(distance(features, x[np.resize(left, N)]))
    rising(found, 1.0)


def test_it_grows_with_copies(features, pictures):
    """A generator that draws few pictures again and again has lost variety."""
    x, _ = pictures
    order = np.random.default_rng(0).permutation(len(x))
    found = [distance(features, x[np.resize(order[:k], N)]) for k in (N, 128, 64, 32, 16)]
    rising(found, 1.0)


def test_training_sprites_lie_well_below_three_steps_of_ddim(features):
    engine = fastdiff.compile("sprites16", "ddim", 3, backend="eager")
    drawn = quality(engine, features, n=128, draws=1).mean
    assert floor(features, 128).mean < 0.5 * drawn
