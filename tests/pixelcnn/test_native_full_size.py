"""Images of the size that networks are made for: minutes, by the loop itself."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
native = pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")

from fastdiff import checkpoint, noise
from fastdiff.pixelcnn.naive import sample_naive
from fastdiff.pixelcnn.save import pixel_engine_bytes_of
from tests.conftest import ROOT
from tests.pixelcnn.agreement import check_naive, judge, rounding
from tests.pixelcnn.random_models import in_float64, random_model

pytestmark = pytest.mark.long
PACKAGED = ROOT / "fastdiff" / "zoo" / "pixelcnn-mnist.safetensors"


def engine_of(model, autotune=False):
    return native.PixelEngine(pixel_engine_bytes_of(model), autotune=autotune)


@pytest.mark.parametrize("levels", [16, 256])
def test_a_deep_network_draws_what_the_loop_draws(levels):
    model = random_model("pixelcnn", height=28, width=28, levels=levels, hidden=32, blocks=15)
    seeds = noise.as_seeds([3, 2**63, 4, 77])
    drawn, _ = engine_of(model).sample(seeds)
    assert len(np.unique(drawn)) > levels // 2
    check_naive(in_float64(model), seeds, drawn)


@pytest.fixture(scope="module")
def reference_size():
    return random_model("pixelcnn", height=28, width=28, levels=256, hidden=128, blocks=15)


def test_a_network_of_the_papers_size_draws_the_same_at_every_slope(reference_size):
    """Each choice also judged by the whole network, in pieces for its memory."""
    engine, seeds = engine_of(reference_size, autotune=True), noise.as_seeds(5, 64)
    drawn, _ = engine.sample(seeds, slope=engine.slope)
    for slope in (engine.slope + 1, 28, 40):
        again, _ = engine.sample(seeds, slope=slope)
        np.testing.assert_array_equal(again, drawn, str(slope))
    for k in (1, 17):
        alone, _ = engine.sample(seeds[k : k + 1])
        np.testing.assert_array_equal(alone, drawn[k : k + 1])
    exact = in_float64(reference_size)
    ties = sum(int(judge(exact, seeds[k : k + 8], drawn[k : k + 8]).sum()) for k in range(0, 64, 8))
    assert ties <= 6, f"{ties} images with ties of 64"


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="seed 2 has a choice 1.4e-6 from an edge of the CDF"
)
def test_the_packaged_network_draws_what_float64_draws_but_for_ties_within_1e_6():
    """What is asked of it; the next test says how far it is from that."""
    model = checkpoint.load("pixelcnn-mnist")
    seeds = noise.as_seeds(0, 64)
    drawn, _ = engine_of(model).sample(seeds)
    judge(in_float64(model), seeds, drawn, most=6)


def test_the_packaged_network_draws_what_the_loop_draws():
    if not PACKAGED.exists():
        pytest.skip(f"no {PACKAGED.relative_to(ROOT)} yet")
    model = checkpoint.load("pixelcnn-mnist")
    seeds = noise.as_seeds(0, 64)
    context = None
    if model.context_width:
        context = np.eye(model.context_width, dtype=np.float32)[np.arange(64) % model.context_width]
    tensor = None if context is None else torch.from_numpy(context)
    drawn, _ = engine_of(model, autotune=True).sample(seeds, context=context)
    exact = in_float64(model)
    tie = rounding(model, exact, drawn, tensor)
    assert tie < 2e-5
    tied = judge(exact, seeds, drawn, tensor, most=3, tie=tie)
    expected = sample_naive(model, seeds, tensor).astype(np.int32)
    tied |= judge(exact, seeds, expected, tensor, most=3, tie=tie)
    np.testing.assert_array_equal(drawn[~tied], expected[~tied])
    print(f"{tied.sum()} of 64 images hold a tie within {tie:.1e}")
