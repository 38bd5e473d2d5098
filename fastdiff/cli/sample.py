"""fastdiff sample: draws images and writes a grid, single PNGs, an .npz or a GIF.

The seed of each image is stored in the PNG's text, with all that is needed to draw it again; of
pictures that it started from, their names.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdiff.cli import editing, sample_pixels
from fastdiff.errors import FastdiffError
from fastdiff.samplers import DEFAULT_SAMPLER, SAMPLERS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fastdiff.engine import Samples, Step

GIF_FRAMES = 40
GIF_IMAGES = 256  # a larger grid is no longer an animation that anyone can play
GRID_IMAGES = 1024  # nor a larger sheet a picture that anyone can open
EDITED_COLUMNS = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``fastdiff sample``."""
    what = parser.add_argument_group("what to draw")
    what.add_argument("--model", default="sprites16", help="packaged name or checkpoint file")
    what.add_argument("--sampler", help=f"{', '.join(SAMPLERS)} (default: {DEFAULT_SAMPLER})")
    what.add_argument("--steps", type=int, help="model evaluations (sampler's own default)")
    what.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the sampler: eta=0.5, noise=false, clip=-1:1",
    )
    what.add_argument(
        "--n", type=int, help="number of images (default: 64, or as many as --seeds; see below)"
    )
    what.add_argument("--seed", type=int, default=0, help="first seed; image k has seed + k")
    what.add_argument("--seeds", help="the seeds themselves: 3,1,4 or ranges 0-7")
    what.add_argument(
        "--context",
        help="class names, each with an optional count (monster:16,item:16), 'each' for all "
        "classes, 'none', or the vector itself (0,0.5,0.5); each class in turn unless given",
    )
    what.add_argument("--guidance", type=float, help="classifier-free guidance scale")
    what.add_argument(
        "--guidance-rescale", type=float, default=0.0, help="0 to 1, against glare (Lin et al.)"
    )
    what.add_argument(
        "--guidance-until", type=float, default=1.0, help="share of the steps that are guided"
    )
    editing.add_arguments(parser)
    sample_pixels.add_arguments(parser)
    how = parser.add_argument_group("how")
    how.add_argument("--backend", default="auto", help="auto, or a name that fastdiff info lists")
    how.add_argument("--device", help="device of a torch backend: cpu, cuda")
    how.add_argument("--dtype", help="float32, float64, bfloat16")
    how.add_argument(
        "--batch-size", type=int, help="images computed together (64, pixel by pixel 1024)"
    )
    how.add_argument("--quiet", action="store_true", help="no progress bar")
    out = parser.add_argument_group("what to write")
    out.add_argument("--out", type=Path, default=Path("out/samples.png"), help="grid PNG")
    out.add_argument("--images", type=Path, metavar="DIR", help="single PNGs, seed in the name")
    out.add_argument("--npz", type=Path, help="images float32 [n, C, H, W] and seeds")
    out.add_argument("--gif", type=Path, help="the denoising, animated")
    out.add_argument(
        "--gif-of", choices=("x", "x0"), default="x", help="x: as it is; x0: what it is taken for"
    )
    out.add_argument("--scale", type=int, default=4, help="screen pixels per pixel, 1 to 64")
    out.add_argument("--columns", type=int, help="images in a row of the grid")


def run(args: argparse.Namespace) -> int:
    """Draws and writes; returns the exit code."""
    from fastdiff.cli.requests import DEFAULT_N, parse_context, parse_options, parse_seeds
    from fastdiff.engine import compile as compile_engine
    from fastdiff.pixel_engine import PixelEngine

    if not 1 <= args.scale <= 64:
        raise FastdiffError(f"--scale: expected 1 to 64, got {args.scale}")
    if args.columns is not None and not 1 <= args.columns <= 1024:
        raise FastdiffError(f"--columns: expected 1 to 1024, got {args.columns}")
    if args.gif_of != "x" and args.gif is None:
        raise FastdiffError("--gif-of: expected a --gif to write, got none")
    engine = compile_engine(
        args.model,
        args.sampler,
        args.steps,
        backend=args.backend,
        device=args.device,
        dtype=args.dtype,
        **parse_options(args.set),
    )
    seeds = parse_seeds(args.seeds)
    if isinstance(engine, PixelEngine):
        why = f"none, {engine.name} draws pixel by pixel"
        sample_pixels.refuse_others(args, sample_pixels.DIFFUSION, why)
        default = DEFAULT_N if seeds is None else len(seeds)
        typed = "none" if args.context is None and args.image is not None else args.context
        context, names, n = parse_context(typed, engine.model.labels, args.n, default)
        _check_outputs(args, n)
        started = time.perf_counter()
        pixels = sample_pixels.draw(args, engine, n, seeds, context)
        seconds = time.perf_counter() - started
        facts = {
            "model": engine.name,
            **sample_pixels.facts_of(args),
            "context": typed or ("each" if names else "none"),
            "backend": engine.backend,
        }
        written = _write(args, pixels, names, facts, None)
        return _report(
            args, pixels, n, f"{engine.name}, backend {engine.backend}", seconds, written
        )
    why = f"a model that draws pixel by pixel, {engine.model.name} does not"
    sample_pixels.refuse_others(args, sample_pixels.OWN, why)
    drawing = editing.drawing(args, engine, seeds)
    # Edits begin from a picture that says itself what it is, or lead from one image to another.
    typed = "none" if args.context is None and drawing.edits else args.context
    context, names, n = parse_context(typed, engine.model.labels, args.n, drawing.n)
    if drawing.edits and args.columns is None and names is None:
        args.columns = min(n, EDITED_COLUMNS)
    _check_outputs(args, n)
    frames = None
    if args.gif is not None:
        frames = _Frames(n, max(1, int(len(engine.table) * drawing.share)), args.gif_of)
    started = time.perf_counter()
    samples = drawing.run(
        n,
        context=context,
        guidance=args.guidance,
        guidance_rescale=args.guidance_rescale,
        guidance_until=args.guidance_until,
        on_step=frames,
        every=frames.every if frames else 1,
        batch_size=64 if args.batch_size is None else args.batch_size,
        progress=not args.quiet,
    )
    seconds = time.perf_counter() - started
    facts = {
        "model": engine.model.name,
        "sampler": engine.table.name,
        "guidance": 1.0 if args.guidance is None else args.guidance,
        "guidance_rescale": args.guidance_rescale,
        "guidance_until": args.guidance_until,
        **drawing.facts,
        "context": typed or ("each" if names else "none"),
        "backend": engine.backend,
    }
    written = _write(args, samples, names, facts, frames)
    about = f"{engine.model.name}, {engine.table.name}, backend {engine.backend}"
    return _report(args, samples, n, about, seconds, written)


def _check_outputs(args: argparse.Namespace, n: int) -> None:
    """Before the work, not after it: a path that cannot be written would lose the images."""
    from fastdiff.cli.writing import check_writable

    if n < 1:
        raise FastdiffError(f"--n: expected at least 1, got {n}")
    for flag, path, suffix in (
        ("--out", args.out, ".png"),
        ("--npz", args.npz, ".npz"),
        ("--gif", args.gif, ".gif"),
    ):
        if path is not None:
            if path.suffix.lower() != suffix:
                raise FastdiffError(f"{flag}: expected a {suffix} file, got {str(path)!r}")
            check_writable(path)
    if args.images is not None:
        check_writable(args.images / "seed.png")


def _report(
    args: argparse.Namespace,
    samples: Samples,
    n: int,
    about: str,
    seconds: float,
    written: list[str],
) -> int:
    """Says what was drawn; the exit code."""
    print(f"{len(samples)} images of {about}, {seconds:.2f} s: {', '.join(written)}")
    if len(samples) > GRID_IMAGES:
        print(f"{args.out} shows the first {GRID_IMAGES}; --npz or --images keeps all")
    if not samples.complete:
        print(f"interrupted: {len(samples)} of {n} images were drawn", file=sys.stderr)
        return 130
    return 0


def _write(
    args: argparse.Namespace,
    samples: Samples,
    names: list[str] | None,
    facts: dict[str, Any],
    frames: _Frames | None,
) -> list[str]:
    """Writes all outputs; one that fails does not take the others with it."""
    from fastdiff.cli import writing

    groups = names[: len(samples)] if names else None
    shown = samples.first(GRID_IMAGES)
    heads = groups[:GRID_IMAGES] if groups else None
    jobs: list[tuple[Path, Any]] = [
        (args.out, lambda p: writing.grid_png(p, shown, heads, facts, args.scale, args.columns))
    ]
    if args.images is not None:
        jobs.append(
            (args.images, lambda p: writing.single_pngs(p, samples, groups, facts, args.scale))
        )
    if args.npz is not None:
        jobs.append((args.npz, lambda p: writing.npz(p, samples, facts)))
    if frames is not None:
        kept = groups[:GIF_IMAGES] if groups else None
        jobs.append(
            (args.gif, lambda p: writing.gif(p, frames.ordered(), kept, args.scale, args.columns))
        )
    written, failed = [], []
    for path, job in jobs:
        try:
            job(path)
            written.append(str(path))
        except OSError as error:
            failed.append(f"{path} ({error.strerror or error})")
    if failed:
        others = f"; written: {', '.join(written)}" if written else ""
        raise FastdiffError(f"cannot write {', '.join(failed)}{others}")
    return written


class _Frames:
    """Keeps uint8 intermediates for the animation, as ``on_step``; ``of``: x or x0."""

    def __init__(self, n: int, rows: int, of: str) -> None:
        self.every = max(1, rows // GIF_FRAMES)
        self._n, self._of = min(n, GIF_IMAGES), of
        self._frames: dict[int, npt.NDArray[np.uint8]] = {}

    def __call__(self, step: Step) -> None:
        import numpy as np

        from fastdiff.data.pictures import to_pixels

        keep = self._n - step.first
        if keep <= 0:
            return
        pixels = to_pixels((step.x0 if self._of == "x0" else step.x)[:keep])
        if step.row not in self._frames:
            blank = np.full((self._n, *pixels.shape[1:]), 255, dtype=np.uint8)
            self._frames[step.row] = blank
        self._frames[step.row][step.first : step.first + len(pixels)] = pixels

    def ordered(self) -> list[npt.NDArray[np.uint8]]:
        """The frames from noise to image, each uint8 [n, H, W, C]."""
        return [self._frames[row] for row in sorted(self._frames)]
