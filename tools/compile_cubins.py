"""Compiles every Triton kernel for the GPUs that fastdiff names, on a machine without one.

    python tools/compile_cubins.py [--out build/cubins.md]

Writes a table of registers, shared memory, stack and spills, by the ptxas that Triton itself uses.
Exits with 1 where a kernel does not compile or spills. A new kernel has its cases in a file of
tools/cubins/.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# An interpreted kernel has nothing to compile; read when triton is imported.
os.environ.pop("TRITON_INTERPRET", None)

import triton
from cubins import KERNELS
from cubins.kernel import Kernel
from tqdm import tqdm
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

ARCHITECTURES = (80, 90, 100)  # A100, H100 and H200, B200
ALIGNED = [["tt.divisibility", 16]]


@dataclass(frozen=True)
class Usage:
    """What a compiled kernel takes, a thread or (shared memory) a program."""

    registers: int
    shared_bytes: int
    stack_bytes: int
    spill_bytes: int


def compile_kernel(kernel: Kernel, architecture: int) -> Any:
    """Triton's compiled kernel, of which ``asm`` holds the ptx and the cubin."""
    names = kernel.function.arg_names
    source = ASTSource(
        kernel.function,
        {name: kernel.types.get(name, "constexpr") for name in names},
        kernel.constants,
        {(names.index(name),): ALIGNED for name in kernel.aligned},
    )
    return triton.compile(
        source, target=GPUTarget("cuda", architecture, 32), options=kernel.options
    )


def ptxas(architecture: int) -> str:
    """The path of the ptxas that Triton uses for the architecture."""
    takes_architecture = inspect.signature(get_ptxas).parameters  # not so in Triton 3.5
    tool = get_ptxas(architecture) if takes_architecture else get_ptxas()
    return str(tool.path)


def usage(compiled: Any, architecture: int) -> Usage:
    """What ptxas reports of the compiled kernel's PTX; needs no driver."""
    ptx = compiled.asm["ptx"]
    target = re.search(r"^\.target (\w+)", ptx, re.MULTILINE)
    if target is None:
        raise ValueError("the PTX names no .target")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.ptx")
        path.write_text(ptx)
        command = [ptxas(architecture), "-v", f"--gpu-name={target[1]}", str(path)]
        if not compiled.metadata.enable_fp_fusion:
            command.append("--fmad=false")
        report = subprocess.run(
            [*command, "-o", str(path.with_suffix(".cubin"))],
            check=True,
            capture_output=True,
            text=True,
        ).stderr

    def number(pattern: str) -> int:
        found = re.findall(pattern, report)
        if len(found) != 1:
            raise ValueError(f"ptxas -v: expected one {pattern!r} in its report, got:\n{report}")
        return int(found[0])

    return Usage(
        number(r"Used (\d+) registers"),
        compiled.metadata.shared,
        number(r"(\d+) bytes stack frame"),
        number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
    )


def table(rows: list[tuple[str, int, Usage]]) -> str:
    """The rows as a Markdown table."""
    lines = [
        f"Triton {triton.__version__}.",
        "",
        "| kernel | target | registers | shared, bytes | stack, bytes | spills, bytes |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, architecture, used in rows:
        numbers = (used.registers, used.shared_bytes, used.stack_bytes, used.spill_bytes)
        lines.append(f"| {name} | sm_{architecture} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Compiles all, writes the table; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/cubins.md"))
    out: Path = parser.parse_args().out
    rows = []
    work = [(kernel, architecture) for kernel in KERNELS for architecture in ARCHITECTURES]
    for kernel, architecture in tqdm(work, unit="kernel", disable=None):
        compiled = compile_kernel(kernel, architecture)
        rows.append((kernel.name, architecture, usage(compiled, architecture)))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(table(rows))
    spilled = [f"{name} for sm_{where}" for name, where, used in rows if used.spill_bytes]
    if spilled:
        print(f"spills: {', '.join(spilled)} (see {out})", file=sys.stderr)
        return 1
    print(f"{len(rows)} kernels compiled, none spills: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
