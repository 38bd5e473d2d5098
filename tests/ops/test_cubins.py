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
        timeout=1500,
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
        if not name.startswith("noise_"):
            continue
        # Rows that are not a multiple of 4 are put in order in shared memory before the stores.
        assert shared == ("2048" if "any count" in name else "0"), (name, target)
        assert int(registers) <= 64, (name, target)


def ptx(name: str) -> str:
    """What sm_90 runs of the named kernel."""
    code = f"""
import compile_cubins as tool
kernel = next(k for k in tool.KERNELS if k.name == {name!r})
print(tool.compile_kernel(kernel, 90).asm["ptx"])
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tools")])}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, check=True, env=environment, capture_output=True, text=True
    ).stdout


def test_ptx_casts_unsigned_and_rounds_to_nearest() -> None:
    normal = ptx("noise_normal")
    assert "cvt.rn.f32.u32" in normal  # the words; a signed cast would halve the range
    assert "st.global.v4" in normal  # four elements a store
    assert "sqrt.approx" in normal  # the bound in kernels/philox.py counts on no worse
    assert not re.search(r"^\s*(lg2|sin|cos|bar|call)\b", normal, re.MULTILINE)


def test_ptx_of_the_update_takes_four_elements_at_once_and_rounds_to_nearest() -> None:
    guided = ptx("sampler_update, guided bf16")
    assert len(re.findall(r"ld\.global\.v2\.b32", guided)) == 2  # cond and uncond
    assert len(re.findall(r"st\.global\.v2\.b32", guided)) == 2  # both halves of the next input
    assert "cvt.rn.bf16" in guided  # which the interpreter does not show
    assert "max.NaN.f32" in guided  # an output that is nan is not clamped to a number
    assert not re.search(r"^\s*(bar|call|lg2|sin|cos)\b", guided, re.MULTILINE)
    history = ptx("sampler_update, history 4/4")
    # x, m and three older of each, and x, model_in and a slot of each: 16 bytes a thread.
    assert len(re.findall(r"ld\.global\.v4\.b32", history)) == 8
    assert len(re.findall(r"st\.global\.v4\.b32", history)) == 4
    # A slot is read before it is written, by whichever thread.
    reads, writes = history.split("bar.sync")
    assert "st.global" not in reads
    assert "ld.global.v4" not in writes
