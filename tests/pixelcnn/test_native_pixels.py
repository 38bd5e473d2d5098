"""The C++ engine draws what the naive loop draws: sizes, colours, levels, networks, slopes."""

import functools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
native = pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")

from fastdiff import checkpoint, noise
from fastdiff.pixelcnn.save import pixel_engine_bytes_of
from tests.pixelcnn.agreement import check_naive, judge
from tests.pixelcnn.random_models import in_float64, random_model

MODELS = {
    "1x1": ("pixelcnn", {"height": 1, "width": 1, "levels": 16, "hidden": 4, "blocks": 1}),
    "1x9": ("pixelcnn", {"height": 1, "width": 9, "levels": 4, "hidden": 6, "blocks": 1}),
    "9x1": ("pixelcnn", {"height": 9, "width": 1, "levels": 16, "hidden": 6, "blocks": 1}),
    "7x5": ("pixelcnn", {"height": 7, "width": 5, "levels": 256, "hidden": 20, "blocks": 3}),
    "binary": ("pixelcnn", {"height": 8, "width": 9, "levels": 2, "hidden": 7, "blocks": 2}),
    "no blocks": ("pixelcnn", {"height": 5, "width": 6, "levels": 16, "hidden": 5, "blocks": 0}),
    "colours": (
        "pixelcnn",
        {"in_channels": 3, "height": 5, "width": 4, "levels": 256, "hidden": 12, "blocks": 2},
    ),
    "classes": (
        "pixelcnn",
        {"in_channels": 2, "height": 4, "width": 7, "levels": 16, "hidden": 8, "blocks": 2}
        | {"n_context": 3},
    ),
    "gated 1x1": (
        "gated_pixelcnn",
        {"height": 1, "width": 1, "levels": 2, "hidden": 4, "dilations": (1,)},
    ),
    "gated": (
        "gated_pixelcnn",
        {"height": 7, "width": 6, "levels": 256, "hidden": 10, "dilations": (1, 2, 1)},
    ),
    "gated classes": (
        "gated_pixelcnn",
        {"height": 5, "width": 9, "levels": 16, "hidden": 5, "dilations": (2, 4), "n_context": 3},
    ),
}
SEEDS = noise.as_seeds([3, 2**63 + 5, 4, 2**64 - 1, 0])


@functools.cache
def model_of(key):
    architecture, sizes = MODELS[key]
    return random_model(architecture, seed=3, **sizes)


def contexts_of(model, n):
    """One-hot vectors, a mixture and none, float32 [n, width]; None for a model without."""
    if not model.context_width:
        return None
    rows = np.eye(model.context_width + 1, model.context_width, dtype=np.float32)
    rows = np.concatenate([rows, np.full((1, model.context_width), 0.4, dtype=np.float32)])
    return rows[np.arange(n) % len(rows)]


def engine_of(model, threads=1, autotune=False, precision="float32"):
    return native.PixelEngine(
        pixel_engine_bytes_of(model), threads=threads, autotune=autotune, precision=precision
    )


@pytest.mark.parametrize("key", MODELS)
def test_levels_are_the_naive_loops(key):
    model = model_of(key)
    engine = engine_of(model)
    context = contexts_of(model, len(SEEDS))
    levels, done = engine.sample(SEEDS, context=context)
    assert levels.dtype == np.int32
    assert done == levels.size
    assert len(np.unique(levels)) > 1
    exact = in_float64(model)
    tensor = None if context is None else torch.from_numpy(context)
    check_naive(exact, SEEDS, levels, tensor)
    for rule in ({"temperature": 0.5}, {"temperature": 1.7, "top_k": 2}, {"top_k": 1}):
        levels, _ = engine.sample(SEEDS, context=context, **rule)
        check_naive(exact, SEEDS, levels, tensor, **rule)


def test_a_single_other_level_would_be_seen():
    """Of what all others here rely on."""
    model = model_of("7x5")
    levels, _ = engine_of(model).sample(SEEDS)
    levels[2, 0, 4, 1] = (levels[2, 0, 4, 1] + 1) % 256
    with pytest.raises(AssertionError, match=r"choices differ besides \d+ ties; the first at \[2"):
        judge(in_float64(model), SEEDS, levels)


@pytest.mark.parametrize("key", ["7x5", "colours", "gated"])
def test_every_slope_draws_the_same(key):
    model = model_of(key)
    engine = engine_of(model)
    expected, _ = engine.sample(SEEDS)
    for slope in range(engine.slope, max(engine.slope, model.sample_shape[2]) + 3):
        levels, _ = engine.sample(SEEDS, slope=slope)
        np.testing.assert_array_equal(levels, expected, str(slope))
    with pytest.raises(ValueError, match=f"slope: expected .* {engine.slope}"):
        engine.sample(SEEDS, slope=engine.slope - 1)


@pytest.mark.parametrize("n", [1, 2, 5, 33])
@pytest.mark.parametrize("key", ["classes", "gated"])
def test_threads_and_batches_draw_the_same(key, n):
    model = model_of(key)
    seeds, context = noise.as_seeds(7, n), contexts_of(model, n)
    expected, _ = engine_of(model).sample(seeds, context=context)
    judge(in_float64(model), seeds, expected, None if context is None else torch.tensor(context))
    for threads in (2, 3):
        engine = engine_of(model, threads)
        for slope in (engine.slope, model.sample_shape[2] + 2):
            levels, _ = engine.sample(seeds, context=context, slope=slope)
            np.testing.assert_array_equal(levels, expected)
        k = n // 2
        row = None if context is None else context[k : k + 1]
        alone, _ = engine.sample(seeds[k : k + 1], context=row)
        np.testing.assert_array_equal(alone, expected[k : k + 1])


def test_what_is_chosen_by_measurement_draws_the_same():
    model = model_of("7x5")
    expected, _ = engine_of(model).sample(SEEDS)
    levels, _ = engine_of(model, 2, autotune=True).sample(SEEDS)
    np.testing.assert_array_equal(levels, expected)


def test_each_sample_may_keep_other_pixels_and_other_colours():
    model = model_of("colours")
    engine = engine_of(model, 2)
    rng = np.random.default_rng(0)
    given = rng.integers(0, 256, (len(SEEDS), 3, 5, 4), dtype=np.int32)
    kept = rng.random(given.shape) < 0.4
    levels, done = engine.sample(SEEDS, given=np.where(kept, given, np.int32(-1)))
    assert done == levels.size
    np.testing.assert_array_equal(levels[kept], given[kept])
    judge(in_float64(model), SEEDS, levels, kept=kept)
    whole, _ = engine.sample(SEEDS, given=given)
    np.testing.assert_array_equal(whole, given)


def test_probabilities_are_the_networks():
    """Also float32's own: no more than twice its error, by the largest element."""
    for key in ("colours", "gated classes"):
        model = model_of(key)
        shape = (4, *model.sample_shape)
        levels = np.random.default_rng(1).integers(0, model.levels, shape, dtype=np.int32)
        context = contexts_of(model, 4)
        tensor = None if context is None else torch.from_numpy(context)
        drawn = torch.from_numpy(levels).long()
        with torch.inference_mode():
            float32, exact = (
                each(each.input_of(drawn), tensor)
                .double().log_softmax(dim=1).gather(1, drawn[:, None])[:, 0].numpy()
                for each in (model, in_float64(model))
            )  # fmt: skip
        found = engine_of(model, 2).log_probabilities(levels, context)
        bound = 2 * np.abs(float32 - exact).max() + 1e-6 * np.abs(exact).max()
        assert np.abs(found - exact).max() <= bound
        alone = engine_of(model).log_probabilities(
            levels[1:2], None if context is None else context[1:2]
        )
        np.testing.assert_array_equal(alone, found[1:2])


def test_bfloat16_draws_from_nearly_the_same_distribution():
    model = model_of("gated classes")
    try:
        engine = engine_of(model, precision="bf16")
    except ValueError as error:
        pytest.skip(str(error))
    seeds, context = noise.as_seeds(0, 32), contexts_of(model, 32)
    levels, _ = engine.sample(seeds, context=context)
    exact = engine_of(model).log_probabilities(levels, context)
    found = engine.log_probabilities(levels, context)
    assert 1e-6 < np.abs(found - exact).max() < 0.2
    assert abs(found.mean() - exact.mean()) < 5e-3
    again, _ = engine.sample(seeds, context=context, slope=model.sample_shape[2] + 3)
    np.testing.assert_array_equal(again, levels)


def test_the_published_gated_network(shared):
    path = shared / "weights" / "gated_pixelcnn_mnist.ckpt"
    if not path.exists():
        pytest.skip(f"no {path}")
    model = checkpoint.load(path)
    seeds = noise.as_seeds([1, 12])
    levels, _ = engine_of(model, 2).sample(seeds)
    assert (levels > 0).mean() > 0.02
    judge(in_float64(model), seeds, levels)
