"""A GPU's step, kernels and PixelCNN: fastdiff's cuda backend, eager torch and torch.compile.

    python benchmarks/gpu.py --out benchmarks/results [--batches 1 8 64 512 4096]

*Steps*: the packaged sprites16, and the DDPM U-Net of CIFAR-10 (random weights, from diffusers, at
batch 1, 64 and 512). Ours is a whole run of 50 DDIM rows, divided by 50: network,
update, noise, counter. A peer's step is its network alone, captured or not as its mode has it,
which favours the peers. All take turns, A B C A B C ..., each sample between two CUDA events
around work that takes some 0.1 s. Beside them: the sum of what the captured step's own kernels
take (torch's profiler), and the roofline, direct operations at the speed of a matrix product
measured in the same turns. *Kernels*: group_norm_act and sampler_update at sizes over 64 MB, as a
share of what copying the same bytes takes. *PixelCNN*: the reference network, whole runs, against
the naive loop extrapolated from one forward. Every sample goes into one JSON file. Nothing here
passes or fails; without a GPU it says so and ends.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gpu_cases as cases
import numpy as np
from tqdm import tqdm
from turns import git_commit, has_gpu, versions

from fastdiff import FastdiffError

Result = dict[str, Any]


def turns(
    contestants: dict[str, Callable[[], object]], calls_each: dict[str, int], rounds: int
) -> dict[str, list[float]]:
    """Seconds a call of each, over ``rounds`` turns; each call is repeated for about 0.1 s."""
    import torch

    def timed(call: Callable[[], object], times: int) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        for _ in range(times):
            call()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1e3 / times

    times = {}
    for name, call in contestants.items():
        call()
        times[name] = max(1, int(0.1 / max(timed(call, 1), 1e-6)))
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            found[name].append(timed(call, times[name]) / calls_each.get(name, 1))
    return found


def steps(batches: list[int], rounds: int) -> list[Result]:
    """One step of every network, dtype and contestant."""
    from gpu_networks import BATCHES, NETWORKS

    results = []
    for network, make in NETWORKS.items():
        try:
            model = make()
        except FastdiffError as error:
            tqdm.write(str(error))
            continue
        cut = [(b, d) for b in BATCHES.get(network, batches) for d in cases.DTYPES]
        bar = tqdm(cut, unit="case", disable=None)
        for batch, dtype in bar:
            bar.set_description(f"{network}, batch {batch}, {dtype}")
            contestants, calls, facts = cases.step_contestants(model, batch, dtype, tqdm.write)
            case = {"network": network, "batch": batch, "dtype": dtype}
            for name, samples in turns(contestants, calls, rounds).items():
                measured = {"name": name, "seconds_per_call": samples}
                results.append(case | measured | facts.get(name, {}))
            del contestants
    return results


def kernels(rounds: int) -> list[Result]:
    """Our kernels' bytes a second beside a copy's."""
    results = []
    for name, (call, moved) in cases.kernel_contestants().items():
        (samples,) = turns({name: call}, {}, rounds).values()
        results.append({"name": name, "bytes": moved, "seconds_per_call": samples})
    return results


def pixels(batches: list[int], rounds: int) -> list[Result]:
    """PixelCNN, whole runs."""
    results = []
    for batch in batches:
        contestants, scale = cases.pixel_contestants(batch)
        seconds = turns(contestants, {}, rounds)
        for name, samples in seconds.items():
            whole = [s * scale.get(name, 1) for s in samples]
            results.append({"batch": batch, "name": name, "seconds_per_run": whole})
        del contestants
    return results


def table(found: dict[str, list[Result]]) -> str:
    """The results, aligned."""
    lines = []
    keys = ("network", "batch", "dtype")
    for case in dict.fromkeys(tuple(r[k] for k in keys) for r in found["steps"]):
        rows = [r for r in found["steps"] if tuple(r[k] for k in keys) == case]
        network, batch, dtype = case
        took = {r["name"]: float(np.median(r["seconds_per_call"])) for r in rows}
        peers = [s for name, s in took.items() if name.startswith(("eager", "torch.compile"))]
        roof = next((r["roofline_seconds"] for r in rows if "roofline_seconds" in r), None)
        lines.append(f"\n{network}, batch {batch}, {dtype}")
        for r in rows:
            mine = took[r["name"]]
            share = f"{roof / mine:8.0%}" if roof else ""
            own = f"  own kernels {1e3 * r['kernel_seconds']:.3f}" if "kernel_seconds" in r else ""
            ratio = mine / min(peers) if peers else float("nan")
            lines.append(f"{r['name']:38} {1e3 * mine:9.3f} ms {ratio:7.2f} {share}{own}")
    if found["kernels"]:
        copies = {r["name"]: r for r in found["kernels"]}
        speed = {n: r["bytes"] / np.median(r["seconds_per_call"]) for n, r in copies.items()}
        lines.append("\nkernels, of the speed of a copy")
        for name, rate in speed.items():
            lines.append(f"{name:38} {rate / 1e9:9.0f} GB/s {rate / speed['copy']:8.0%}")
    for r in found["pixelcnn"]:
        naive = next(
            np.median(o["seconds_per_run"])
            for o in found["pixelcnn"]
            if o["batch"] == r["batch"] and o["name"].startswith("naive")
        )
        mine = np.median(r["seconds_per_run"])
        lines.append(
            f"PixelCNN, {r['batch']:5} images  {r['name']:24} {1e3 * mine:11.1f} ms "
            f"{naive / mine:9.0f} x"
        )
    return "\n".join(lines)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the JSON file")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64, 512, 4096])
    parser.add_argument("--pixel-batches", type=int, nargs="+", default=[1, 64, 1024])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--date", help="of the measurement; now, unless given")
    args = parser.parse_args()
    if not has_gpu():
        print("gpu: no NVIDIA GPU that torch can use is here; nothing was measured")
        return 1
    import torch

    parts = (
        ("steps", partial(steps, args.batches, args.rounds)),
        ("kernels", partial(kernels, args.rounds)),
        ("pixelcnn", partial(pixels, args.pixel_batches, args.rounds)),
    )
    found: dict[str, list[Result]] = {name: [] for name, _ in parts}
    gpu = torch.cuda.get_device_name()
    slug = re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")
    path = args.out / f"gpu-{slug}.json"
    args.out.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    for name, measure in parts:
        found[name] = measure()
        file = {
            "benchmark": "gpu",
            "date": args.date or now,
            "commit": git_commit(),
            "gpu": gpu,
            "driver": cases.driver(),
            "versions": versions(),
            "rounds": args.rounds,
            **found,
        }
        # After every part: what is measured is kept if the next one fails.
        path.write_text(json.dumps(file, indent=1) + "\n")
    print(table(found))
    print(f"\n{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
