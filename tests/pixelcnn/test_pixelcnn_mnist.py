"""The packaged pixelcnn-mnist: its card's figure recomputed on a slice of the test images."""

import re

import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff.data.dataset import ImageSet, load_images
from fastdiff.metrics.bits_per_dimension import bits_per_dimension
from fastdiff.pixelcnn.lower import lower
from tests.conftest import ROOT

IMAGES = ROOT.parent / "shared" / "data" / "mnist" / "t10k-images-idx3-ubyte.gz"


def figure(images):
    card = (ROOT / "fastdiff" / "zoo" / "pixelcnn-mnist.md").read_text()
    return float(re.search(rf"\| test, {images} \| (0\.\d+)", card)[1])


@pytest.mark.skipif(not IMAGES.is_file(), reason=f"{IMAGES} is not there")
def test_the_card_says_what_the_first_images_take():
    images = load_images(IMAGES)
    pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")
    engine = fastdiff.compile("pixelcnn-mnist", backend="native")
    bits = engine.bits_per_dimension(images.x[:200])
    assert abs(bits.mean() - figure("the first 200")) < 1e-4
    few = ImageSet(images.x[:8], images.context[:8, :0])
    torchs = bits_per_dimension(fastdiff.load("pixelcnn-mnist"), few)
    assert abs(torchs.mean - bits[:8].mean()) < 1e-5


def test_it_is_small_and_listed():
    assert "pixelcnn-mnist" in fastdiff.packaged()
    assert (ROOT / "fastdiff" / "zoo" / "pixelcnn-mnist.safetensors").stat().st_size < 4_000_000


def test_its_program_is_the_one_that_is_checked_in():
    golden = ROOT / "tests" / "golden" / "pixelcnn-mnist.program.txt"
    text = str(lower(fastdiff.load("pixelcnn-mnist"))) + "\n"
    assert golden.read_text() == text, "changed on purpose? tests/golden/make_programs.py"
