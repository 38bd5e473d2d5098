"""Guidance, rescale, previews, cancelling, interpolation: on every sampler there is."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff.samplers import SAMPLERS, build_table
from fastdiff.samplers.reference import run_all
from tests.engine.loops import COURSE, normals, step_normals
from tests.engine.test_guidance import PHI, SCALES, guided

NAMES = [name for name in SAMPLERS if name != "ddim_inverse"]
SHAPE, SEEDS, ROWS = (3, 8, 8), [4, 5, 6], 6


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_is_guided_and_previewed(listener, name):
    """Against the table's reference in float64, its model guided as the papers have it."""
    table = build_table(name, COURSE, ROWS)
    asked = []

    def model(seen, t):
        rows = len(asked)
        # Guided for the first half of the rows; from there on the condition alone.
        m = guided(listener, until_level=500 if rows >= ROWS // 2 else 0)(seen, 500 * t)
        asked.append((seen, m))
        return m

    zs = [step_normals(SHAPE, SEEDS, k) for k in range(ROWS)]
    xs = run_all(table, normals(SHAPE, SEEDS), zs, model)
    steps = []
    engine = fastdiff.compile(listener, name, ROWS, backend="eager", dtype="float64")
    samples = engine.sample(
        3, seed=4, context=["a", "b", "c"], guidance=SCALES, guidance_rescale=PHI,
        guidance_until=0.5, on_step=lambda step: steps.append((step, step.x0)), every=2,
    )  # fmt: skip
    assert [step.row for step, _ in steps] == [2, 4, 6]
    for step, x0 in steps:
        k = step.row - 1
        scale = np.abs(xs[k]).max()
        assert np.abs(step.x - xs[k]).max() < 2e-5 * scale
        seen, m = asked[k]
        expected = table["x0_from_x"][k] * seen / table["in_scale"][k] + table["x0_from_m"][k] * m
        assert np.abs(x0 - expected).max() < 2e-5 * np.abs(expected).max()
    np.testing.assert_allclose(samples.images, np.clip(xs[-1], -1, 1), atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_cancels_and_walks_between(listener, name):
    engine = fastdiff.compile(listener, name, ROWS, backend="eager")
    stopped = engine.sample(3, seed=4, on_step=lambda step: step.row < 2)
    assert not stopped.complete
    assert list(stopped.rows) == [2, 2, 2]
    plain = engine.sample(2, seed=4, context="b").images
    way = engine.between_seeds(4, 5, 3, context="b").images
    np.testing.assert_allclose(way[0], plain[0], atol=2e-5)
    images = np.clip(plain, -1, 1)
    ends = engine.interpolate(images[0], images[1], 3, seed=4, context="b")
    assert ends.complete
    assert np.isfinite(ends.images).all()
    first = engine.sample(1, seed=4, image=images[0], strength=0.5, context="b").images
    np.testing.assert_allclose(ends.images[0], first[0], atol=2e-5)
