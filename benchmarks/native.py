"""One step of the packaged model (m = f(x, t, context)): the native engine and its CPU peers.

    python benchmarks/native.py --out benchmarks/results [--isa avx2 | --whole | --ddpm]

Every contestant (``peers/``) is set up as well as it can be, with all CPUs that this process may
use, in a process of its own, and they take turns, A B C A B C ...; whoever is not asked stands
still (``peers/worker.py``). The table gives medians over the turns, how many times as fast as the
best peer of the same precision, the share of the roofline, and the errors against the module in
float64, relative to the output's rms. The roofline is the time of the direct algorithm's
operations at the speed of a matrix product, measured in the same turns: more than 100 % needs an
algorithm with fewer operations. ``--whole``: runs of 25 DDIM rows instead, against the eager loop.
``--ddpm``: a step of Ho et al.'s U-Net for CIFAR-10 with random weights instead.
Every sample goes into one JSON file, each kind of run under its own key; native_plot.py draws it.
Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import os
import re
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from peers import BF16, F32, MATMUL_FLOPS, ROWS, SUITES, Contestant, Task, model_name
from peers.worker import REFERENCE, Worker, WorkerError, serve
from tqdm import tqdm
from turns import KEEP_MEMORY, git_commit, machine, versions

Result = dict[str, Any]
# Holds everybody to an instruction set.
LIMITS = {
    "avx2": {
        "FASTDIFF_MAX_ISA": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",  # torch's oneDNN and OpenVINO's
        "ATEN_CPU_CAPABILITY": "avx2",
        "TORCHINDUCTOR_CPP_MARCH": "x86-64-v3",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    }
}


@dataclass
class Options:
    """What the command line says."""

    suite: str
    isa: str | None
    batches: list[int]
    only: list[str]
    seconds: float
    rounds: int

    @property
    def key(self) -> str:
        """Of the run in the JSON file."""
        return " ".join([self.suite, self.isa or ""]).strip()

    def excluded(self, who: Contestant) -> str | None:
        """Why a contestant does not take part, if it does not."""
        if self.only and not any(text in who.name for text in self.only):
            return "not asked for"
        if self.isa and who.precision == BF16:
            return f"{self.isa} has no bfloat16 products"
        if self.isa and who.module == "onnx_runtime":
            return "has no switch for the instruction set"
        return who.missing()


class Field:
    """The contestants that are still in, with their processes."""

    def __init__(self, options: Options, folder: Path, threads: int) -> None:
        self.options, self.folder, self.threads = options, folder, threads
        self.flops_per_image: float | None = None  # computed directly; of steps
        self.skipped: dict[str, str] = {}
        self.workers: dict[Contestant, Worker] = {}
        self.reference = self._worker(REFERENCE)
        for who in SUITES[options.suite][0]:
            why = options.excluded(who)
            if why is not None:
                self._skip(who, why)
            else:
                self.workers[who] = self._worker(who.name)

    def _worker(self, name: str) -> Worker:
        environment = {
            **KEEP_MEMORY,
            # Chosen anew in every run: an earlier one may have been disturbed when it chose.
            "FASTDIFF_CACHE_DIR": str(self.folder / "fastdiff"),
            "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor"),
            **LIMITS.get(self.options.isa or "", {}),
        }
        log = self.folder / f"{name}.log"
        return Worker(self.options.suite, name, log, environment)

    def _skip(self, who: Contestant, why: str) -> None:
        self.skipped[who.name] = why
        if why != "not asked for":
            tqdm.write(f"without {who.name}: {why}")

    def _drop(self, who: Contestant, batch: int, error: WorkerError) -> None:
        self._skip(who, f"at batch {batch}: {error}")
        self.workers.pop(who).close()

    def measure(self, batch: int) -> list[Result]:
        """Every sample of one batch."""
        task = Task(self.options.suite, batch, self.folder, self.threads)
        self.flops_per_image = self.reference.prepare(task)["flops_per_image"]
        found: dict[Contestant, Result] = {}
        bar = tqdm(list(self.workers.items()), unit="peer", disable=None, leave=False)
        for who, worker in bar:
            bar.set_description(f"batch {batch}: {who.name}")
            try:
                about = worker.prepare(task)
            except WorkerError as error:
                self._drop(who, batch, error)
                continue
            facts = {"name": who.name, "precision": who.precision, "kind": who.kind}
            found[who] = {**facts, "batch": batch, **about, "seconds_per_call": []}
        with tqdm(
            total=self.options.rounds * len(found), desc=f"batch {batch}", unit="sample",
            disable=None, leave=False,
        ) as bar:  # fmt: skip
            for _ in range(self.options.rounds):
                for who in [who for who in found if who in self.workers]:
                    try:
                        took = self.workers[who].sample(self.options.seconds)
                        found[who]["seconds_per_call"].append(took)
                    except WorkerError as error:
                        self._drop(who, batch, error)
                    bar.update()
        return [result for who, result in found.items() if who in self.workers]

    def close(self) -> None:
        """Ends all processes."""
        for worker in (self.reference, *self.workers.values()):
            worker.close()


def middle(result: Result) -> float:
    """Seconds a call."""
    return float(np.median(result["seconds_per_call"]))


def roofline(results: list[Result], precision: str, flops: float | None) -> float:
    """Seconds of the direct operations of one image at a matrix product's speed; nan if unknown."""
    for r in results:
        if r["kind"] == "roofline" and r["precision"] == precision and flops is not None:
            return flops * middle(r) / MATMUL_FLOPS
    return float("nan")


def table(results: list[Result], batch: int, flops: float | None) -> str:
    """The results of one batch, aligned."""
    rows = [r for r in results if r["batch"] == batch]
    lines = [
        f"batch {batch}",
        f"{'':29} {'ms':>9} {'p10 .. p90':>20} {'x best peer':>12} {'of roofline':>12} "
        f"{'largest error':>14} {'rms error':>10}",
    ]
    for r in sorted(rows, key=lambda r: (r["precision"] != F32, r["kind"] == "roofline")):
        mine, low, high = np.percentile(1e3 * np.array(r["seconds_per_call"]), [50, 10, 90])
        spread = f"{low:.3f} .. {high:.3f}"
        if r["kind"] == "roofline":
            speed = f"{MATMUL_FLOPS / mine / 1e6:.0f} GFLOP/s"
            lines.append(f"{r['name']:29} {mine:9.3f} {spread:>20} {speed:>12}")
            continue
        same = [o for o in rows if o["precision"] == r["precision"]]
        peer = min((1e3 * middle(o) for o in same if o["kind"] == "peer"), default=float("nan"))
        share = 1e3 * batch * roofline(rows, r["precision"], flops) / mine
        lines.append(
            f"{r['name']:29} {mine:9.3f} {spread:>20} {peer / mine:12.2f} {share:12.0%} "
            f"{r['largest_error']:14.1e} {r['rms_error']:10.1e}  {r['setting']}".rstrip()
        )
    return "\n".join(lines).replace("nan%", "   -").replace(" nan", "   -")


def run(options: Options, date: str | None) -> Result:
    """Measures everything and prints a table as soon as it is there."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    where = machine()
    threads = int(where.get("cpus_usable") or os.cpu_count() or 1)
    print(f"{where['cpu']}, {threads} threads, {model_name(options.suite)}, {options.key}")
    busy = where.get("load_before", [0.0])[0]
    if busy > 0.5:
        print(f"the machine is busy (load {busy:.1f})")
    results: list[Result] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        field = Field(options, folder, threads)
        stack.callback(field.close)
        for batch in options.batches:
            results += field.measure(batch)
            print("\n" + table(results, batch, field.flops_per_image), flush=True)
        return {
            "date": date or now,
            "commit": git_commit(),
            "machine": where,
            "versions": versions() | _peer_versions(),
            "model": model_name(options.suite),
            "rows": ROWS if options.suite == "whole" else None,
            "threads": threads,
            "seconds": options.seconds,
            "rounds": options.rounds,
            "flops_per_image": field.flops_per_image,
            "matmul_flops": MATMUL_FLOPS,
            "environment": LIMITS.get(options.isa or "", {}),
            "results": results,
            "skipped": field.skipped,
        }


def _peer_versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder of the JSON file")
    parser.add_argument("--whole", action="store_true", help=f"whole runs, {ROWS} DDIM rows")
    parser.add_argument("--ddpm", action="store_true", help="a step of a U-Net of 35.7 M instead")
    parser.add_argument("--isa", choices=LIMITS, help="hold everybody to this instruction set")
    parser.add_argument(
        "--batches", type=int, nargs="+", help="1 8 32 128; --whole: 1 32; --ddpm: 1 8"
    )
    parser.add_argument("--only", nargs="+", default=[], help="contestants with this in their name")
    parser.add_argument("--seconds", type=float, default=0.12, help="of a turn (0.12)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contestant (7)")
    parser.add_argument("--date", help="of the measurement; now, unless given")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        serve(*args.worker)
        return
    if args.rounds < 1 or args.seconds <= 0 or args.out is None:
        parser.error("expected --out FOLDER, --rounds of at least 1 and --seconds above 0")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes are ended
    suite = "whole" if args.whole else "ddpm" if args.ddpm else "step"
    batches = args.batches or list(SUITES[suite][1])
    options = Options(suite, args.isa, batches, args.only, args.seconds, args.rounds)
    found = run(options, args.date)
    slug = re.sub(r"[^a-z0-9]+", "-", found["machine"]["cpu"].lower()).strip("-")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"native-{slug}.json"
    file: Result = {"benchmark": "native", "runs": {}}
    if path.exists():
        file = json.loads(path.read_text())
    file["runs"][options.key] = found
    path.write_text(json.dumps(file, indent=1) + "\n")
    print(f"\n{path}")


if __name__ == "__main__":
    main()
