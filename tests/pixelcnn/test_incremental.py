"""Incremental sampling draws what the whole network, once a pixel, draws."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings

torch = pytest.importorskip("torch")

from fastdiff import FastdiffError, noise
from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.models.gated_pixelcnn import GatedPixelCNN, GatedPixelCNNConfig
from fastdiff.models.pixelcnn import PixelCNN, PixelCNNConfig
from fastdiff.pixelcnn import incremental
from fastdiff.pixelcnn.dependencies import analyse
from fastdiff.pixelcnn.evaluator import Evaluator
from fastdiff.pixelcnn.incremental import sample_incremental
from fastdiff.pixelcnn.lower import lower, program_of
from fastdiff.pixelcnn.naive import choose, sample_naive
from tests.pixelcnn.nets import drawn, evaluate, fixed_of, gated, model_of, plain, slopes_of
from tests.pixelcnn.random_nets import networks

KEYS = noise.as_seeds([3, 2**63 + 5])


def check_every_slope(program):
    """Float64, so that no choice can differ by rounding; every slope that is another order."""
    dependencies, slopes = slopes_of(program)
    fixed = fixed_of(program, len(KEYS))
    model = model_of(program, fixed)
    expected = sample_naive(model, KEYS)
    for slope in slopes:
        assert (drawn(dependencies, fixed, model, KEYS, slope) == expected).all(), slope


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(networks())
def test_random_networks_draw_what_the_loop_draws_at_every_slope(program):
    check_every_slope(program)


@pytest.mark.long
@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(networks())
def test_many_random_networks_draw_what_the_loop_draws_at_every_slope(program):
    check_every_slope(program)


@pytest.mark.parametrize(
    "program", [plain(7, 9, 2), plain(6, 5, 1, colours=3), gated(7, 8), gated(3, 11, (1, 4))]
)
def test_networks_of_the_papers_draw_what_the_loop_draws_at_every_slope(program):
    check_every_slope(program)


def test_the_logits_are_those_of_the_whole_network():
    """To rounding, at every pixel; the levels alone would not show a small error."""
    program = gated(6, 7)
    levels = torch.from_numpy(noise.words(KEYS, 0, 0, 42).astype(np.int64) % 3).reshape(2, 1, 6, 7)
    fixed = fixed_of(program, 2)
    model = model_of(program, fixed)
    expected = evaluate(program, {"x": model.input_of(levels).double(), **fixed})
    wavefront = analyse(program).at()
    evaluator, n = Evaluator(wavefront, 2, fixed, torch.float64), wavefront.network
    for subtime in wavefront.subtimes:
        evaluator.advance(subtime)
        rows, columns = cells = wavefront.active(0, subtime)
        if len(rows):
            got = evaluator.read(n.logits[:, 0], cells)
            wanted = expected[:, :, 0, rows, columns].transpose(1, 2)
            assert (got - wanted).abs().max() < 1e-13
            x = model.input_of(levels[:, 0, rows, columns])[..., None]
            evaluator.write(n.channels["x"], cells, x)


@pytest.fixture(scope="module")
def models():
    """Networks of the package in float32, random, with batch norms and contexts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        sizes = {"height": 6, "width": 7, "levels": 8, "n_context": 3}
        coloured = PixelCNN(PixelCNNConfig(in_channels=3, hidden=12, blocks=2, **sizes))
        grey = GatedPixelCNN(GatedPixelCNNConfig(hidden=6, dilations=(1, 2), **sizes))
        for module in (coloured, grey):
            for key, value in [*module.named_parameters(), *module.named_buffers()]:
                if "running" in key:
                    value.uniform_(0.5, 1.5)
                elif "weight" in key and "norm" not in key:
                    value.data *= 2
            module.eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental, "lower", functools.cache(lower))  # tracing takes seconds
        yield (
            AutoregressiveModel(coloured, (3, 6, 7), 8, 3, input_scale=1 / 7, input_shift=0.0),
            AutoregressiveModel(grey, (1, 6, 7), 8, 3, input_scale=2 / 7, input_shift=-1.0),
        )


def test_models_draw_what_the_loop_draws(models):
    for model, slope in zip(models, (4, 5), strict=True):
        split = incremental.lower(model)
        assert split.request.inputs == ("context",)
        assert not split.row.nodes
        assert not split.row_request.nodes
        assert analyse(split.step).slope == slope
        context = torch.eye(3)
        options = {"context": context, "temperature": 1.5, "top_k": 6}
        expected = sample_naive(model, [1, 2, 3], **options)
        assert len(np.unique(expected)) > 3
        assert (sample_incremental(model, [1, 2, 3], **options) == expected).all()
        alone = sample_incremental(model, [2], context[1:2], temperature=1.5, top_k=6, slope=20)
        assert (alone == expected[1:2]).all()
        without = sample_naive(model, [1, 2], torch.zeros(2, 3))
        assert (sample_incremental(model, [1, 2], dtype=torch.float64) == without).all()


def test_given_pixels_are_kept_and_the_rest_follows_from_them(models):
    model, _ = models
    start = sample_naive(model, [7, 8])
    expected = sample_naive(model, [1, 2], given=start, given_rows=3)
    assert (sample_incremental(model, [1, 2], given=start, given_rows=3) == expected).all()
    one = sample_incremental(model, [1, 2], given=start[0], given_rows=2)
    assert (one[:, :, :2] == start[0, :, :2]).all()
    whole = sample_incremental(model, [1, 2], given=start, given_rows=6)
    assert (whole == start).all()


def test_any_pixels_may_be_given(models):
    model, _ = models
    start = sample_naive(model, [7, 8])
    kept = np.zeros((6, 7), dtype=bool)
    kept[1, 2:5] = kept[4:, 0] = kept[5, 6] = True
    u = noise.uniform(KEYS, 0, noise.STREAM_CHOICE, 6 * 7 * 3).reshape(2, 6, 7, 3)
    levels = torch.zeros(2, 3, 6, 7, dtype=torch.int64)
    for i, j, c in np.ndindex(6, 7, 3):
        with torch.no_grad():
            logits = model(model.input_of(levels), torch.zeros(2, 3))[:, :, c, i, j]
        chosen = start[:, c, i, j] if kept[i, j] else choose(logits, u[:, i, j, c])
        levels[:, c, i, j] = torch.from_numpy(chosen)
    got = sample_incremental(model, KEYS, given=start, given_rows=kept)
    assert (got == levels.numpy()).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slope": 3}, "slope: expected an integer from 4 on, got 3"),
        ({"temperature": 0.0}, "temperature: expected a positive number, got 0.0"),
        ({"given_rows": 1}, "given: expected the levels"),
        ({"given_rows": 7}, "given_rows: expected 0 to 6, got 7"),
        (
            {"given_rows": np.ones((6, 6), dtype=bool)},
            r"given_rows: expected a number or bool \[6, 7\], got bool \[6, 6\]",
        ),
        ({"given_rows": np.ones((6, 7))}, r"expected a number or bool \[6, 7\], got float64"),
        ({"context": torch.zeros(1, 2)}, r"context: expected \[1, 3\], got \[1, 2\]"),
    ],
)
def test_wrong_arguments_are_named(models, options, message):
    with pytest.raises(FastdiffError, match=message):
        sample_incremental(models[0], [1], **options)


def test_lowering_leaves_the_mode_of_a_model_alone(models):
    models[1].module.train()
    program = program_of(models[1])
    assert models[1].module.training
    models[1].module.eval()
    assert program.inputs == ("x", "context")
    assert not [n for n in program.nodes if n.op == "batch_norm"]
