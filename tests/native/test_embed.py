"""The installed package as an embedder meets it: examples/embed_c built by find_package and by
pkg-config from a prefix that has been moved, and run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from fastdiff.data.pictures import to_pixels
from tests.conftest import ROOT
from tests.native.conftest import cpp_build

pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")
EXAMPLE = ROOT / "examples" / "embed_c"


def done(*command, **options):
    result = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **options,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """Where the library is installed, after a move."""
    cmake, build = shutil.which("cmake"), cpp_build()
    if cmake is None or not (build / "fastdiff-run").exists():
        pytest.skip("cmake and what make cpp-test builds are needed")
    folder = tmp_path_factory.mktemp("installed")
    done(cmake, "--install", build, "--component", "library", "--prefix", folder / "first")
    return (folder / "first").rename(folder / "moved")


@pytest.fixture(scope="module")
def expected(picture_file):
    """The pixels of the example's eight images, side by side: [H, 8 W, 3]."""
    from fastdiff import runtime

    engine = runtime.load(picture_file, autotune=False)
    names = [engine.labels[k % len(engine.labels)] for k in range(8)]
    pixels = to_pixels(engine.sample(8, seed=0, context=names, guidance=2.0).images)
    return np.concatenate(list(pixels), axis=1)


def check_example(program, picture_file, expected, tmp_path):
    out = tmp_path / "out.ppm"
    result = done(program, picture_file, out)
    assert result.stdout.startswith("tiny: 3 x 8 x 8, 6 rows, fastdiff ")
    assert "row 6 of 6" in result.stderr
    head, size, top, pixels = out.read_bytes().split(b"\n", 3)
    height, width = expected.shape[:2]
    assert (head, size, top) == (b"P6", b"%d %d" % (width, height), b"255")
    drawn = np.frombuffer(pixels, np.uint8).reshape(expected.shape)
    # It chooses algorithms by timing, we by rule: rounding may differ.
    assert np.abs(drawn.astype(int) - expected).max() <= 1

    failed = subprocess.run(
        [program, tmp_path / "none.fdiff", out], capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert "none.fdiff: expected" in failed.stderr


def test_the_example_with_find_package(prefix, picture_file, expected, tmp_path):
    build = tmp_path / "build"
    done(
        "cmake", "-S", EXAMPLE, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}",
        "-DCMAKE_C_FLAGS=-Wall -Wextra -Wpedantic -Wconversion -Werror",
    )  # fmt: skip
    assert str(prefix) in (build / "CMakeCache.txt").read_text()
    done("cmake", "--build", build)
    check_example(build / "embed_c", picture_file, expected, tmp_path)


def test_the_example_with_pkg_config(prefix, picture_file, expected, tmp_path):
    if not all(map(shutil.which, ("pkg-config", "cc", "make"))):
        pytest.skip("pkg-config, cc and make are needed")
    folder = tmp_path / "embed_c"
    folder.mkdir()
    for name in ("main.c", "Makefile"):  # not what a build by hand has left beside them
        shutil.copy(EXAMPLE / name, folder)
    (package,) = prefix.rglob("fastdiff.pc")
    done("make", "-C", folder, f"PKG_CONFIG_PATH={package.parent}")
    check_example(folder / "embed_c", picture_file, expected, tmp_path)


def test_what_is_installed_needs_neither_python_nor_torch(prefix):
    files = {str(f.relative_to(prefix)) for f in prefix.rglob("*") if f.is_file()}
    for pattern in (
        r"bin/fastdiff-run", r"include/fastdiff/fastdiff\.h", r".*/fastdiff-config\.cmake",
        r".*/fastdiff-config-version\.cmake", r".*/fastdiff\.pc", r".*/libfastdiff\.so\.\d+",
    ):  # fmt: skip
        assert any(re.fullmatch(pattern, name) for name in files), (pattern, files)
    assert done(prefix / "bin" / "fastdiff-run", "--version").stdout
    if shutil.which("ldd") is None:
        pytest.skip("ldd is not installed")
    (library,) = (f for f in prefix.rglob("libfastdiff.so.*") if not f.is_symlink())
    for file in (library, prefix / "bin" / "fastdiff-run"):
        needed = done("ldd", file, env={**os.environ, "LC_ALL": "C"}).stdout
        assert not re.search("python|torch|cuda|not found", needed), needed
