"""The measured table of docs/pixelcnn.md: ``python pixelcnn_table.py FILE`` of pixelcnn.py's."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

Run = dict[str, Any]
OURS = ("native float32", "native bf16")


def middle(run: Run, name: str, batch: int) -> float:
    """The median of the seconds of a call; nan where nobody measured."""
    for result in run["results"]:
        if (result["name"], result["batch"]) == (name, batch):
            return float(np.median(result["seconds_per_call"]))
    return float("nan")


def naive(run: Run, batch: int, kept: str = "") -> float:
    """Seconds of the naive loop: a forward for each pixel; ``kept``: ", memory kept"."""
    return float(run["pixels"] * middle(run, f"eager, naive loop{kept}", batch))


def needed(run: Run, batch: int) -> float:
    """Seconds of the multiplications that are needed, at the speed of a matrix product."""
    speed = run["matmul_flops"] / middle(run, "matrix product", batch)
    return float(batch * run["flops_per_image"] / speed)


def ratio(run: Run, name: str, batch: int) -> float:
    """How many times as fast as the naive loop."""
    return naive(run, batch) / middle(run, name, batch)


def batches(run: Run) -> list[int]:
    """The batches that were measured."""
    return sorted({r["batch"] for r in run["results"]})


def table(run: Run) -> str:
    """Markdown: a line a batch."""
    lines = [
        "| images | naive loop, s | with memory kept, s | float32, ms | times as fast "
        "| of the roofline | bf16, ms | times as fast |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for n in batches(run):
        cells = [str(n), f"{naive(run, n):,.0f}", f"{naive(run, n, ', memory kept'):,.0f}"]
        for name in OURS:
            seconds = middle(run, name, n)
            cells += [f"{1e3 * seconds:,.1f}", f"{ratio(run, name, n):,.0f}"]
            if name == OURS[0]:
                cells.append(f"{needed(run, n) / seconds:.0%}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def memory(run: Run) -> str:
    """A sentence about what is kept, and one about bfloat16's cost in quality."""
    mib = {n: run["map_bytes"][n] / 2**20 for n in ("1", "1024")}
    text = (
        f"The layers of a request take {mib['1']:.1f} MiB for one image and {mib['1024']:,.0f} MiB "
        "for 1,024, which are drawn in chunks."
    )
    bits = run["bits_per_dimension"]
    if bits is not None and "bfloat16" in bits:
        text += (
            f" Under `{bits['model']}`, {bits['images']:,} test images take "
            f"{bits['float32']:.5f} bits per dimension in float32 and {bits['bfloat16']:.5f} in "
            "bfloat16."
        )
    return text


if __name__ == "__main__":
    measured = json.loads(Path(sys.argv[1]).read_text())
    print(f"{table(measured)}\n\n{memory(measured)}")
