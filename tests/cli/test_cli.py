"""The command line as a person uses it: real processes, real files, one-line errors."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

import fastdiff
from fastdiff.cli.main import main
from fastdiff.cli.requests import parse_context, parse_options, parse_seeds
from fastdiff.errors import FastdiffError


def run(*args, code=0, cwd=None):
    command = [sys.executable, "-m", "fastdiff", *map(str, args)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture
def error(capsys):
    """Runs a command that must fail; its one line on stderr. In this process: torch loads once."""

    def failing(*args):
        assert main([str(a) for a in args]) == 2
        text = capsys.readouterr().err.strip()
        assert text.startswith("fastdiff ")
        assert len(text.splitlines()) == 1
        return text

    return failing


@pytest.fixture(scope="module")
def checkpoint(tiny_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    fastdiff.save(tiny_model, path)
    return path


def test_sample_writes_all_that_was_asked(checkpoint, tmp_path):
    out = {
        "--out": tmp_path / "a" / "grid.png",
        "--images": tmp_path / "single",
        "--npz": tmp_path / "s.npz",
        "--gif": tmp_path / "s.gif",
    }
    flags = [v for pair in out.items() for v in pair]
    done = run(
        "sample", "--model", checkpoint, "--sampler", "ddim", "--steps", 6, "--context", "a:2,c:1",
        "--seed", 10, "--guidance", 1.5, "--set", "eta=0.5", "--batch-size", 2, *flags,
    )  # fmt: skip
    assert "3 images of tiny, ddim:6,eta=0.5, backend " in done.stdout
    model = fastdiff.load(checkpoint)
    engine = fastdiff.compile(model, "ddim", 6, backend="eager", eta=0.5)
    expected = engine.sample(3, seed=10, context=["a", "a", "c"], guidance=1.5).images

    with np.load(out["--npz"]) as file:
        np.testing.assert_allclose(file["images"], expected, atol=1e-4)
        assert file["seeds"].tolist() == [10, 11, 12]
        assert json.loads(str(file["facts"]))["sampler"] == "ddim:6,eta=0.5"
    names = sorted(p.name for p in out["--images"].iterdir())
    assert names == ["0-seed10.png", "1-seed11.png", "2-seed12.png"]
    with Image.open(out["--images"] / names[2]) as image:
        assert image.size == (32, 32)
        assert image.text["seed"] == "12"
        assert image.text["context"] == "c"
        assert image.text["model"] == "tiny"
        small = np.asarray(image)[::4, ::4].astype(float)
    pixels = (expected[2].transpose(1, 2, 0) + 1) * 127.5
    assert np.abs(small - pixels).max() <= 1.0
    with Image.open(out["--out"]) as image:
        assert image.text["seeds"] == "10,11,12"
        assert image.text["sampler"] == "ddim:6,eta=0.5"
    with Image.open(out["--gif"]) as image:
        assert image.n_frames == 6


def test_seeds_of_ones_own(checkpoint, tmp_path):
    npz = tmp_path / "s.npz"
    run("sample", "--model", checkpoint, "--steps", 2, "--seeds", "7,3-4", "--npz", npz,
        "--out", tmp_path / "g.png", "--quiet")  # fmt: skip
    with np.load(npz) as file:
        assert file["seeds"].tolist() == [7, 3, 4]


def test_the_collapse_without_noise_can_be_asked_for(checkpoint, tmp_path):
    done = run("sample", "--model", checkpoint, "--sampler", "ddpm", "--steps", 5, "--n", 1,
               "--set", "noise=false", "--out", tmp_path / "g.png")  # fmt: skip
    assert "ddpm:5,noise=False" in done.stdout


@pytest.fixture
def pictures(tmp_path):
    """Two 16x16 pictures and a mask: one with transparency, to be halved to the model's 8x8."""
    rng = np.random.default_rng(1)
    a = rng.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    a[:4, :, 3], a[4:, :, 3] = 0, 255
    b = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[8:] = 255
    paths = {}
    for name, pixels in (("a", a), ("b", b), ("mask", mask)):
        paths[name] = tmp_path / f"{name}.png"
        Image.fromarray(pixels).save(paths[name])
    small = a[..., :3].reshape(8, 2, 8, 2, 3).mean(axis=(1, 3))
    small[:2] = 255  # transparent is white
    return {**paths, "a_8x8": small, "b_8x8": b.reshape(8, 2, 8, 2, 3).mean(axis=(1, 3))}


def sampled(checkpoint, tmp_path, *args):
    """Runs ``fastdiff sample`` in this process; (images, seeds, facts, the grid's size)."""
    npz, out = tmp_path / "s.npz", tmp_path / "g.png"
    command = ["sample", "--model", checkpoint, "--npz", npz, "--out", out, "--quiet", *args]
    assert main([str(a) for a in command]) == 0
    with np.load(npz) as file, Image.open(out) as image:
        return file["images"], file["seeds"].tolist(), json.loads(str(file["facts"])), image.size


def as_floats(pixels):
    return (pixels.transpose(2, 0, 1) / 127.5 - 1).astype(np.float32)


def test_an_image_is_drawn_again(checkpoint, tmp_path, pictures):
    args = ["--steps", 10, "--image", pictures["a"], "--seed", 5]
    images, seeds, facts, size = sampled(checkpoint, tmp_path, *args)
    assert seeds == list(range(5, 13))
    assert size == (8 * (32 + 2) + 2, 32 + 2 + 2)  # in one row
    assert (facts["image"], facts["strength"], facts["context"]) == ("a.png", 0.6, "none")
    engine = fastdiff.compile(fastdiff.load(checkpoint), steps=10, backend="eager")
    a = as_floats(pictures["a_8x8"])
    assert np.abs(images - engine.sample(8, seed=5, image=a).images).max() < 0.05  # 8-bit rounding
    args += ["--strength", 0.3, "--context", "b:2,c:1", "--guidance", 2]
    images, seeds, facts, _ = sampled(checkpoint, tmp_path, *args)
    assert (seeds, facts["strength"], facts["context"]) == ([5, 6, 7], 0.3, "b:2,c:1")
    images, seeds, _, _ = sampled(
        checkpoint, tmp_path, "--steps", 4, "--image", pictures["a"], "--seeds", "3,9"
    )
    assert seeds == [3, 9]


def test_a_part_of_an_image_is_drawn_anew(checkpoint, tmp_path, pictures):
    args = ["--steps", 6, "--image", pictures["a"], "--mask", pictures["mask"], "--n", 3]
    gif = tmp_path / "s.gif"
    images, _, facts, _ = sampled(checkpoint, tmp_path, *args, "--gif", gif, "--gif-of", "x0")
    assert (facts["mask"], facts["strength"]) == ("mask.png", 1.0)
    a = as_floats(pictures["a_8x8"])
    assert np.abs(images[:, :, :4] - a[:, :4]).max() <= 1 / 127.5 + 1e-6  # rounded to pixels
    assert np.ptp(images[:, :, :4], axis=0).max() == 0
    assert np.abs(images[0, :, 4:] - images[1, :, 4:]).max() > 0.01
    with Image.open(gif) as image:
        assert image.n_frames > 1


def test_the_preview_of_x0_is_not_x(checkpoint, tmp_path):
    frames = {}
    for of in ("x", "x0"):
        gif = tmp_path / f"{of}.gif"
        args = ("--steps", 5, "--n", 2, "--gif", gif, "--gif-of", of)
        sampled(checkpoint, tmp_path, *args)
        with Image.open(gif) as image:
            frames[of] = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(frames["x"] - frames["x0"]).mean() > 2


def test_ways_between_images_and_between_seeds(checkpoint, tmp_path, pictures):
    engine = fastdiff.compile(fastdiff.load(checkpoint), steps=6, backend="eager")
    files = [pictures["a"], pictures["b"]]
    images, seeds, facts, size = sampled(
        checkpoint, tmp_path, "--steps", 6, "--interpolate", *files, "--seed", 2
    )
    a, b = as_floats(pictures["a_8x8"]), as_floats(pictures["b_8x8"])
    assert np.abs(images - engine.interpolate(a, b, seed=2).images).max() < 0.05
    assert seeds == [2] * 9
    assert size[0] == 9 * (32 + 2) + 2
    assert (facts["interpolate"], facts["strength"]) == ("a.png to b.png", 0.5)
    images, seeds, facts, _ = sampled(
        checkpoint, tmp_path, "--steps", 6, "--between-seeds", "3:14", "--n", 4, "--context", "b",
        "--guidance", 3, "--guidance-rescale", 0.7, "--guidance-until", 0.5,
    )  # fmt: skip
    expected = engine.between_seeds(
        3, 14, 4, context="b", guidance=3.0, guidance_rescale=0.7, guidance_until=0.5
    )
    np.testing.assert_allclose(images, expected.images, atol=1e-4)
    assert seeds == [3] * 4
    assert (facts["between_seeds"], facts["guidance_rescale"]) == ("3:14", 0.7)
    assert facts["guidance_until"] == 0.5


def test_edits_that_cannot_be_made_are_named(checkpoint, tmp_path, pictures, error):
    base = ["sample", "--model", checkpoint, "--out", tmp_path / "g.png"]
    image, words = ["--image", pictures["a"]], tmp_path / "words.png"
    words.write_text("no picture")
    cases = [
        (["--image", tmp_path / "no.png"], "--image: expected an image file, got"),
        (["--image", words], "--image: expected an image file, got"),
        (["--mask", pictures["mask"]], "--mask: expected an --image to keep a part of"),
        ([*image, "--mask", words], "--mask: expected an image file"),
        (["--strength", 0.5], "--strength: expected an --image or --interpolate, got neither"),
        ([*image, "--strength", 0], "strength: expected a number in (0, 1], got 0.0"),
        ([*image, "--between-seeds", "1:2"], "--between-seeds: expected one start, got --image"),
        (["--between-seeds", "1-2"], "--between-seeds: expected two seeds like 3:14, got '1-2'"),
        (["--between-seeds", "1:"], "--between-seeds: expected two seeds like 3:14, got '1:'"),
        (["--between-seeds", "1:2", "--seeds", "3"], "--seeds: expected none beside --between-se"),
        (["--interpolate", pictures["a"], words], "--interpolate: expected an image file"),
        (["--interpolate", pictures["a"], pictures["b"], "--seeds", "1"], "expected 2 seeds for n"),
        ([*image, "--sampler", "ddim_inverse"], "sampler: expected one that leads to an image"),
        (["--guidance-rescale", 2], "guidance_rescale: expected numbers from 0 to 1, got 2.0"),
        (["--guidance-until", -1], "guidance_until: expected a number from 0 to 1, got -1.0"),
        (["--gif-of", "x0"], "--gif-of: expected a --gif to write, got none"),
        (["--set", "strength=0.5"], "--set: strength has a flag of its own, --strength"),
    ]
    for args, message in cases:
        assert message in error(*base, *args), args
    assert not (tmp_path / "g.png").exists()


def test_info_names_machine_backends_and_versions():
    text = run("info").stdout
    for word in ("machine", "backends", "eager", "available", "tensorrt", "versions", "torch"):
        assert word in text
    facts = json.loads(run("info", "--json").stdout)
    assert facts["backends"]["eager"] == "available"
    assert facts["backends"]["cuda"].startswith("unavailable: ")
    assert facts["versions"]["numpy"] == np.__version__
    assert "ddim:4: 4 rows" in run("info", "--table", "ddim:4").stdout
    program = run("info", "--program", "sprites16").stdout
    assert program.startswith("row\nsprites16, row: t [B] -> ")
    assert "\nstep\nsprites16: x [B,3,16,16], " in program
    text = run("info", "--table", "unipc:6,order=3,spacing=karras").stdout
    assert text.startswith("unipc:6,order=3: 6 rows")
    assert "m[3]" in text


def test_info_imports_no_torch():
    probe = "import sys; from fastdiff.cli.main import main; main(['info']); "
    probe += "print('torch' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, env=env
    )
    assert done.stdout.strip().endswith("False")


def test_train_sample_and_resume(tmp_path, error):
    data = tmp_path / "data"
    rng = np.random.default_rng(0)
    for name in ("red", "blue"):
        (data / name).mkdir(parents=True)
        for k in range(6):
            pixels = rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(data / name / f"{k}.png")
    (data / "red" / "broken.png").write_bytes(b"x")
    out = tmp_path / "run"
    common = ["train", "--data", data, "--size", 8, "--out", out, "--n-feat", 8, "--batch-size", 4,
              "--sample-every", 0, "--quiet"]  # fmt: skip
    done = run(*common, "--steps", 2)
    assert "1 unreadable images skipped" in done.stdout
    assert "trained step 2" in done.stdout
    assert "holds a run already" in error(*common, "--steps", 4)
    assert "resuming at step 2" in run(*common, "--steps", 4, "--resume").stdout
    model = fastdiff.load(out / "model.safetensors")
    assert model.labels == ("blue", "red")
    assert model.name == "run"
    again = ["--init", out / "model.safetensors", "--out", tmp_path / "again", "--lr", 1e-9]
    assert main([str(a) for a in [*common, "--steps", 1, *again]]) == 0
    tuned = fastdiff.load(tmp_path / "again" / "model.safetensors").module.state_dict()
    for key, value in model.module.state_dict().items():
        if "running" not in key:
            assert (tuned[key] - value).abs().max() < 1e-3, key
    run("sample", "--model", out / "model.safetensors", "--steps", 1, "--context", "red", "--n", 2,
        "--out", tmp_path / "g.png")  # fmt: skip


def test_a_process_ends_with_one_sentence_and_code_2(tmp_path):
    done = run("sample", "--model", "nothing", code=2)
    assert done.stderr.startswith("fastdiff sample: error: model: expected one of")
    assert len(done.stderr.splitlines()) == 1


def test_wrong_input_ends_with_one_sentence_and_code_2(checkpoint, tmp_path, error):
    out = ["--out", tmp_path / "g.png"]
    folder = tmp_path / "folder.png"
    folder.mkdir()
    base = ["sample", "--model", checkpoint, *out]
    cases = [
        (["sample", "--model", "nothing", *out], "got 'nothing'"),
        ([*base, "--steps", 0], "steps: expected an integer from 1 to 500, got 0"),
        ([*base, "--steps", 501], "got 501"),
        ([*base, "--sampler", "magic"], "sampler: expected one of ddpm, ddim,"),
        ([*base, "--backend", "abacus"], "backend: expected auto or one of"),
        ([*base, "--backend", "cuda"], "'cuda' is not available here"),
        ([*base, "--context", "dragon"], "context: expected one of a, b, c, got 'dragon'"),
        ([*base, "--context", "1,0"], "context: expected numbers [3]"),
        ([*base, "--context", "a:2,b"], "a count after every class or none"),
        ([*base, "--n", 0], "--n: expected at least 1, got 0"),
        ([*base, "--seeds", "1,x"], "--seeds: expected numbers and ranges"),
        ([*base, "--set", "eta"], "--set: expected NAME=VALUE"),
        ([*base, "--set", "steps=2"], "--set: steps has a flag of its own"),
        ([*base, "--sampler", "ddim", "--set", "eta=2"], "eta: expected a number from 0 to 1"),
        ([*base, "--scale", 0], "--scale: expected 1 to 64"),
        ([*base, "--guidance", 2, "--context", "none"], "guidance: expected a context"),
        (["sample", "--model", checkpoint, "--out", "/proc/no/g.png"], "cannot write /proc/no"),
        ([*base, "--npz", tmp_path], "--npz: expected a .npz file"),
        (["sample", "--model", checkpoint, "--out", tmp_path / "g.jpg"], "expected a .png file"),
        (["sample", "--model", checkpoint, "--out", folder], "cannot write"),
        (["info", "--table", "ddim:many"], "--table: expected SAMPLER or SAMPLER:STEPS"),
        (["info", "--table", "ddim:5,eta"], "--table: expected NAME=VALUE, got 'eta'"),
        (["train", "--data", tmp_path / "no", "--out", tmp_path / "r"], "data: expected a folder"),
        ([*base, "--device", "toaster"], "device: 'toaster' cannot be used here"),
    ]
    for args, message in cases:
        assert message in error(*args), args
    np.save(tmp_path / "odd.npy", np.zeros((2, 18, 18, 3), dtype=np.uint8))
    train = ["train", "--out", tmp_path / "r", "--data"]
    assert "divisible by 4, got 18" in error(*train, tmp_path / "odd.npy")
    device = ["--size", 8, "--device", "toaster", "--n-feat", 8]
    assert "device: 'toaster' cannot be used" in error(*train, tmp_path / "odd.npy", *device)
    np.save(tmp_path / "wide.npy", np.zeros((2, 16, 20, 3), dtype=np.uint8))
    assert "expected square images, got 16x20" in error(*train, tmp_path / "wide.npy")
    assert "--size: expected 4 to 1024" in error(*train, tmp_path / "wide.npy", "--size", 0)
    truncated = tmp_path / "cut.safetensors"
    truncated.write_bytes(checkpoint.read_bytes()[:1000])
    assert "not a whole safetensors file" in error("sample", "--model", truncated, *out)
    assert not (tmp_path / "g.png").exists()


def test_an_output_that_fails_spares_the_others(checkpoint, tmp_path, monkeypatch, capsys):
    from fastdiff.cli import writing

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "npz", full)
    code = main(["sample", "--model", str(checkpoint), "--steps", "1", "--n", "2", "--quiet",
                 "--npz", str(tmp_path / "s.npz"), "--out", str(tmp_path / "g.png")])  # fmt: skip
    assert code == 2
    assert (tmp_path / "g.png").exists()
    assert "No space left on device" in capsys.readouterr().err


def test_requests_are_parsed_as_people_write_them():
    labels = ("a", "b", "c")
    assert parse_seeds("3,1,4-6") == [3, 1, 4, 5, 6]
    assert parse_context(None, labels, 3)[1:] == (["a", "b", "c"], 3)
    assert parse_context(None, (), None) == (None, None, 64)
    assert parse_context("none", labels, None) == (None, None, 64)
    assert parse_context("each", labels, 7)[1:] == (["a", "a", "a", "b", "b", "c", "c"], 7)
    assert parse_context("b", labels, 2)[0] == ["b", "b"]
    assert parse_context("c:1,a:2", labels, None)[1:] == (["c", "a", "a"], 3)
    vector, names, n = parse_context("0,0.5,0.5", labels, 4)
    assert (vector.tolist(), names, n) == ([0.0, 0.5, 0.5], None, 4)
    digits = tuple("0123456789")
    assert parse_context("7", digits, 2)[0] == ["7", "7"]
    assert parse_context("3:1,1:2", digits, None)[0] == ["3", "1", "1"]
    assert parse_context("0,0,0,0,0,0,0,1,0,0", digits, 2)[0].argmax() == 7
    assert parse_options(["eta=0.5", "noise=false", "clip=-1:1", "spacing=leading"]) == {
        "eta": 0.5, "noise": False, "clip": (-1.0, 1.0), "spacing": "leading",
    }  # fmt: skip
    with pytest.raises(FastdiffError, match="add up to 3, but n is 5"):
        parse_context("c:1,a:2", labels, 5)
    for bad in ("", "7-3", "1,,2", "-1"):
        with pytest.raises(FastdiffError, match="--seeds"):
            parse_seeds(bad)
