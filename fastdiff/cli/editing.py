"""The options of ``fastdiff sample`` that start from pictures or from two seeds."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdiff.errors import FastdiffError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fastdiff.engine import Engine, Samples

VARIANTS = 8  # of one image
ON_THE_WAY = 9  # from one to another


@dataclass(frozen=True)
class Drawing:
    """How a command draws: ``run(n, **request)``, and what to know of it beforehand.

    ``n``: how many unless typed. ``edits``: whether it starts from something typed rather than
    from the noise of its seeds alone. ``share``: of the table's rows that are walked. ``facts``:
    for the files' texts.
    """

    run: Callable[..., Samples]
    n: int
    edits: bool = True
    share: float = 1.0
    facts: dict[str, Any] = field(default_factory=dict)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The group of options for editing."""
    edit = parser.add_argument_group(
        "what to start from", "without --context these draw unconditionally"
    )
    edit.add_argument(
        "--image", type=Path, metavar="FILE", help=f"draw this image again, {VARIANTS} times"
    )
    edit.add_argument(
        "--mask", type=Path, metavar="FILE", help="white: draw the image anew there; black: keep"
    )
    edit.add_argument(
        "--interpolate", type=Path, nargs=2, metavar="FILE", help=f"{ON_THE_WAY} from one to other"
    )
    edit.add_argument(
        "--between-seeds", metavar="A:B", help=f"{ON_THE_WAY} from one seed's image to another's"
    )
    edit.add_argument(
        "--strength",
        type=float,
        help="share of the steps that is walked, in (0, 1]: little changes little "
        "(0.6 with --image, 1 with --mask, 0.5 with --interpolate)",
    )


def drawing(args: argparse.Namespace, engine: Engine, seeds: list[int] | None) -> Drawing:
    """What the typed options ask for; files are read and checked here."""
    from fastdiff.cli.requests import DEFAULT_N
    from fastdiff.requests import editing

    modes = ("image", "interpolate", "between_seeds")
    typed = [f"--{name.replace('_', '-')}" for name in modes if getattr(args, name) is not None]
    if len(typed) > 1:
        raise FastdiffError(f"{typed[1]}: expected one start, got {typed[0]} too")
    if args.mask is not None and args.image is None:
        raise FastdiffError("--mask: expected an --image to keep a part of, got none")
    if args.strength is not None and args.image is None and args.interpolate is None:
        raise FastdiffError("--strength: expected an --image or --interpolate, got neither")
    shape, strength = engine.model.sample_shape, args.strength
    seed = args.seed if seeds is None else seeds
    if args.image is not None:
        request: dict[str, Any] = {"image": read_image("--image", args.image, shape)}
        facts = {"image": args.image.name}
        if args.mask is not None:
            request["mask"] = read_mask(args.mask, shape)
            facts["mask"] = args.mask.name
        default = editing.DEFAULT_STRENGTH if args.mask is None else 1.0
        share = default if strength is None else strength

        def edited(n: int, **rest: Any) -> Samples:
            return engine.sample(n, seed, strength=share, **request, **rest)

        n = VARIANTS if seeds is None else len(seeds)
        return Drawing(edited, n, share=share, facts={**facts, "strength": share})
    if args.interpolate is not None:
        a, b = (read_image("--interpolate", path, shape) for path in args.interpolate)
        share = 0.5 if strength is None else strength

        def interpolated(n: int, **rest: Any) -> Samples:
            return engine.interpolate(a, b, n, strength=share, seed=seed, **rest)

        names = " to ".join(path.name for path in args.interpolate)
        facts = {"interpolate": names, "strength": share}
        return Drawing(interpolated, ON_THE_WAY, share=share, facts=facts)
    if args.between_seeds is not None:
        if seeds is not None:
            raise FastdiffError("--seeds: expected none beside --between-seeds, which names both")
        pair = parse_pair(args.between_seeds)

        def between(n: int, **rest: Any) -> Samples:
            return engine.between_seeds(*pair, n, **rest)

        return Drawing(between, ON_THE_WAY, facts={"between_seeds": args.between_seeds})

    def plain(n: int, **rest: Any) -> Samples:
        return engine.sample(n, seed, **rest)

    return Drawing(plain, DEFAULT_N if seeds is None else len(seeds), edits=False)


def parse_pair(text: str) -> tuple[int, int]:
    """``"3:14"`` as two seeds."""
    first, _, second = text.partition(":")
    if not first.strip().isdecimal() or not second.strip().isdecimal():
        raise FastdiffError(f"--between-seeds: expected two seeds like 3:14, got {text!r}")
    return int(first), int(second)


def read_image(flag: str, path: Path, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """The picture in a file, on white and at the model's size by an area filter: uint8 [H, W, C].

    ``shape``: the model's C, H, W.
    """
    from PIL import Image

    from fastdiff.data.dataset import fit

    channels, height, width = shape
    if channels not in (1, 3):
        raise FastdiffError(f"{flag}: expected a model of 1 or 3 channels, this has {channels}")
    try:
        with Image.open(path) as image:
            image.load()
            return fit(image, (width, height), channels)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FastdiffError(f"{flag}: expected an image file, got {path} ({reason})") from error


def read_mask(path: Path, shape: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """The mask in a file, float32 [H, W]: 1 where white or transparent, 0 where black."""
    import numpy as np

    pixels = read_image("--mask", path, (1, *shape[1:]))[..., 0]
    return np.asarray(pixels / 255.0, dtype=np.float32)
