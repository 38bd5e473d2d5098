"""Every Triton kernel compiles for every GPU that fastdiff names, with none here; none spills."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "triton")),
    reason="torch or triton is not installed",
)


def compile_cubins(tmp_path: Path, **environment: str) -> tuple[str, str]:
    """The tool's exit status and messages, and its table."""
    out = tmp_path / "cubins.md"
    run = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "compile_cubins.py"), "--out", str(out)],
        check=False,  # told by the assertion, with the tool's own words
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout, out.read_text()


# The interpreter's variable is set to show that the tool does not mind it.
def test_all_kernels_compile_and_none_spills(tmp_path: Path) -> None:
    said, table = compile_cubins(tmp_path, TRITON_INTERPRET="1")
    assert "none spills" in said
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if "sm_" in line]
    assert {row[1] for row in rows} == {"sm_80", "sm_90", "sm_100"}
    assert {"noise_words", "noise_uniform", "noise_normal"} <= {row[0] for row in rows}
    for name, target, registers, shared, stack, spills in rows:
        assert (stack, spills) == ("0", "0"), (name, target)
        # Rows that are not a multiple of 4 are put in order in shared memory before the stores.
        assert shared == ("2048" if "any count" in name else "0"), (name, target)
        assert int(registers) <= 64, (name, target)


def test_ptx_casts_unsigned_and_rounds_to_nearest() -> None:
    code = """
import compile_cubins as tool
kernel = next(k for k in tool.KERNELS if k.name == "noise_normal")
print(tool.compile_kernel(kernel, 90).asm["ptx"])
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tools")])}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, "-c", code]
    ptx = subprocess.run(
        command, check=True, env=environment, capture_output=True, text=True
    ).stdout
    assert "cvt.rn.f32.u32" in ptx  # the words; a signed cast would halve the range
    assert "st.global.v4" in ptx  # four elements a store
    assert "sqrt.approx" in ptx  # the bound in kernels/philox.py counts on no worse
    assert not re.search(r"^\s*(lg2|sin|cos|bar|call)\b", ptx, re.MULTILINE)
