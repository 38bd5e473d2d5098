"""fastdiff eval: how far drawn pictures are from held-out ones, alone or for every sampler.

Distances of different n do not compare, nor those under other features: see docs/quality.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from fastdiff.errors import FastdiffError
from fastdiff.samplers import DEFAULT_SAMPLER, SAMPLERS

if TYPE_CHECKING:
    from fastdiff.engine import Engine
    from fastdiff.metrics.features import Features

EVALUATIONS = "5,8,10,15,20,30"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``fastdiff eval``."""
    what = parser.add_argument_group("what to judge")
    what.add_argument("--model", default="sprites16", help="packaged name or checkpoint file")
    what.add_argument(
        "--features", help="features file, or packaged name; the model's own unless given"
    )
    what.add_argument("--n", type=int, default=512, help="images of a draw")
    what.add_argument("--draws", type=int, default=4, help="independent draws, for the interval")
    what.add_argument("--seed", type=int, default=0, help="first seed")
    what.add_argument("--guidance", type=float, default=1.0, help="classifier-free guidance scale")
    one = parser.add_argument_group("one sampler")
    one.add_argument("--sampler", help=f"{', '.join(SAMPLERS)}; {DEFAULT_SAMPLER} unless given")
    one.add_argument("--steps", type=int, help="model evaluations (sampler's own default)")
    one.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the sampler: eta=0.5, noise=false, clip=-1:1",
    )
    one.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON too")
    all_ = parser.add_argument_group("every sampler")
    all_.add_argument("--frontier", action="store_true", help="distance against evaluations")
    all_.add_argument("--out", type=Path, default=Path("out/frontier"), help="folder; resumed")
    all_.add_argument("--samplers", help="some of them: ddim,dpmpp_2m; all unless given")
    all_.add_argument("--evaluations", default=EVALUATIONS, help="rows of a table, see --steps")
    all_.add_argument("--plot-only", action="store_true", help="draw what --out holds once more")
    how = parser.add_argument_group("how")
    how.add_argument("--backend", default="auto", help="auto, or a name that fastdiff info lists")
    how.add_argument("--device", help="device of a torch backend: cpu, cuda")
    how.add_argument("--dtype", help="float32, float64, bfloat16")
    how.add_argument("--batch-size", type=int, default=64, help="images computed together")
    how.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Measures and prints; returns the exit code."""
    if args.plot_only or args.frontier:
        for flag, given in (("--sampler", args.sampler), ("--steps", args.steps),
                            ("--set", args.set), ("--json", args.json)):  # fmt: skip
            if given:
                raise FastdiffError(f"{flag}: not with --frontier, which measures every sampler")
        return _frontier(args)
    return _one(args)


def _prepare(args: argparse.Namespace) -> tuple[Engine, Features]:
    from fastdiff.checkpoint import load
    from fastdiff.cli.requests import parse_options
    from fastdiff.engine import compile as compile_engine
    from fastdiff.metrics.features_file import load_features, packaged_features
    from fastdiff.models.kinds import expect_diffusion

    engine = compile_engine(
        expect_diffusion(load(args.model)),
        args.sampler or DEFAULT_SAMPLER,
        args.steps,
        backend=args.backend,
        device=args.device,
        dtype=args.dtype,
        **parse_options(args.set),
    )
    if args.features is None and engine.model.name not in packaged_features():
        raise FastdiffError(
            f"--features: expected a features file made for the data of {engine.model.name!r}, "
            f"only {', '.join(packaged_features()) or 'no model'} came with one"
        )
    return engine, load_features(args.features or engine.model.name)


def _one(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from fastdiff.cli.writing import check_writable
    from fastdiff.metrics.floor import floor
    from fastdiff.metrics.quality import check_counts, quality

    check_counts(args.n, args.draws, args.seed)
    if args.json is not None:
        check_writable(args.json)
    engine, features = _prepare(args)
    calls = 1 if args.guidance == 1 else 2
    evaluations = calls * len(engine.table)
    total = args.n * args.draws * evaluations
    with tqdm(total=total, unit="eval", unit_scale=True, disable=args.quiet, leave=False) as bar:
        found = quality(
            engine,
            features,
            args.n,
            args.draws,
            args.seed,
            args.guidance,
            batch_size=args.batch_size,
            progress=lambda rows: bar.update(calls * rows),
        )
    lowest = floor(features, args.n)
    few = "" if found.half_width is not None else " (one draw has no interval)"
    print(
        f"{engine.model.name}, {engine.table.name}, guidance {args.guidance:g}, "
        f"backend {engine.backend}\n"
        f"distance     {found}{few}\n"
        f"floor        {lowest or f'none: fewer than {args.n} training pictures'}\n"
        f"n, draws     {found.n}, {args.draws} (95 % interval of the mean over draws)\n"
        f"evaluations  {evaluations} per image\n"
        f"features     {features.name}"
    )
    if args.json is not None:
        facts = {
            "model": engine.model.name,
            "sampler": engine.table.name,
            "guidance": args.guidance,
            "backend": engine.backend,
            "features": features.name,
            "n": found.n,
            "draws": args.draws,
            "seed": args.seed,
            "evaluations": evaluations,
            "distance": found.mean,
            "half_width": found.half_width,
            "distances": found.distances,
            "floor": lowest.mean if lowest else None,
        }
        args.json.write_text(json.dumps(facts, indent=2) + "\n")
    return 0


def _frontier(args: argparse.Namespace) -> int:
    from fastdiff.cli.writing import check_writable
    from fastdiff.metrics import frontier, frontier_plot
    from fastdiff.metrics.frontier_results import load_frontier, markdown

    results, picture = args.out / "frontier.json", args.out / "frontier.png"
    frontier_plot.check_matplotlib()  # before hours of drawing, not after
    if args.plot_only:
        found = load_frontier(results)
    else:
        steps = _numbers(args.evaluations)
        names = [v.strip() for v in args.samplers.split(",")] if args.samplers else list(SAMPLERS)
        check_writable(picture)
        engine, features = _prepare(args)
        found = frontier.measure(
            engine, features, results, names, steps, args.n, args.draws, args.seed,
            args.guidance, args.batch_size, progress=not args.quiet,
        )  # fmt: skip
    if not found.points:
        raise FastdiffError(f"out: {results} holds no point to draw")
    for name, count, why in found.skipped:
        print(f"left out: {name} at {count} steps ({why})")
    (args.out / "frontier.md").write_text(markdown(found))
    frontier_plot.draw(found, picture)
    for evaluations, point in found.best().items():
        print(f"{evaluations:>4} evaluations: {point.sampler} {found.quality(point)}")
    print(f"{picture}, {args.out / 'frontier.md'}, {results}")
    return 0


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise FastdiffError(f"--evaluations: expected numbers like {EVALUATIONS}, got {text!r}")
    return [int(part) for part in parts]
