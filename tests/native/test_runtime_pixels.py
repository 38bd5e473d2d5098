"""Autoregressive engine files, run without torch: the same levels as the engine that saved them."""

import subprocess
import sys

import numpy as np
import pytest

from fastdiff import FastdiffError

pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")

# In a Python that cannot import torch.
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it fails
import numpy as np
from fastdiff import runtime
engine = runtime.load(sys.argv[1], threads=2, autotune=False)
drawn = engine.sample(3, seed=5, context=["a", "b", ""], temperature=0.9, top_k=7)
assert drawn.complete and drawn.images.shape == (3, 2, 5, 6)
again = engine.sample(3, seed=1, image=drawn.images, given_rows=2)
bits = engine.bits_per_dimension(drawn.images, context=["a", "b", ""])
for values in (drawn.levels, again.levels, bits):
    print(values.tobytes().hex())
"""


@pytest.fixture(scope="module")
def compiled():
    """An engine of a model with two classes, compiled from it."""
    pytest.importorskip("torch")
    import fastdiff
    from tests.pixelcnn.random_models import random_model

    model = random_model(
        "pixelcnn", seed=2, labels=("a", "b"), in_channels=2, height=5, width=6, levels=9,
        hidden=8, blocks=2, n_context=2,
    )  # fmt: skip
    return fastdiff.compile(model, backend="native", options={"threads": 1, "autotune": False})


@pytest.fixture(scope="module")
def file(compiled, tmp_path_factory):
    path = tmp_path_factory.mktemp("pixels") / "pixels.fdiff"
    compiled.save(path)
    return path


@pytest.fixture(scope="module")
def loaded(file):
    from fastdiff import runtime

    return runtime.load(file, threads=2, autotune=False)


@pytest.mark.parametrize(
    "request_of",
    [
        {"n": 5, "seed": 3},
        {"seed": [9, 3, 2**64 - 1], "context": ["a", "", "b"], "batch_size": 2},
        {"n": 2, "context": [0.5, 0.25], "temperature": 0.6, "top_k": 3},
    ],
    ids=("plain", "classes", "rule"),
)
def test_it_draws_what_the_model_draws(compiled, loaded, request_of):
    theirs, ours = compiled.sample(**request_of), loaded.sample(**request_of)
    assert len(np.unique(ours.levels)) > 2
    for name in ("levels", "images", "seeds", "rows", "complete"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), name)


def test_it_completes_images_as_the_model_does(compiled, loaded):
    image = compiled.sample(1, seed=70).images[0]
    mask = np.zeros((5, 6), bool)
    mask[2:, 1:4] = True
    for request in ({"given_rows": 3}, {"mask": mask}):
        theirs, ours = (each.sample(3, image=image, **request) for each in (compiled, loaded))
        np.testing.assert_array_equal(ours.levels, theirs.levels)
        assert (ours.levels[0] != ours.levels[1]).any()
    np.testing.assert_array_equal(
        loaded.bits_per_dimension(ours.images), compiled.bits_per_dimension(ours.images)
    )


def test_it_draws_where_torch_cannot_be_imported(compiled, file):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    context = ["a", "b", ""]
    drawn = compiled.sample(3, seed=5, context=context, temperature=0.9, top_k=7)
    again = compiled.sample(3, seed=1, image=drawn.images, given_rows=2)
    bits = compiled.bits_per_dimension(drawn.images, context=context)
    expected = [values.tobytes().hex() for values in (drawn.levels, again.levels, bits)]
    assert done.stdout.split() == expected


def test_it_says_what_it_is(compiled, loaded):
    model = compiled.model
    for name in ("name", "sample_shape", "levels", "context_width", "labels"):
        assert getattr(loaded.model, name) == getattr(model, name), name
    assert loaded.name == "pixelcnn"
    assert loaded.backend == "native"
    assert "wavefront slope 4" in repr(loaded)
    assert "(smallest 4)" in loaded.describe(2)
    with pytest.raises(FastdiffError, match="context: expected one of a, b, got 'c'"):
        loaded.sample(1, context="c")


def test_the_same_model_makes_the_same_file(compiled, file, tmp_path):
    compiled.save(tmp_path / "again.fdiff")
    assert (tmp_path / "again.fdiff").read_bytes() == file.read_bytes()
