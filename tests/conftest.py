"""Shared fixtures: where things are, tiny models, and how `long` tests are left out."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Tiny nets: more threads cost more than they give, above all beside another busy process.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What the tests tune and trace is theirs: neither found in nor left in the user's cache.
os.environ["FASTDIFF_CACHE_DIR"] = tempfile.mkdtemp(prefix="fastdiff-tests-")
atexit.register(shutil.rmtree, os.environ["FASTDIFF_CACHE_DIR"], ignore_errors=True)

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
SHARED = Path(os.environ.get("FASTDIFF_SHARED", ROOT.parent / "shared"))


def pytest_collection_modifyitems(config, items):
    if config.getoption("-m"):
        return
    kept = [item for item in items if "long" not in item.keywords]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def golden_lines(name):
    for line in (GOLDEN / name).read_text().splitlines():
        if line and not line.startswith("#"):
            yield line.split()


@pytest.fixture(scope="session")
def shared():
    """The folder of data and weights that are not part of the project."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no data at {SHARED}")
    return SHARED / "data"


@pytest.fixture(scope="session")
def tiny_model():
    """A ContextUnet of 8 features with random weights and running statistics that are no 0/1."""
    torch = pytest.importorskip("torch")
    from fastdiff import schedules
    from fastdiff.models.registry import build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = {"in_channels": 3, "n_feat": 8, "n_cfeat": 3, "height": 8}
        model = build("context_unet", sizes, schedules.course(), ("a", "b", "c"), "tiny")
        for key, value in model.module.named_buffers():
            if "running" in key:
                value.uniform_(0.5, 1.5)
    model.module.eval()
    return model


@pytest.fixture(scope="session")
def tiny_images():
    from fastdiff.data.dataset import ImageSet, one_hot

    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    return ImageSet(x, one_hot(np.arange(40) % 3, 3), ("a", "b", "c"))
