"""Engine files to load, and the programs that `make cpp-test` builds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import GOLDEN, ROOT


@pytest.fixture(scope="session")
def tiny_file():
    """An engine file of two channels with every op; classes a, b, gamma, 4 rows of DDIM."""
    return GOLDEN / "tiny.fdiff"


@pytest.fixture(scope="session")
def picture_file(tiny_model, tmp_path_factory):
    """An engine file of a small network of three channels with classes a, b and c."""
    pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")
    import fastdiff

    path = tmp_path_factory.mktemp("engine") / "tiny-unet.fdiff"
    fastdiff.compile(tiny_model, "dpmpp_2m_sde", 6, backend="eager").save(path)
    return path


@pytest.fixture(scope="session", autouse=True)
def tuning_cache(tmp_path_factory):
    """Tests neither read nor write the user's own tuning cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTDIFF_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def cpp_build() -> Path:
    """The folder that `make cpp-test` builds in (or FASTDIFF_BUILD_DIR)."""
    return Path(os.environ.get("FASTDIFF_BUILD_DIR", ROOT / "build" / "cpp"))
