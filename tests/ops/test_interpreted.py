"""Runs tests/ops/test_*_triton.py with TRITON_INTERPRET=1: every Triton kernel, without a GPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

FILES = sorted(Path(__file__).parent.glob("test_*_triton.py"))


@pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="the files run by themselves here"
)
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_in_the_interpreter(path: Path) -> None:
    for name in ("torch", "triton"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)],
        check=False,  # what failed is told below
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert " passed" in run.stdout, run.stdout
