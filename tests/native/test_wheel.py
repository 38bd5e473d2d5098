"""A wheel, built as a user's pip builds it, in an empty environment without torch."""

import os
import subprocess
import sys
import venv
import zipfile

import numpy as np
import pytest

from fastdiff import runtime
from tests.conftest import ROOT

pytestmark = pytest.mark.long

WITHOUT_TORCH = """
import importlib.util, sys
import numpy as np
import fastdiff, fastdiff.export
from fastdiff import noise, schedules
from fastdiff.cli.main import main
from fastdiff.samplers import ddim
assert "site-packages" in fastdiff.__file__, fastdiff.__file__
assert importlib.util.find_spec("torch") is None
assert importlib.util.find_spec("fastdiff.kernels") is not None
from fastdiff import _native
seeds = noise.as_seeds(5, 3)
z = _native.noise_normal(seeds, 2, 1, 77)
assert np.abs(z - noise.normal(seeds, 2, 1, 77)).max() < 2e-6
assert len(ddim(schedules.course(), 25)) == 25
from fastdiff import runtime
engine = runtime.load(sys.argv[1], autotune=False)
samples = engine.sample(3, seed=5, context=["a", "b", ""], guidance=2.0)
assert samples.complete and samples.images.shape == (3, 2, 8, 6)
steps = engine.sample(2, sampler="dpmpp_2m", steps=5, on_step=lambda step: step.row < 3)
assert steps.rows.tolist() == [3, 3]
np.save("images.npy", samples.images)
assert main(["info"]) == 0
assert main(["sample", "--out", "never.png"]) == 2
"""


def run(*command, **options):
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, ROOT)
    (path,) = folder.glob("fastdiff-*.whl")
    return path


def test_the_wheel_holds_the_package_and_no_sources(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for part in (
        "fastdiff/_native.pyi", "fastdiff/py.typed", "fastdiff/zoo/sprites16.safetensors",
        "fastdiff/zoo/sprites16.md", "fastdiff/kernels/noise.py", "fastdiff/export/__init__.py",
        "fastdiff/models/context_unet.py", "fastdiff/runtime.py",
    ):  # fmt: skip
        assert part in names, part
    assert [n for n in names if n.startswith("fastdiff/_native.c") and n.endswith(".so")]
    stray = [n for n in names if not n.startswith(("fastdiff/", "fastdiff-"))]
    assert not stray
    assert wheel.stat().st_size < 8e6


def test_it_works_without_torch(wheel, tiny_file, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "-c", ROOT / "constraints.txt", wheel)
    environment = {**os.environ, "PYTHONPATH": ""}
    text = run(python, "-c", WITHOUT_TORCH, tiny_file, cwd=tmp_path, env=environment)
    assert "eager  " in text
    assert "unavailable: torch is not installed" in text
    assert "this needs torch" in text or "torch is not installed" in text
    # The same library as here, so the same bits as here.
    here = runtime.load(tiny_file, autotune=False)
    images = here.sample(3, seed=5, context=["a", "b", ""], guidance=2.0).images
    np.testing.assert_array_equal(np.load(tmp_path / "images.npy"), images)
