"""fastdiff-run from its start to its last byte: 32 sprites by 25 DDIM rows, from an engine file.

    python benchmarks/startup.py --program build/cpp/fastdiff-run --out benchmarks/results

A run that only prints its version (what starting and ending a process takes) and one that draws
take turns. The drawing one says itself how long loading (reading the file and planning), sampling
and writing took; its plan is ready when the process has started and loading is done. The first
run, which times algorithms and keeps what it found, is not among them. Nothing here passes or
fails.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from peers import MODEL, ROWS, load_model
from tqdm import tqdm
from turns import git_commit, machine, versions

IMAGES = 32
PARTS = ("load", "sampling", "writing")  # as the program's last line names them


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """(seconds from the start of the process to its end, what it printed)."""
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, done.stdout


def parts_of(said: str) -> dict[str, float]:
    """Seconds of loading, sampling and writing, as the program says them."""
    return {part: float(re.findall(rf"{part} ([0-9.]+) s", said)[0]) for part in PARTS}


def measure(program: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Every sample; the engine file and the tuning are made in ``folder``."""
    import fastdiff

    file = folder / f"{MODEL}.fdiff"
    fastdiff.compile(load_model(), "ddim", ROWS, backend="eager").save(file)
    out = folder / "sprites.png"
    draw = [str(program), str(file), "--n", str(IMAGES), "--label", "monster", "--out", str(out)]
    environment = {**os.environ, "FASTDIFF_CACHE_DIR": str(folder / "cache")}
    _, said = timed(draw, environment)
    found: dict[str, Any] = {"first": parts_of(said), "process": [], "runs": []}
    for _ in tqdm(range(rounds), unit="run", disable=None, leave=False):
        found["process"].append(timed([str(program), "--version"], environment)[0])
        total, said = timed(draw, environment)
        found["runs"].append({"total": total, **parts_of(said)})
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--program", type=Path, required=True, help="fastdiff-run")
    parser.add_argument("--out", type=Path, required=True, help="folder of the JSON file")
    parser.add_argument("--rounds", type=int, default=21, help="runs (21)")
    parser.add_argument("--date", help="of the measurement; now, unless given")
    options = parser.parse_args()
    if options.rounds < 1 or not options.program.is_file():
        parser.error("expected --rounds of at least 1 and --program to be fastdiff-run")
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    where = machine()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options.program.resolve(), Path(folder), options.rounds)
    about = {
        "benchmark": "startup",
        "date": options.date or now,
        "commit": git_commit(),
        "machine": where,
        "versions": versions(),
        "model": MODEL,
        "rows": ROWS,
        "images": IMAGES,
        "threads": where.get("cpus_usable") or os.cpu_count(),
        "rounds": options.rounds,
        "results": results,
    }
    print(f"{where['cpu']}, {MODEL}, {IMAGES} images, {ROWS} rows")
    columns = {"process": results["process"]} | {
        part: [run[part] for run in results["runs"]] for part in (*PARTS, "total")
    }
    for name, seconds in columns.items():
        low, middle, high = np.percentile(1e3 * np.array(seconds), [10, 50, 90])
        print(f"{name:9} {middle:8.1f} ms  {low:.1f} .. {high:.1f}")
    slug = re.sub(r"[^a-z0-9]+", "-", where["cpu"].lower()).strip("-")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"startup-{slug}.json"
    path.write_text(json.dumps(about, indent=1) + "\n")
    print(f"\n{path}")


if __name__ == "__main__":
    main()
