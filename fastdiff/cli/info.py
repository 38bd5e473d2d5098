"""fastdiff info: this machine, the backends with the reason for each that is unavailable, versions.

Nothing heavy is imported: what is installed is read from the packages' metadata.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
from pathlib import Path
from typing import Any

from fastdiff._version import __version__
from fastdiff.backends.registry import BACKENDS, PLANNED, reason
from fastdiff.errors import FastdiffError

PACKAGES = (
    "numpy",
    "pillow",
    "safetensors",
    "torch",
    "triton",
    "diffusers",
    "onnxruntime",
    "openvino",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``fastdiff info``."""
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument(
        "--table",
        metavar="SAMPLER[:STEPS][,NAME=VALUE]",
        help="print a sampler's table instead, e.g. ddim:25 or unipc:10,order=3",
    )
    parser.add_argument(
        "--program",
        metavar="MODEL",
        help="print a model's program instead, split by when each part is computed",
    )
    parser.add_argument(
        "--model", help="the model whose schedule --table uses (default: the course's)"
    )


def run(args: argparse.Namespace) -> int:
    """Prints; returns the exit code."""
    if args.table is not None:
        print(_table(args.table, args.model))
        return 0
    if args.program is not None:
        from fastdiff.checkpoint import load
        from fastdiff.models.model import DiffusionModel
        from fastdiff.pixelcnn.lower import lower as lower_pixels
        from fastdiff.program.lower import lower

        model = load(args.program)
        print(lower(model) if isinstance(model, DiffusionModel) else lower_pixels(model))
        return 0
    facts = gather()
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    print(f"fastdiff {facts['fastdiff']}")
    for title in ("machine", "native", "backends", "versions"):
        print(f"\n{title}")
        values = facts[title]
        width = max(map(len, values))
        for key, value in values.items():
            print(f"  {key:<{width}}  {value}")
    return 0


def gather() -> dict[str, Any]:
    """What ``fastdiff info`` shows, JSON-ready."""
    reasons = {name: reason(name) for name in (*BACKENDS, *PLANNED)}
    backends = {
        k: "available" if why is None else f"unavailable: {why}" for k, why in reasons.items()
    }
    return {
        "fastdiff": __version__,
        "machine": _machine(),
        "native": _native(),
        "backends": backends,
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in PACKAGES}},
    }


def _machine() -> dict[str, str]:
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [v for v in cpuinfo.read_text().splitlines() if v.startswith("model name")]
        if models:
            name = models[0].split(":", 1)[1].strip()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"system": platform.platform(), "cpu": name, "cores": f"{usable} usable"}


def _native() -> dict[str, str]:
    if importlib.util.find_spec("fastdiff._native") is None:
        return {"extension": "not built (Python.h was missing, or FASTDIFF_NATIVE=off)"}
    from fastdiff import _native

    try:
        isa, isas, threads = _native.isa(), _native.isas(), _native.threads()
    except ValueError as error:  # FASTDIFF_MAX_ISA or FASTDIFF_THREADS is no value they take
        raise FastdiffError(str(error)) from error
    return {
        "extension": f"built ({_native.build_info()['compiler']})",
        "instruction set": f"{isa} (available: {', '.join(isas)})",
        "threads": str(threads),
        "cuda": _native.cuda_status() or "usable",
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _table(spec: str, model: str | None) -> str:
    from fastdiff import schedules
    from fastdiff.cli.requests import parse_options
    from fastdiff.samplers import build_table

    schedule: schedules.AnySchedule = schedules.course()
    if model is not None:
        from fastdiff.checkpoint import load
        from fastdiff.models.kinds import expect_diffusion

        schedule = expect_diffusion(load(model)).schedule
    head, _, options = spec.partition(",")
    name, _, text = head.partition(":")
    if text and not text.isdecimal():
        raise FastdiffError(f"--table: expected SAMPLER or SAMPLER:STEPS, got {spec!r}")
    given = parse_options(options.split(","), "--table") if options else {}
    return str(build_table(name, schedule, int(text) if text else None, **given))
