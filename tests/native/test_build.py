"""The built files: what they export, and that every instruction set gives the same noise."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ISAS = ("scalar", "avx2", "avx512", "avx512_bf16")

needs_native = pytest.mark.skipif(
    importlib.util.find_spec("fastdiff._native") is None, reason="fastdiff._native is not built"
)


def built(pattern: str) -> list[Path]:
    """The files that `make cpp-test` built (or FASTDIFF_BUILD_DIR) and that match, or a skip.

    Not all of build/: a sanitizer's objects beside it have symbols of their own.
    """
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed (Debian: binutils)")
    folder = Path(os.environ.get("FASTDIFF_BUILD_DIR", ROOT / "build" / "cpp"))
    files = sorted(folder.rglob(pattern))
    if not files:
        pytest.skip(f"no {pattern} under {folder}: make cpp-test builds it")
    return files


def symbols(file: Path, *options: str) -> list[tuple[str, str]]:
    """The (type, demangled name) of the symbols that a file defines."""
    command = ["nm", "-C", "--defined-only", *options, str(file)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.findall(r"^[0-9a-f]+ (\w) (.+)$", text, re.MULTILINE)


def in_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a Python of its own: the instruction set is chosen once per process."""
    return subprocess.run(
        [sys.executable, "-c", code],
        check=False,  # some are meant to fail
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_simd_objects_define_only_their_kernel_table() -> None:
    for file in built("*_avx*.cpp.o"):
        defined = symbols(file, "--extern-only")
        # A weak symbol (W, V, u) would be library code compiled for the wider processor.
        assert defined, file
        for kind, name in defined:
            assert kind in "RD", (file, kind, name)
            assert re.fullmatch(r"fd::k\w+", name), (file, kind, name)


def test_library_exports_only_the_c_api() -> None:
    for file in built("libfastdiff.so"):
        names = {name for _, name in symbols(file, "-D")}
        assert "fd_normal" in names
        assert {name for name in names if not name.startswith("fd_")} == set()


@needs_native
@pytest.mark.parametrize("isa", ISAS)
def test_max_isa_is_kept_and_changes_nothing(isa: str) -> None:
    code = """
import hashlib, sys
import numpy as np
from fastdiff import _native
seeds = np.arange(5, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
steps = np.arange(5, dtype=np.uint32)
words = _native.noise_words(seeds, steps, 1, 1001)
uniform = _native.noise_uniform(seeds, steps, 1, 1001)
normal = _native.noise_normal(seeds, steps, 1, 1001).astype(np.float64)
u = uniform[:, :1000].astype(np.float64).reshape(5, 500, 2)
r, angle = np.sqrt(-2 * np.log(u[..., 0])), 2 * np.pi * u[..., 1]
expected = np.stack([r * np.cos(angle), r * np.sin(angle)], -1).reshape(5, 1000)
assert np.abs(normal[:, :1000] - expected).max() <= 2e-6
print(_native.isa(), hashlib.sha256(words.tobytes() + uniform.tobytes()).hexdigest())
"""
    capped = in_python(code, FASTDIFF_MAX_ISA=isa)
    free = in_python(code, FASTDIFF_MAX_ISA="")
    assert capped.returncode == 0, capped.stderr
    assert free.returncode == 0, free.stderr
    used, words_and_uniforms = capped.stdout.split()
    assert ISAS.index(used) <= ISAS.index(isa)
    assert words_and_uniforms == free.stdout.split()[1]


@needs_native
def test_wrong_max_isa_is_named() -> None:
    result = in_python("from fastdiff import _native; _native.isa()", FASTDIFF_MAX_ISA="sse9")
    assert result.returncode != 0
    message = (
        "ValueError: FASTDIFF_MAX_ISA: expected scalar, avx2, avx512 or avx512_bf16, got 'sse9'"
    )
    assert message in result.stderr


@needs_native
def test_wrong_thread_count_is_named() -> None:
    result = in_python("from fastdiff import _native; _native.threads()", FASTDIFF_THREADS="many")
    assert "ValueError: FASTDIFF_THREADS: expected a whole number from 1" in result.stderr


@needs_native
def test_import_starts_no_thread() -> None:
    code = "import os, fastdiff._native; print(len(os.listdir('/proc/self/task')))"
    if not Path("/proc/self/task").exists():
        pytest.skip("no /proc here to count threads with")
    # NumPy's BLAS starts its own, unless told not to.
    assert in_python(code, OPENBLAS_NUM_THREADS="1").stdout.strip() == "1"


@needs_native
def test_build_info_names_what_is_compiled_in() -> None:
    from fastdiff import _native

    info = _native.build_info()
    assert info["compiler"]
    assert set(_native.isas()) <= set(info["isas"])
    status = _native.cuda_status()
    assert status is None or status.endswith(".")
    assert info["cuda"] is not None or (status is not None and "without CUDA" in status)
