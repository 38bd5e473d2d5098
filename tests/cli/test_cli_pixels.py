"""``fastdiff sample`` on a model that draws pixel by pixel: files, facts, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")

import fastdiff
from fastdiff.cli.main import main
from tests.pixelcnn.random_models import random_model


@pytest.fixture(scope="module")
def model():
    return random_model(
        "pixelcnn", labels=("a", "b"), height=6, width=5, levels=4, hidden=6, blocks=1, n_context=2
    )


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    fastdiff.save(model, path)
    return path


@pytest.fixture(scope="module")
def engine(checkpoint):
    """Of the file, whose kernels are float16."""
    model = fastdiff.load(checkpoint)
    return fastdiff.compile(model, backend="native", options={"autotune": False})


@pytest.fixture
def sampled(checkpoint, tmp_path):
    """Runs the command in this process: (images, seeds, facts)."""

    def run(*args):
        npz, out = tmp_path / "s.npz", tmp_path / "g.png"
        command = ["sample", "--model", checkpoint, "--npz", npz, "--out", out, "--quiet", *args]
        assert main([str(a) for a in command]) == 0
        with np.load(npz) as file:
            return file["images"], file["seeds"].tolist(), json.loads(str(file["facts"]))

    return run


@pytest.fixture
def pictures(tmp_path):
    """A picture at the model's own size, and a mask: white in its last three rows."""
    pixels = np.random.default_rng(1).integers(0, 256, (6, 5), dtype=np.uint8)
    mask = np.zeros((6, 5), dtype=np.uint8)
    mask[3:, 1:] = 255
    for name, array in (("picture", pixels), ("mask", mask)):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    return {"picture": tmp_path / "picture.png", "mask": tmp_path / "mask.png", "pixels": pixels}


@pytest.fixture
def error(capsys):
    """Runs a command that must fail; its one line on stderr."""

    def failing(*args):
        assert main([str(a) for a in args]) == 2
        text = capsys.readouterr().err.strip()
        assert text.startswith("fastdiff sample: error: ")
        assert len(text.splitlines()) == 1
        return text

    return failing


def test_it_writes_all_that_was_asked(sampled, engine, tmp_path, capsys):
    single = tmp_path / "single"
    images, seeds, facts = sampled(
        "--context", "a:2,b:1", "--seed", 10, "--temperature", 0.7, "--top-k", 3,
        "--images", single, "--backend", "eager", "--batch-size", 2,
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "3 images of pixelcnn, backend eager, " in said
    for path in ("g.png", "single", "s.npz"):
        assert str(tmp_path / path) in said
    expected = engine.sample(3, seed=10, context=["a", "a", "b"], temperature=0.7, top_k=3)
    np.testing.assert_array_equal(images, expected.images)
    assert seeds == [10, 11, 12]
    assert facts == {
        "model": "pixelcnn", "temperature": 0.7, "top_k": 3, "context": "a:2,b:1",
        "backend": "eager",
    }  # fmt: skip
    names = sorted(p.name for p in single.iterdir())
    assert names == ["0-seed10.png", "1-seed11.png", "2-seed12.png"]
    with Image.open(single / names[2]) as image:
        assert image.size == (20, 24)
        assert (image.text["seed"], image.text["context"]) == ("12", "b")
        assert (image.text["temperature"], image.text["top_k"]) == ("0.7", "3")
        small = np.asarray(image.convert("L"))[::4, ::4]
    np.testing.assert_array_equal(small, expected.levels[2, 0] * 85)
    with Image.open(tmp_path / "g.png") as image:
        assert image.text["seeds"] == "10,11,12"
        assert image.text["model"] == "pixelcnn"
        assert "sampler" not in image.text


def test_classes_take_turns_unless_told_otherwise(sampled, engine):
    images, seeds, facts = sampled("--seeds", "7,3-4,2")
    assert seeds == [7, 3, 4, 2]
    assert facts["context"] == "each"
    expected = engine.sample(seed=seeds, context=["a", "a", "b", "b"])
    np.testing.assert_array_equal(images, expected.images)
    images, _, facts = sampled("--n", 2, "--context", "none", "--batch-size", 1)
    assert facts["context"] == "none"
    np.testing.assert_array_equal(images, engine.sample(2).images)


def test_rows_of_a_picture_stay(sampled, engine, pictures):
    images, seeds, facts = sampled(
        "--image", pictures["picture"], "--given-rows", 2, "--n", 3, "--seed", 5
    )
    assert seeds == [5, 6, 7]
    assert (facts["image"], facts["given_rows"], facts["context"]) == ("picture.png", 2, "none")
    expected = engine.sample(3, seed=5, image=pictures["pixels"][..., None], given_rows=2)
    np.testing.assert_array_equal(images, expected.images)
    kept = pictures["pixels"][:2].astype(int) * 4 // 256
    np.testing.assert_array_equal(expected.levels[:, 0, :2], np.broadcast_to(kept, (3, 2, 5)))


def test_pixels_under_a_mask_are_drawn_anew(sampled, engine, pictures):
    images, _, facts = sampled(
        "--image", pictures["picture"], "--mask", pictures["mask"], "--n", 4, "--context", "b"
    )
    assert (facts["image"], facts["mask"], facts["context"]) == ("picture.png", "mask.png", "b")
    mask = np.zeros((6, 5), bool)
    mask[3:, 1:] = True
    expected = engine.sample(4, image=pictures["pixels"][..., None], mask=mask, context="b")
    np.testing.assert_array_equal(images, expected.images)
    assert np.ptp(images[:, 0, ~mask], axis=0).max() == 0
    assert np.ptp(images[:, 0, mask], axis=0).max() > 0


def test_what_is_not_its_own_is_refused(checkpoint, pictures, tmp_path, error):
    base = ["sample", "--model", checkpoint, "--out", tmp_path / "g.png"]
    image = ["--image", pictures["picture"]]
    of_diffusion = "expected none, pixelcnn draws pixel by pixel"
    cases = [
        (["--guidance", 2], f"--guidance: {of_diffusion}"),
        (["--guidance-rescale", 0.5], f"--guidance-rescale: {of_diffusion}"),
        (["--guidance-until", 0.5], f"--guidance-until: {of_diffusion}"),
        (["--gif", tmp_path / "s.gif"], f"--gif: {of_diffusion}"),
        ([*image, "--strength", 0.5], f"--strength: {of_diffusion}"),
        (["--interpolate", *image[1:] * 2], f"--interpolate: {of_diffusion}"),
        (["--between-seeds", "1:2"], f"--between-seeds: {of_diffusion}"),
        (["--sampler", "ddim"], f"sampler: {of_diffusion} and has no sampler"),
        (["--steps", 5], f"steps: {of_diffusion} and has no sampler"),
        (["--set", "eta=0.5"], f"eta: {of_diffusion} and has no sampler"),
        (["--temperature", 0], "temperature: expected a positive number, got 0.0"),
        (["--temperature", "nan"], "temperature: expected a positive number, got nan"),
        (["--top-k", 0], "top_k: expected an integer from 1 to 4, got 0"),
        (["--top-k", 5], "top_k: expected an integer from 1 to 4, got 5"),
        (["--given-rows", 2], "given_rows: expected an image to keep a part of, got none"),
        (["--mask", pictures["mask"]], "--mask: expected an --image to keep a part of, got none"),
        (image, "image: expected either given_rows or a mask to say what of it stays, got neither"),
        ([*image, "--given-rows", 7], "given_rows: expected an integer from 0 to 6, got 7"),
        ([*image, "--given-rows", 1, "--mask", pictures["mask"]], "mask to say what of it stays, "),
        (["--image", tmp_path / "no.png"], "--image: expected an image file, got"),
        (["--context", "dragon"], "context: expected one of a, b, got 'dragon'"),
        (["--n", 0], "--n: expected at least 1, got 0"),
        (["--batch-size", 0], "batch_size: expected an integer of at least 1, got 0"),
    ]
    for args, message in cases:
        assert message in error(*base, *args), args
    assert not (tmp_path / "g.png").exists()


@pytest.mark.parametrize(
    ("flag", "value"), [("--temperature", 0.5), ("--top-k", 3), ("--given-rows", 2)]
)
def test_its_own_options_are_refused_for_diffusion(flag, value, tmp_path, error):
    text = error(
        "sample", "--model", "sprites16", "--backend", "eager", "--out", tmp_path / "g.png",
        flag, value,
    )  # fmt: skip
    assert f"{flag}: expected a model that draws pixel by pixel, sprites16 does not" in text
    assert not (tmp_path / "g.png").exists()
