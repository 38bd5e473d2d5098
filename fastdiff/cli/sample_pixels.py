"""fastdiff sample on an autoregressive model: the options that are its own, and how it is drawn."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from fastdiff.cli.editing import read_image, read_mask
from fastdiff.errors import FastdiffError

if TYPE_CHECKING:
    from fastdiff.pixel_engine import PixelEngine, PixelSamples

# Flag -> what it is where nobody typed it.
OWN = {"temperature": 1.0, "top_k": None, "given_rows": None}
# Of diffusion models, by the attribute that they are parsed to.
DIFFUSION = {
    "guidance": None,
    "guidance_rescale": 0.0,
    "guidance_until": 1.0,
    "interpolate": None,
    "between_seeds": None,
    "strength": None,
    "gif": None,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The group of options for models that draw pixel by pixel."""
    group = parser.add_argument_group("models that draw pixel by pixel (pixelcnn-mnist)")
    group.add_argument(
        "--temperature", type=float, default=1.0, help="below 1: likelier images, less varied"
    )
    group.add_argument("--top-k", type=int, help="draw among the k likeliest levels alone")
    group.add_argument(
        "--given-rows",
        type=int,
        metavar="ROWS",
        help="keep so many of --image's first rows and draw the rest",
    )


def refuse_others(args: argparse.Namespace, others: dict[str, Any], why: str) -> None:
    """Raises FastdiffError where one of the ``others`` was typed."""
    for name, default in others.items():
        if getattr(args, name) != default:
            raise FastdiffError(f"--{name.replace('_', '-')}: expected {why}")


def draw(
    args: argparse.Namespace, engine: PixelEngine, n: int, seeds: list[int] | None, context: Any
) -> PixelSamples:
    """The images that the command asks for."""
    request: dict[str, Any] = {}
    if args.image is not None:
        request["image"] = read_image("--image", args.image, engine.sample_shape)
        if args.mask is not None:
            request["mask"] = (read_mask(args.mask, engine.sample_shape) >= 0.5).astype("float32")
    elif args.mask is not None:
        raise FastdiffError("--mask: expected an --image to keep a part of, got none")
    return engine.sample(
        n,
        args.seed if seeds is None else seeds,
        context=context,
        temperature=args.temperature,
        top_k=args.top_k,
        given_rows=args.given_rows,
        batch_size=1024 if args.batch_size is None else args.batch_size,
        progress=not args.quiet,
        **request,
    )


def facts_of(args: argparse.Namespace) -> dict[str, Any]:
    """What the files' texts say of how the images were drawn."""
    facts: dict[str, Any] = {"temperature": args.temperature}
    for name in ("top_k", "given_rows"):
        if getattr(args, name) is not None:
            facts[name] = getattr(args, name)
    for name in ("image", "mask"):
        if getattr(args, name) is not None:
            facts[name] = getattr(args, name).name
    return facts
