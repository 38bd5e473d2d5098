"""PixelCNN sampling, the whole run: the native engine against the naive loop of every text.

    python benchmarks/pixelcnn.py --out benchmarks/results [--rounds 5]

The network is the reference one (15 blocks, h = 128, 28x28, 256 levels, random weights, batch
norms with statistics). The naive loop runs it once a pixel; one forward is measured, and 784 of
them are what a run takes: as PyTorch stands, and with a malloc that is told to keep freed memory,
which spares it the page faults of large batches. The native engine's runs are whole. Every
contestant is a process of its own with all CPUs that this process may use; they take turns, A B C
A B C ..., and whoever is not asked sleeps. The roofline is the time of the multiplications that
are needed at all (each live tap of each position once) at the speed of a matrix product measured
in the same turns. bf16's cost in quality is what it changes in the bits per dimension of real
images under the packaged model (needs ../shared/data/mnist). Every sample goes into one JSON
file; pixelcnn_plot.py draws it. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from turns import KEEP_MEMORY, git_commit, machine, versions

BATCHES = (1, 2, 8, 64)
PIXELS = 784
LONG = 0.6  # seconds
MATMUL = 1536  # n of the product of two n x n matrices
NAIVE, KEPT, MATRIX = "eager, naive loop", "eager, naive loop, memory kept", "matrix product"
NATIVE = {"native float32": "float32", "native bf16": "bfloat16"}
MNIST = Path("../shared/data/mnist/t10k-images-idx3-ubyte.gz")


def reference() -> Any:
    """The reference network as a model; norms have seen something, so that folding them matters."""
    import torch

    from fastdiff.models.autoregressive import AutoregressiveModel
    from fastdiff.models.pixelcnn import PixelCNN, PixelCNNConfig

    torch.manual_seed(0)
    module = PixelCNN(PixelCNNConfig())
    with torch.no_grad():
        module.train()
        module(torch.rand(4, 1, 28, 28))
    return AutoregressiveModel(
        module.eval(), (1, 28, 28), 256, name="reference", input_scale=1 / 255, input_shift=0.0
    )


def timed(call: Callable[[], object]) -> float:
    """Seconds a call, over whole calls that take at least LONG together: no cold processor."""
    calls, begin = 0, time.perf_counter()
    while True:
        call()
        calls += 1
        passed = time.perf_counter() - begin
        if passed >= LONG:
            return passed / calls


class Contestant:
    """What a worker process answers with."""

    def __init__(self, name: str, file: str) -> None:
        self.name, self.file = name, file
        self.calls: dict[int, Callable[[], object]] = {}
        self.engine: Any = None

    def call(self, batch: int) -> Callable[[], object]:
        """One call of that batch: a forward, a run, a product."""
        if batch not in self.calls:
            self.calls[batch] = self._make(batch)
            self.calls[batch]()  # warm
        return self.calls[batch]

    def _make(self, batch: int) -> Callable[[], object]:
        if self.name in NATIVE:
            if self.engine is None:
                from fastdiff import runtime

                precision = "bf16" if self.name.endswith("bf16") else "float32"
                self.engine = runtime.load(self.file, precision=precision)
            return lambda: self.engine.sample(batch, seed=0)
        import torch

        torch.set_grad_enabled(False)
        if self.name == MATRIX:
            a, b = torch.rand(2, MATMUL, MATMUL)
            return lambda: a @ b
        model, x = reference(), torch.rand(batch, 1, 28, 28)
        return lambda: model(x)


def serve(name: str, file: str) -> None:
    """A worker: answers each batch on stdin with the seconds of a call."""
    contestant = Contestant(name, file)
    for line in sys.stdin:
        print(json.dumps(timed(contestant.call(int(line)))), flush=True)


class Worker:
    """A process that measures when asked, and sleeps otherwise."""

    def __init__(self, name: str, file: str) -> None:
        command = [sys.executable, __file__, "--worker", name, "--file", file]
        environment = {**os.environ, **({} if name == NAIVE else KEEP_MEMORY)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __call__(self, batch: int) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(batch, file=self.process.stdin, flush=True)
        return float(json.loads(self.process.stdout.readline()))


def needed_flops(file: str) -> float:
    """Multiply-adds, times two, of one image: every live tap of every position."""
    from fastdiff.program.engine_file import read

    step = read(file).split.step
    flops = 0.0
    for node in step.nodes:
        if node.op == "conv2d":
            flops += 2.0 * PIXELS * np.count_nonzero(step.constants[node.inputs[1]])
    return flops


def quality() -> dict[str, Any] | None:
    """Bits per dimension of 1,000 test images under the packaged model, by precision."""
    import importlib.util

    zoo = Path(importlib.util.find_spec("fastdiff").submodule_search_locations[0]) / "zoo"
    if not MNIST.is_file() or not (zoo / "pixelcnn-mnist.safetensors").is_file():
        return None
    import fastdiff
    from fastdiff.data.dataset import load_images

    images = load_images(MNIST).x[:1000]
    found: dict[str, Any] = {"model": "pixelcnn-mnist", "images": len(images)}
    for dtype in NATIVE.values():
        engine = fastdiff.compile("pixelcnn-mnist", backend="native", dtype=dtype)
        found[dtype] = float(np.mean(engine.bits_per_dimension(images)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--file", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        serve(args.worker, args.file)
        return
    import fastdiff

    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "reference.fdiff")
        engine = fastdiff.compile(reference(), backend="native")
        engine.save(file)
        plans = {n: engine.describe(n) for n in args.batches}
        planned = engine._runner.engine
        memory = {str(n): planned.map_bytes(n) for n in (1, 64, 1024)}
        flops = needed_flops(file)
        names = [NAIVE, KEPT, *NATIVE, MATRIX]
        from fastdiff import _native

        if _native.isa() != "avx512_bf16":
            names.remove("native bf16")
        workers = {name: Worker(name, file) for name in names}
        seconds: dict[tuple[str, int], list[float]] = {}
        turns = [(n, name) for n in args.batches for name in names]
        with tqdm(total=args.rounds * len(turns), unit="turn") as bar:
            for _ in range(args.rounds):
                for n, name in turns:
                    bar.set_postfix_str(f"{name}, {n}")
                    seconds.setdefault((name, n), []).append(workers[name](n))
                    bar.update()
        for worker in workers.values():
            worker.process.kill()
    results = []
    for (name, n), values in seconds.items():
        kind = "ours" if name in NATIVE else "roofline" if name == MATRIX else "peer"
        results.append({"name": name, "batch": n, "kind": kind, "seconds_per_call": values})
    run = {
        "machine": machine(),
        "versions": versions(),
        "commit": git_commit(),
        "date": datetime.date.today().isoformat(),
        "threads": len(os.sched_getaffinity(0)),
        "pixels": PIXELS,
        "flops_per_image": flops,
        "matmul_flops": 2.0 * MATMUL**3,
        "map_bytes": memory,
        "plans": {str(n): text for n, text in plans.items()},
        "bits_per_dimension": quality(),
        "results": results,
    }
    from pixelcnn_table import table

    print(table(run))
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        slug = re.sub(r"[^a-z0-9]+", "-", run["machine"]["cpu"].lower()).strip("-")
        path = args.out / f"pixelcnn-{slug}.json"
        path.write_text(json.dumps(run, indent=1) + "\n")
        print(path)
    return


if __name__ == "__main__":
    main()
