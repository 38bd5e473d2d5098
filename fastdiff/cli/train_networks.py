"""The options of ``fastdiff train`` that say what network it is, for each architecture its own."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from fastdiff.errors import FastdiffError
from fastdiff.schedules import KINDS, PREDICTIONS

if TYPE_CHECKING:
    from fastdiff.data.dataset import ImageSet

# Options that size or steer one architecture and mean nothing to another, with their defaults.
OWN: dict[str, dict[str, Any]] = {
    "context_unet": {"n_feat": 64, "schedule": "course", "prediction": "eps", "zero_snr": False},
    "ddpm_unet": {
        "channels": "128,256,256,256",
        "blocks": 2,
        "attention": "16",
        "groups": 32,
        "head_width": 0,
        "dropout": 0.0,
        "scale_shift": False,
        "schedule": "linear",
        "prediction": "eps",
        "zero_snr": False,
    },
    "two_res_unet": {
        "dim": 64,
        "multipliers": "1,2,4,8",
        "gated_skips": False,
        "schedule": "linear",
        "prediction": "eps",
        "zero_snr": False,
    },
    "pixelcnn": {"hidden": 128, "blocks": 15, "levels": 256},
    "gated_pixelcnn": {"hidden": 64, "levels": 256, "dilations": "1,2,1,4,1,2,1"},
}


def add_network(parser: argparse.ArgumentParser) -> None:
    """The options of all architectures."""
    kind = parser.add_argument_group("the network")
    kind.add_argument("--architecture", choices=tuple(OWN), default="context_unet")
    kind.add_argument("--n-feat", type=int, help="context_unet: features of the first level (64)")
    kind.add_argument(
        "--schedule", choices=KINDS, help="U-Nets: the noise (context_unet: course, others: linear)"
    )
    kind.add_argument("--prediction", choices=PREDICTIONS, help="U-Nets: the output (eps)")
    kind.add_argument(
        "--zero-snr", action="store_true", default=None, help="no signal at the last level"
    )
    kind.add_argument("--hidden", type=int, help="features: pixelcnn (128), gated_pixelcnn (64)")
    kind.add_argument(
        "--blocks", type=int, help="residual blocks: pixelcnn (15), ddpm_unet, a level (2)"
    )
    kind.add_argument("--channels", help="ddpm_unet: features of each level (128,256,256,256)")
    kind.add_argument("--attention", help="ddpm_unet: heights of maps with self-attention (16)")
    kind.add_argument("--dim", type=int, help="two_res_unet: features of the first map (64)")
    kind.add_argument("--multipliers", help="two_res_unet: of dim, one a level (1,2,4,8)")
    kind.add_argument(
        "--gated-skips", action="store_true", default=None, help="two_res_unet: attention on skips"
    )
    kind.add_argument("--groups", type=int, help="ddpm_unet: groups of the norms (32)")
    kind.add_argument("--head-width", type=int, help="ddpm_unet: of an attention head; 0: one head")
    kind.add_argument("--dropout", type=float, help="ddpm_unet: share of features left out (0)")
    kind.add_argument(
        "--scale-shift", action="store_true", default=None, help="ddpm_unet: time scales and shifts"
    )
    kind.add_argument("--levels", type=int, help="values of a pixel, 2 to 256, of a PixelCNN (256)")
    kind.add_argument("--dilations", help="gated_pixelcnn: one a layer (1,2,1,4,1,2,1)")


def fill_own(args: argparse.Namespace) -> None:
    """Sets the defaults of the architecture's own options; refuses another's."""
    own = OWN[args.architecture]
    for name in {key for options in OWN.values() for key in options} - own.keys():
        if getattr(args, name) is not None and args.init is None:
            raise FastdiffError(
                f"--{name.replace('_', '-')}: no option of --architecture {args.architecture}, "
                f"which has {', '.join('--' + k.replace('_', '-') for k in own)}"
            )
    for name, value in own.items():
        if getattr(args, name) is None:
            setattr(args, name, value)


def sizes_of(args: argparse.Namespace, images: ImageSet) -> dict[str, Any]:
    """The architecture's configuration, from its options and the images."""
    _, height, width, channels = images.x.shape
    n_context = images.context.shape[1]
    if args.architecture == "context_unet":
        if height != width:
            raise FastdiffError(f"data: expected square images, got {height}x{width} (use --size)")
        sizes = {"in_channels": channels, "n_feat": args.n_feat, "height": height}
        return {**sizes, "n_cfeat": max(1, n_context)}
    shape = {"height": height, "width": width, "n_context": n_context}
    if args.architecture == "gated_pixelcnn":
        if channels != 1:
            raise FastdiffError(
                f"data: expected grey images for gated_pixelcnn, got {channels} colours"
            )
    else:
        shape["in_channels"] = channels
    return {**shape, **_OWN_SIZES[args.architecture](args, height)}


def _ddpm_unet(args: argparse.Namespace, height: int) -> dict[str, Any]:
    widths = _numbers("--channels", args.channels)
    heights = _numbers("--attention", args.attention) if args.attention else ()
    maps = tuple(height >> level for level in range(len(widths)))
    if not set(heights) <= set(maps):
        raise FastdiffError(
            f"--attention: expected some of {', '.join(map(str, maps))}, got {args.attention!r}"
        )
    return {
        "channels": widths,
        "blocks": args.blocks,
        "attention": tuple(map_height in heights for map_height in maps),
        "groups": args.groups,
        "head_width": args.head_width or None,
        "dropout": args.dropout,
        "scale_shift": args.scale_shift,
    }


def _two_res_unet(args: argparse.Namespace, height: int) -> dict[str, Any]:
    multipliers = _numbers("--multipliers", args.multipliers)
    return {"dim": args.dim, "multipliers": multipliers, "gated_skips": args.gated_skips}


def _pixelcnn(args: argparse.Namespace, height: int) -> dict[str, Any]:
    return {"levels": args.levels, "hidden": args.hidden, "blocks": args.blocks}


def _gated_pixelcnn(args: argparse.Namespace, height: int) -> dict[str, Any]:
    dilations = _numbers("--dilations", args.dilations)
    return {"levels": args.levels, "hidden": args.hidden, "dilations": dilations}


_OWN_SIZES = {
    "ddpm_unet": _ddpm_unet,
    "two_res_unet": _two_res_unet,
    "pixelcnn": _pixelcnn,
    "gated_pixelcnn": _gated_pixelcnn,
}


def _numbers(name: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise FastdiffError(f"{name}: expected numbers like 1,2,4, got {text!r}")
    return tuple(int(part) for part in parts)
