"""Contestants that take turns, A B C A B C ..., so that a machine that slows down slows them all.

Each CPU sample counts whole calls, each GPU sample a graph of calls between two CUDA events. What
fastdiff does on the CPU is measured for every instruction set too (FASTDIFF_MAX_ISA), each in a
process of its own. malloc keeps freed memory in all processes, so that page faults are not what
is measured. The table gives medians, the ratio to the best peer on the same device, and the share
of the roofline: the fastest of the memory's own contestants with the same number of threads.
Every sample goes into a JSON file. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**33)}
ONE, ALL, CUDA = "cpu, 1 thread", "cpu, all threads", "cuda"
# (name, ONE, ALL or CUDA, what it is: ours, peer or roofline, bytes moved per item)
Name = tuple[str, str, str, int]
Calls = dict[Name, Callable[[], object]]
Size = tuple[int, ...]  # its product is the number of items a call makes


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def has_gpu() -> bool:
    if not installed("torch"):
        return False
    import torch

    return bool(torch.cuda.is_available())


def on_host(call: Callable[[], object], seconds: float) -> float:
    """Seconds a call, over whole calls that take at least ``seconds`` together."""
    calls, start = 0, time.perf_counter()
    while True:
        call()
        calls += 1
        passed = time.perf_counter() - start
        if passed >= seconds:
            return passed / calls


def on_device(call: Callable[[], object], seconds: float) -> float:
    """Seconds a call, by CUDA events around calls that take about ``seconds`` together.

    The calls are captured in a graph, so that what the host takes to launch them does not count.
    """
    import torch

    def events(body: Callable[[], object], times: int) -> float:
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        for _ in range(times):
            body()
        last.record()
        last.synchronize()
        return float(first.elapsed_time(last)) / 1e3

    per_graph = 20
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(per_graph):
            call()
    once = events(graph.replay, 1)
    times = max(1, int(seconds / max(once, 1e-6)))
    return events(graph.replay, times) / times / per_graph


def work(calls_of: Callable[[Size, str], Calls], devices: Sequence[str]) -> None:
    """A worker: answers each line {size, name, seconds} with seconds a call, or with the names."""
    size, calls = None, dict[Name, Callable[[], object]]()
    for line in sys.stdin:
        ask = json.loads(line)
        if ask["size"] != size:
            calls.clear()  # one size in memory
            size = ask["size"]
            for device in devices:
                calls.update(calls_of(tuple(size), device))
        answer: Any = list(calls)
        if ask["name"] is not None:
            call = calls[tuple(ask["name"])]
            if ask["seconds"] == 0:
                call()
                call()
            timed = on_device if ask["name"][1] == CUDA else on_host
            answer = timed(call, ask["seconds"])
        print(json.dumps(answer), flush=True)


class Worker:
    """A process that measures when asked."""

    def __init__(self, devices: Sequence[str], **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, sys.argv[0], "--worker", *devices],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **KEEP_MEMORY, **environment},
            text=True,
        )

    def ask(self, size: Size, name: Name | None = None, seconds: float = 0.0) -> Any:
        """Seconds a call, after two to warm up where ``seconds`` is 0; the names without one."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        question = {"size": size, "name": name, "seconds": seconds}
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"a worker ended with status {self.process.wait()} at {question}")
        return json.loads(answer)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def start_workers() -> list[tuple[Worker, bool]]:
    """One for everything, and one for ours alone (True) with each narrower instruction set."""
    workers = [(Worker(["cpu", "cuda"] if has_gpu() else ["cpu"]), False)]
    if installed("fastdiff._native"):
        from fastdiff import _native

        narrower = [isa for isa in _native.isas() if isa != _native.isa()]
        workers += [(Worker(["cpu"], FASTDIFF_MAX_ISA=isa), True) for isa in narrower]
    return workers


def measure(sizes: Sequence[Size], seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Every sample: {name, where, kind, bytes, size, seconds_per_call: one a round}."""
    workers, results = start_workers(), []
    for size in sizes:
        turns: list[tuple[Worker, Name, list[float]]] = []
        for worker, ours_alone in workers:
            names = (tuple(name) for name in worker.ask(size))
            turns += [(worker, n, []) for n in names if not ours_alone or n[2] == "ours"]
        total = (rounds + 1) * len(turns)
        with tqdm(total=total, desc=str(list(size)), unit="sample", disable=None) as bar:
            for turn in range(rounds + 1):  # the first to warm up
                for worker, name, samples in turns:
                    took = worker.ask(size, name, seconds if turn else 0.0)
                    if turn:
                        samples.append(took)
                    bar.update()
        for _, name, samples in turns:
            who = dict(zip(("name", "where", "kind", "bytes"), name, strict=True))
            results.append({**who, "size": size, "seconds_per_call": samples})
    for worker, _ in workers:
        worker.close()
    return results


def table(results: list[dict[str, Any]], size: Size, unit: str) -> str:
    """The results of one size, aligned; ``unit`` is in millions a second."""
    rows = [
        (r, *np.percentile(math.prod(size) / np.array(r["seconds_per_call"]), [50, 10, 90]))
        for r in results
        if tuple(r["size"]) == size
    ]

    def best(kind: str, where: str) -> float:
        fits = (row[1] for row in rows if row[0]["kind"] == kind and where in row[0]["where"])
        return max(fits, default=float("nan"))

    lines = [
        f"{list(size)}",
        f"{'':24} {'where':17} {unit:>12} {'p10 .. p90':>20} {'GB/s':>7} "
        f"{'x best peer':>11} {'of roofline':>11}",
    ]
    for r, middle, low, high in sorted(rows, key=lambda row: (row[0]["where"], row[0]["kind"])):
        peer, roof = best("peer", r["where"].split(",")[0]), best("roofline", r["where"])
        lines.append(
            f"{r['name']:24} {r['where']:17} {middle / 1e6:12.1f} "
            f"{f'{low / 1e6:.1f} .. {high / 1e6:.1f}':>20} {r['bytes'] * middle / 1e9:7.2f} "
            f"{middle / peer:11.2f} {middle / roof:11.1%}"
        )
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        found = re.search(
            r"^model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE
        )
        name = found[1] if found else name
    about: dict[str, Any] = {"cpu": name, "cpus": os.cpu_count(), "system": platform.platform()}
    if hasattr(os, "sched_getaffinity"):
        about["cpus_usable"] = len(os.sched_getaffinity(0))
    if hasattr(os, "getloadavg"):
        about["load_before"] = os.getloadavg()
    if installed("fastdiff._native"):
        from fastdiff import _native

        about.update(threads=_native.threads(), build=_native.build_info())
    if installed("torch"):
        import torch

        about["torch_threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            about["gpu"] = torch.cuda.get_device_name()
            about["cuda"] = torch.version.cuda
    return about


def versions() -> dict[str, str | None]:
    names = ("fastdiff", "numpy", "torch", "triton")
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def git_commit() -> str | None:
    """The commit, with "+changes" where the tree differs; None outside a repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        run = partial(subprocess.run, check=True, capture_output=True, text=True)
        commit = str(run([*git, "rev-parse", "HEAD"]).stdout).strip()
        return commit + ("+changes" if run([*git, "status", "--porcelain"]).stdout else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def run(
    benchmark: str, unit: str, sizes: Sequence[Size], calls_of: Callable[[Size, str], Calls]
) -> None:
    """The command line of a benchmark: measures, prints the tables, writes the JSON file.

    ``calls_of(size, device)``: the contestants on "cpu" or "cuda". ``unit``: of millions a second.
    """
    parser = argparse.ArgumentParser(
        description=f"Measures {benchmark}: {unit} of each contestant."
    )
    parser.add_argument("--out", type=Path, help="folder of the JSON file")
    parser.add_argument("--seconds", type=float, default=0.3, help="of a sample (0.3)")
    parser.add_argument("--rounds", type=int, default=9, help="samples of each contestant (9)")
    parser.add_argument("--date", help="of the measurement; now, unless given")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(calls_of, options.worker)
        return
    if options.rounds < 1 or options.seconds <= 0 or options.out is None:
        parser.error("expected --out FOLDER, --rounds of at least 1 and --seconds above 0")
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    about: dict[str, Any] = {
        "benchmark": benchmark,
        "date": options.date or now,
        "commit": git_commit(),
        "machine": machine(),
        "versions": versions(),
        "seconds": options.seconds,
        "rounds": options.rounds,
        "results": measure(sizes, options.seconds, options.rounds),
    }
    name = about["machine"].get("gpu", about["machine"]["cpu"])
    print(f"{name}; numpy {about['versions']['numpy']}, torch {about['versions']['torch']}")
    for size in sizes:
        print("\n" + table(about["results"], size, unit))
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{benchmark}-{slug}.json"
    path.write_text(json.dumps(about, indent=1) + "\n")
    print(f"\n{path}")
