"""The reference sampler, against sampling written out in plain Python."""

import math
from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fastdiff import FastdiffError, noise
from fastdiff.pixelcnn.naive import choose, sample_naive


def plain_choice(logits, u, temperature=1.0, top_k=None):
    """One level, in Python floats, from the sum of exponentials itself."""
    scaled = [float(np.float32(v) / np.float32(temperature)) for v in logits]
    if top_k is not None:
        least = sorted(scaled, reverse=True)[:top_k][-1]
        scaled = [v if v >= least else -math.inf for v in scaled]
    top = max(scaled)
    weights = [math.exp(v - top) for v in scaled]
    total, below, level = math.fsum(weights), 0.0, 0
    for weight in weights[:-1]:
        below += weight / total
        if below > u:
            break
        level += 1
    return level


def plain_sample(model, seed, context=None, given=None, given_rows=0, **how):
    """One image [C, H, W], one forward a pixel value, in float64."""
    C, H, W = model.sample_shape
    levels = np.zeros((C, H, W), dtype=np.int64)
    scale = 1.0 / (model.levels - 1)
    for element in range(H * W * C):
        pixel, c = divmod(element, C)
        i, j = divmod(pixel, W)
        if i < given_rows:
            levels[c, i, j] = given[c, i, j]
            continue
        x = torch.tensor(levels[None] * scale, dtype=torch.float32)
        args = () if context is None else (torch.tensor(context[None]),)
        with torch.inference_mode():
            logits = model.module(x, *args)[0, :, c, i, j].numpy()
        block = noise.uniform(noise.as_seeds([seed]), 0, 3, 4, first_element=element // 4 * 4)
        levels[c, i, j] = plain_choice(logits, float(block[0, element % 4]), **how)
    return levels


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("how", [{}, {"temperature": 0.3}, {"top_k": 2}], ids=str)
def test_it_is_the_plain_loop(make_model, colours, how):
    model = make_model(in_channels=colours)
    seeds = [5, 2**63 + 11, 6]
    drawn = sample_naive(model, seeds, **how)
    assert drawn.shape == (3, colours, 4, 5)
    for levels, seed in zip(drawn, seeds, strict=True):
        np.testing.assert_array_equal(levels, plain_sample(model, seed, **how))
    assert len(np.unique(drawn)) > 2


def test_a_context_steers_and_zeros_do_not(make_model):
    model = make_model(n_context=2)
    with torch.no_grad():
        for block in model.module.blocks:
            block.of_context.weight.mul_(8.0)
    context = np.eye(2, dtype=np.float32)
    drawn = sample_naive(model, [1, 1], torch.from_numpy(context))
    for k in range(2):
        np.testing.assert_array_equal(drawn[k], plain_sample(model, 1, context[k]))
    assert (drawn[0] != drawn[1]).any()
    zeros = sample_naive(model, 1, torch.zeros(1, 2))
    np.testing.assert_array_equal(zeros, sample_naive(model, 1))


def test_a_sample_depends_on_its_seed_alone(make_model):
    model = make_model()
    together = sample_naive(model, [3, 9, 3, 4])
    np.testing.assert_array_equal(together[0], together[2])
    np.testing.assert_array_equal(together[1:2], sample_naive(model, 9))
    assert (together[0] != together[1]).any()


@pytest.mark.parametrize("given_rows", [0, 2, 4])
def test_given_rows_are_kept_and_the_rest_follows_them(make_model, given_rows):
    model = make_model(in_channels=3)
    given = np.random.default_rng(0).integers(0, 6, (2, 3, 4, 5)).astype(np.uint8)
    drawn = sample_naive(model, [7, 8], given=given, given_rows=given_rows)
    np.testing.assert_array_equal(drawn[:, :, :given_rows], given[:, :, :given_rows])
    for k, seed in enumerate((7, 8)):
        expected = plain_sample(model, seed, given=given[k], given_rows=given_rows)
        np.testing.assert_array_equal(drawn[k], expected)
    one = sample_naive(model, [7, 8], given=given[0], given_rows=given_rows)
    np.testing.assert_array_equal(one[0], drawn[0])


def test_choices_have_the_distribution_that_the_logits_say():
    logits = torch.tensor([[0.0, 2.0, -torch.inf, 1.0]]).expand(20_000, 4)
    u = noise.uniform(noise.as_seeds(0, 1), 0, noise.STREAM_CHOICE, 20_000)[0]
    for how in ({}, {"temperature": 2.0}, {"top_k": 2}):
        counts = Counter(choose(logits, u, **how).tolist())
        weights = np.exp(np.array([0.0, 2.0, -np.inf, 1.0]) / how.get("temperature", 1.0))
        if "top_k" in how:
            weights[0] = 0
        for level, p in enumerate(weights / weights.sum()):
            assert abs(counts[level] / 20_000 - p) <= 5 * math.sqrt(p * (1 - p) / 20_000), level
            assert p or not counts[level]


def test_choices_at_the_ends_of_the_distribution():
    flat = torch.zeros(1, 4)
    tiny = np.float32(0.5) * np.float32(2.0**-32)  # the lowest u that noise has
    for u, level in ((tiny, 0), (0.25, 1), (np.nextafter(np.float32(0.25), 0), 0), (1.0, 3)):
        assert choose(flat, np.array([u], dtype=np.float32)).tolist() == [level], u
    steep = torch.tensor([[-1e30, 3e37, -3e38]])
    assert choose(steep, np.array([0.7], dtype=np.float32), temperature=0.5).tolist() == [1]
    ties = torch.tensor([[1.0, 1.0, 1.0, 0.0]])  # equals of the second largest are all kept
    assert choose(ties, np.array([0.9], dtype=np.float32), top_k=2).tolist() == [2]
    assert choose(ties, np.array([0.2], dtype=np.float32), top_k=9).tolist() == [0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seeds": []}, "seeds: expected at least one"),
        ({"temperature": 0.0}, r"temperature: expected a positive number, got 0\.0"),
        ({"temperature": math.nan}, "temperature: expected"),
        ({"top_k": 0}, "top_k: expected at least 1, got 0"),
        ({"given_rows": 2}, "given: expected the levels that given_rows keeps, got none"),
        ({"given_rows": 5, "given": np.zeros((1, 4, 5), int)}, "given_rows: expected 0 to 4"),
        ({"given": np.zeros((4, 5), int)}, r"given: expected \[1, 1, 4, 5\], got \[4, 5\]"),
        ({"given": np.full((1, 4, 5), 6)}, "given: expected levels from 0 to 5, got 6 to 6"),
        ({"context": torch.zeros(1, 2)}, r"context: expected \[1, 0\], got \[1, 2\]"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(make_model, wrong, message):
    with pytest.raises(FastdiffError, match=message):
        sample_naive(make_model(), **{"seeds": 0, **wrong})


def test_a_model_in_training_is_refused(make_model):
    model = make_model(seed=3)
    model.module.train()
    with pytest.raises(FastdiffError, match="expected its module in eval mode"):
        sample_naive(model, 0)
