"""What docs/native.md shows of native.py's JSON, and of startup.py's: ``native_table.py FILE``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

Results = list[dict[str, Any]]


def _ms(results: Results, batch: int, name: str) -> float:
    for result in results:
        if (result["batch"], result["name"]) == (batch, name):
            return 1e3 * float(np.median(result["seconds_per_call"]))
    return float("nan")


def _error(results: Results, batch: int, name: str) -> float:
    return next(float(r["rms_error"]) for r in results if (r["batch"], r["name"]) == (batch, name))


def best_peer(results: Results, batch: int, precision: str) -> float:
    """Milliseconds of the fastest peer of that precision."""
    kinds = [r for r in results if r["kind"] == "peer" and r["precision"] == precision]
    return min(_ms(results, batch, r["name"]) for r in kinds if r["batch"] == batch)


def ratio(results: Results, batch: int, precision: str) -> float:
    """Our time over the fastest peer's."""
    ours = next(r["name"] for r in results if r["kind"] == "ours" and r["precision"] == precision)
    return _ms(results, batch, ours) / best_peer(results, batch, precision)


def steps(results: Results) -> str:
    """Milliseconds of one step, of all, as Markdown."""
    batches = sorted({r["batch"] for r in results})
    names = [n for n in dict.fromkeys(r["name"] for r in results) if not n.startswith("matrix")]
    lines = ["| ms a step | " + " | ".join(f"batch {b}" for b in batches) + " | rms error |"]
    lines.append("| --- |" + " --- |" * (len(batches) + 1))
    for name in names:
        cells = [f"{_ms(results, b, name):.3g}" for b in batches]
        error = max(_error(results, b, name) for b in batches)
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {error:.1e} |")
    for precision in dict.fromkeys(r["precision"] for r in results if r["kind"] == "ours"):
        cells = [f"**{ratio(results, b, precision):.2f}**" for b in batches]
        lines.append(f"| native / best peer, {precision} | " + " | ".join(cells) + " | |")
    return "\n".join(lines)


def tables(file: Path) -> dict[str, str]:
    """By the name of the run."""
    runs = json.loads(file.read_text())["runs"]
    return {k: steps(run["results"]) for k, run in runs.items() if k != "whole"}


def startup(file: Path) -> str:
    """The sentence on fastdiff-run, of startup.py's medians."""
    about = json.loads(file.read_text())
    found = about["results"]

    def ms(*samples: list[float]) -> float:
        return 1e3 * sum(float(np.median(s)) for s in samples)

    load, sampling, total = (
        [run[part] for run in found["runs"]] for part in ("load", "sampling", "total")
    )
    return (
        f"`fastdiff-run` has its plan ready {ms(found['process'], load):.0f} ms after its start, "
        f"{ms(load):.0f} of them for reading the file and planning, and has written "
        f"{about['images']} images of {about['rows']} DDIM rows after {ms(total):.0f} ms, "
        f"{ms(sampling):.0f} of them for sampling."
    )


if __name__ == "__main__":
    path = Path(sys.argv[1])
    is_startup = json.loads(path.read_text())["benchmark"] == "startup"
    shown = {"startup": startup(path)} if is_startup else tables(path)
    for title, text in shown.items():
        print(f"<!-- {title} -->\n{text}\n<!-- end -->\n")
