"""Draws, classes, the interval and the floor, on data made up here."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
stats = pytest.importorskip("scipy.stats")

import fastdiff
from fastdiff.errors import FastdiffError
from fastdiff.metrics.features import FeatureNetConfig, NotFiniteError
from fastdiff.metrics.floor import floor
from fastdiff.metrics.frechet import frechet_distance, statistics
from fastdiff.metrics.quality import Quality, allocate, distance, drawing, quality


@pytest.mark.parametrize(
    ("n", "counts", "expected"),
    [
        (10, [1, 1], [5, 5]),
        (3, [1, 1], [2, 1]),
        (7, [90, 95, 63, 53, 25], [2, 2, 1, 1, 1]),
        (326, [90, 95, 63, 53, 25], [90, 95, 63, 53, 25]),
        (2, [0, 3, 3], [0, 1, 1]),
    ],
)
def test_classes_are_shared_out_by_largest_remainder(n, counts, expected):
    assert allocate(n, np.array(counts)).tolist() == expected


def test_shares_add_up_and_are_never_a_whole_picture_off():
    counts = np.array([90, 95, 63, 53, 25])
    for n in range(2, 400):
        share = allocate(n, counts)
        assert share.sum() == n
        assert np.abs(share - n * counts / counts.sum()).max() < 1


def test_the_interval_is_scipys():
    values = (3.0, 3.5, 2.9, 3.3)
    got = Quality(64, values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert got.mean - got.half_width == pytest.approx(low)
    assert got.mean + got.half_width == pytest.approx(high)
    assert Quality(64, (3.0,)).half_width is None
    assert str(Quality(64, (3.0,))) == "3.000"


def test_draws_are_disjoint_and_in_the_held_out_proportions(tiny_features):
    rng, seen = np.random.default_rng(0), []

    def draw(seeds, names):
        seen.append((seeds.tolist(), names))
        return rng.uniform(-1, 1, (len(seeds), 3, 8, 8)).astype(np.float32)

    got = quality(draw, tiny_features, n=8, draws=3, seed=100)
    assert [s for s, _ in seen] == [list(range(100 + 8 * d, 108 + 8 * d)) for d in range(3)]
    assert all(names == ["a"] * 4 + ["b"] * 2 + ["c"] * 2 for _, names in seen)
    assert len(got.distances) == 3
    assert got.mean == pytest.approx(np.mean(got.distances))
    seen.clear()
    quality(draw, tiny_features, n=8, draws=1, labels=())
    assert seen[0][1] is None  # a model without classes


def test_an_engine_is_drawn_from_with_its_guidance(tiny_model, tiny_features):
    engine = fastdiff.compile(tiny_model, "ddim", 3, backend="eager")
    rows = []
    got = quality(engine, tiny_features, 8, 2, 7, 2.0, batch_size=4, progress=rows.append)
    names = ["a"] * 4 + ["b"] * 2 + ["c"] * 2
    expected = [
        frechet_distance(
            statistics(
                tiny_features.of(engine.sample(8, seed=s, context=names, guidance=2.0).images)
            ),
            tiny_features.held_out,
        )
        for s in (7, 15)
    ]
    assert got.distances == pytest.approx(expected, rel=1e-4)
    assert rows == [12, 12, 12, 12]  # 4 chunks of 4 pictures, 3 rows each


def test_an_interrupted_draw_is_not_taken_for_a_small_one(tiny_model):
    engine = fastdiff.compile(tiny_model, "ddim", 2, backend="eager")
    chunks = []

    def interrupt(rows):
        chunks.append(rows)
        if len(chunks) == 2:
            raise KeyboardInterrupt

    draw = drawing(engine, batch_size=2, progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        draw(np.arange(8, dtype=np.uint64), ["a"] * 8)


def test_the_floor_takes_disjoint_subsets_in_proportion(tiny_features):
    got = floor(tiny_features, 12)  # 6, 3, 3 of 20 each
    assert len(got.distances) == 3
    assert floor(tiny_features, 12) == got
    assert len(set(got.distances)) == 3
    assert floor(tiny_features, 40).n == 40
    assert floor(tiny_features, 41) is None
    rest = replace(tiny_features, training=np.zeros((0, 6)), training_label=np.zeros(0, int))
    assert floor(rest, 12) is None


def test_features_do_not_depend_on_the_batch_and_see_8_bits(tiny_features):
    x = np.random.default_rng(0).uniform(-1, 1, (9, 3, 8, 8)).astype(np.float32)
    whole = tiny_features.of(x)
    assert (whole.dtype, whole.shape) == (np.float64, (9, 6))
    np.testing.assert_allclose(tiny_features.of(x, batch_size=2), whole, atol=1e-6)
    rounded = np.round((x + 1) * 127.5) / 127.5 - 1
    np.testing.assert_allclose(tiny_features.of(rounded), whole, atol=1e-6)
    assert tiny_features.of(x[:0]).shape == (0, 6)


def test_wrong_input_is_named(tiny_model, tiny_features):
    engine = fastdiff.compile(tiny_model, "ddim", 2, backend="eager")
    for change, message in (
        ({"n": 1}, "n: expected an integer of at least 2, got 1"),
        ({"draws": 0}, "draws: expected an integer of at least 1"),
        ({"seed": -1}, "seed: expected an integer of at least 0"),
        ({"seed": 2**64 - 3}, "seed: expected at most"),
        ({"labels": ("a", "b")}, "compares the classes a, b, c, the model draws a, b"),
    ):
        with pytest.raises(FastdiffError, match=message):
            quality(engine, tiny_features, **{"n": 4, "draws": 1, **change})
    other = replace(tiny_features, sample_shape=(3, 16, 16))
    with pytest.raises(FastdiffError, match=r"pictures \[3, 16, 16\], tiny draws \[3, 8, 8\]"):
        quality(engine, other, 4, 1)
    with pytest.raises(FastdiffError, match=r"pictures \[3, 8, 8\], got \[3, 8, 9\]"):
        tiny_features.of(np.zeros((2, 3, 8, 9)))
    with pytest.raises(NotFiniteError, match="got nan"):
        distance(tiny_features, np.full((2, 3, 8, 8), np.nan))
    with pytest.raises(FastdiffError, match="1 to 1024 channels"):
        FeatureNetConfig(in_channels=0)
    with pytest.raises(FastdiffError, match="1 to 10000 classes"):
        FeatureNetConfig(n_classes=0)
