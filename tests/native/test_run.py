"""fastdiff-run: its images are the runtime's, its grid Python's, its errors sentences."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest
from PIL import Image

from fastdiff.data.pictures import grid, to_pixels
from tests.native.conftest import cpp_build

pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")


@pytest.fixture(scope="module")
def run():
    program = cpp_build() / "fastdiff-run"
    if not program.exists():
        pytest.skip(f"no {program}: make cpp-test builds it")

    def call(*arguments, code=0):
        command = [program, "--threads", "2", "--no-autotune", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr if code else done.stdout

    return call


@pytest.fixture(scope="module")
def engine(picture_file):
    from fastdiff import runtime

    return runtime.load(picture_file, threads=2, autotune=False)


def test_raw_files_hold_the_runtimes_images(run, engine, picture_file, tmp_path):
    out = tmp_path / "deep" / "er" / "images.raw"
    said = run(
        picture_file, "--n", 7, "--seed", 2**63, "--label", "b", "--guidance=3", "--out", out
    )
    expected = engine.sample(7, seed=2**63, context="b", guidance=3.0).images
    drawn = np.fromfile(out, np.float32).reshape(expected.shape)
    np.testing.assert_allclose(drawn, expected, atol=1e-5)
    assert os.listdir(out.parent) == ["images.raw"]
    for part in ("7 images of tiny", "load 0.", "sampling 0.", "writing 0.", str(out)):
        assert part in said
    assert run(picture_file, "--n", 1, "--out", out, "--quiet") == ""


@pytest.mark.parametrize(
    ("n", "columns", "scale"), [(20, None, 4), (5, 3, 1), (3, 8, 7), (200, 11, 16)]
)
def test_the_grid_is_the_python_commands(run, engine, picture_file, tmp_path, n, columns, scale):
    out = tmp_path / "grid.png"
    options = [] if columns is None else ["--columns", columns]
    run(picture_file, "--n", n, "--context", "none", "--out", out, "--scale", scale, *options)
    sheet = grid(to_pixels(engine.sample(n).images), columns=columns, scale=scale)
    with Image.open(out) as picture:
        picture.load()  # checks every checksum
        assert picture.mode == "RGB"
        assert picture.size == sheet.size
        difference = np.abs(np.asarray(picture, np.int16) - np.asarray(sheet, np.int16))
    # A value beside a rounding border may fall on its other side.
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("options", [(), ("--context", "each")])
def test_classes_begin_rows_of_their_own(run, engine, picture_file, tmp_path, options):
    out = tmp_path / "each.png"
    run(picture_file, "--n", 50, "--guidance", 2, "--out", out, *options)
    names = ["a"] * 17 + ["b"] * 17 + ["c"] * 16
    images = engine.sample(50, context=names, guidance=2.0).images
    sheet = np.asarray(grid(to_pixels(images), scale=4, groups=names), np.int16)
    with Image.open(out) as picture:
        pixels = np.asarray(picture, np.int16)
    # The command in C++ writes no names at the left.
    assert pixels.shape[0] == sheet.shape[0]
    assert np.abs(pixels - sheet[:, -pixels.shape[1] :]).max() <= 1


def test_it_says_what_a_file_holds(run, picture_file, tmp_path):
    text = run(picture_file, "--info", "--out", tmp_path / "never.png")
    for part in ("tiny: 3 x 8 x 8", "context: 3 numbers: a, b, c", '"course"', "conv", "2 threads"):
        assert part in text
    assert not (tmp_path / "never.png").exists()
    assert "--no-autotune" in run("--help")
    assert run("--version").startswith("fastdiff-run ")


WRONG = [
    ((), "ENGINE: expected an engine file"),
    (("FILE", "other"), "ENGINE: expected one file"),
    (("no-such.fdiff",), "no-such.fdiff: expected"),
    (("FILE", "--n", "0"), "--n: expected a whole number from 1 to 10000000, got '0'"),
    (("FILE", "--n", "2000"), "--out: expected a .raw file for more than 1024 images"),
    (("FILE", "--seed", "-1"), "--seed: expected a whole number from 0"),
    (("FILE", "--seed"), "--seed: expected a value"),
    (("FILE", "--seed", "18446744073709551615"), "request.seed: expected seed + n - 1 below"),
    (("FILE", "--label", "z"), "label: expected one of a, b, c, got 'z'"),
    (("FILE", "--label", "a", "--context", "each"), "--label: expected none beside --context"),
    (("FILE", "--context", "1,2"), "--context: expected 3 numbers, got 2"),
    (("FILE", "--context", "1,x,2"), "--context: expected a number, got 'x'"),
    (("FILE", "--context", "none", "--guidance", "2"), "request.guidance: expected a context"),
    (("FILE", "--guidance", "nan"), "--guidance: expected a number, got 'nan'"),
    (("FILE", "--out", "x.gif"), "--out: expected a .png or .raw file, got 'x.gif'"),
    (("FILE", "--out", "/proc/x.png"), "cannot write /proc/x.png ("),
    (("FILE", "--scale", "65"), "--scale: expected a whole number from 1 to 64"),
    (("FILE", "--precision", "half"), "--precision: expected float32 or bf16, got 'half'"),
    (("FILE", "--fast"), "option: expected one of those that fastdiff-run --help lists"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_command_lines_are_one_sentence(run, picture_file, arguments, message):
    said = run(*(picture_file if a == "FILE" else a for a in arguments), code=2)
    assert said.startswith("fastdiff-run: error: ")
    assert message in said
    assert said.count("\n") == 1


def test_two_channels_are_no_picture(run, tiny_file, tmp_path):
    said = run(tiny_file, "--out", tmp_path / "x.png", code=2)
    assert "--out: expected a .raw file, images of 2 channels are no picture" in said
    run(tiny_file, "--n", 3, "--out", tmp_path / "x.raw")
    assert (tmp_path / "x.raw").stat().st_size == 3 * 2 * 8 * 6 * 4
