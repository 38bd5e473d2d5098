"""fastdiff train: trains a model on a folder of images, an .npz, .npy or IDX file.

A U-Net learns to denoise, a PixelCNN to tell each pixel from those before it.

Stop it with Ctrl-C and go on with --resume: the result is the same as without the break. Under
torchrun (torchrun --nproc-per-node 2 -m fastdiff train ...) the processes share each batch.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdiff import schedules
from fastdiff.cli.train_settings import add_settings, add_watching, features_of, settings_of
from fastdiff.errors import FastdiffError
from fastdiff.schedules import KINDS, PREDICTIONS, Schedule

if TYPE_CHECKING:
    from fastdiff.data.dataset import ImageSet
    from fastdiff.models.kinds import AnyModel
    from fastdiff.train.config import TrainConfig
    from fastdiff.train.distributed import Ranks

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
    "pixelcnn": {"hidden": 128, "blocks": 15, "levels": 256},
    "gated_pixelcnn": {"hidden": 64, "levels": 256, "dilations": "1,2,1,4,1,2,1"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``fastdiff train``."""
    parser.add_argument("--data", type=Path, required=True, help="folder, .npz, .npy or IDX file")
    parser.add_argument("--size", type=int, help="resize images to this height and width")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--init", help="start from this model's weights (name or file)")
    parser.add_argument("--name", help="name stored in the model (default: the folder's)")
    parser.add_argument("--unconditional", action="store_true", help="leave the classes out")
    parser.add_argument(
        "--held-out", type=Path, help="images to judge on, in any form of --data: 1000 of them"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
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
    kind.add_argument("--groups", type=int, help="ddpm_unet: groups of the norms (32)")
    kind.add_argument("--head-width", type=int, help="ddpm_unet: of an attention head; 0: one head")
    kind.add_argument("--dropout", type=float, help="ddpm_unet: share of features left out (0)")
    kind.add_argument(
        "--scale-shift", action="store_true", default=None, help="ddpm_unet: time scales and shifts"
    )
    kind.add_argument("--levels", type=int, help="values of a pixel, 2 to 256, of a PixelCNN (256)")
    kind.add_argument("--dilations", help="gated_pixelcnn: one a layer (1,2,1,4,1,2,1)")
    add_settings(parser)
    add_watching(parser)


def run(args: argparse.Namespace) -> int:
    """Trains; returns the exit code."""
    from fastdiff.train.distributed import joined
    from fastdiff.train.state import FILE

    config = settings_of(args)
    if args.size is not None and not 4 <= args.size <= 1024:
        raise FastdiffError(f"--size: expected 4 to 1024 pixels, got {args.size}")
    if (args.out / FILE).exists() and not args.resume:
        raise FastdiffError(
            f"--out: {args.out} holds a run already, use --resume or another folder"
        )
    _fill_own(args)
    images = _images(args, args.data)
    held_out = None if args.held_out is None else _images(args, args.held_out)
    with joined(args.device) as ranks:
        return _train(args, config, images, held_out, ranks)


def _train(
    args: argparse.Namespace,
    config: TrainConfig,
    images: ImageSet,
    held_out: ImageSet | None,
    ranks: Ranks,
) -> int:
    from fastdiff.train.loop import Trainer

    def say(text: str) -> None:
        if ranks.first:
            print(text)

    if images.skipped:
        say(f"{len(images.skipped)} unreadable images skipped, the first: {images.skipped[0]}")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FastdiffError(f"--out: cannot write {args.out} ({error.strerror})") from error
    model, features = _model(args, images), features_of(args)
    trainer = Trainer(
        model, images, config, args.out, args.device, held_out, ranks, features, args.quality_n
    )
    if trainer.step:
        say(f"resuming at step {trainer.step}")
    path = trainer.run(
        save_every=args.save_every,
        sample_every=args.sample_every,
        judge_every=args.judge_every,
        progress=not args.quiet,
        tensorboard=args.tensorboard,
    )
    whole = trainer.step >= config.steps
    say(f"{'trained' if whole else 'stopped at'} step {trainer.step}: {path}")
    return 0 if whole else 130


def _fill_own(args: argparse.Namespace) -> None:
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


def _images(args: argparse.Namespace, path: Path) -> ImageSet:
    import numpy as np

    from fastdiff.data.dataset import load_images

    images = load_images(path, args.size)
    if not args.unconditional:
        return images
    none = np.zeros((len(images), 0), dtype=np.float32)
    return dataclasses.replace(images, context=none, labels=())


def _model(args: argparse.Namespace, images: ImageSet) -> AnyModel:
    from fastdiff.checkpoint import load
    from fastdiff.train.loop import new_model

    if args.init is not None:
        return load(args.init)
    schedule, sizes = None, _sizes(args, images)
    if "schedule" in OWN[args.architecture]:
        schedule = dataclasses.replace(
            schedules.course() if args.schedule == "course" else Schedule(args.schedule),
            time="fraction" if args.architecture == "context_unet" else "index",
            prediction=args.prediction,
            zero_snr=args.zero_snr,
        )
    name = args.name or args.out.resolve().name
    labels = images.labels if images.context.shape[1] else ()
    return new_model(args.architecture, sizes, schedule, labels, name, args.seed)


def _sizes(args: argparse.Namespace, images: ImageSet) -> dict[str, Any]:
    """The architecture's configuration, from its options and the images."""
    _, height, width, channels = images.x.shape
    n_context = images.context.shape[1]
    if args.architecture == "context_unet":
        if height != width:
            raise FastdiffError(f"data: expected square images, got {height}x{width} (use --size)")
        sizes = {"in_channels": channels, "n_feat": args.n_feat, "height": height}
        return {**sizes, "n_cfeat": max(1, n_context)}
    shape = {"height": height, "width": width, "n_context": n_context}
    if args.architecture == "ddpm_unet":
        widths = _numbers("--channels", args.channels)
        heights = _numbers("--attention", args.attention) if args.attention else ()
        maps = tuple(height >> level for level in range(len(widths)))
        if not set(heights) <= set(maps):
            raise FastdiffError(
                f"--attention: expected some of {', '.join(map(str, maps))}, got {args.attention!r}"
            )
        return {
            **shape,
            "in_channels": channels,
            "channels": widths,
            "blocks": args.blocks,
            "attention": tuple(map_height in heights for map_height in maps),
            "groups": args.groups,
            "head_width": args.head_width or None,
            "dropout": args.dropout,
            "scale_shift": args.scale_shift,
        }
    sizes = {**shape, "levels": args.levels, "hidden": args.hidden}
    if args.architecture == "pixelcnn":
        return {**sizes, "in_channels": channels, "blocks": args.blocks}
    if channels != 1:
        raise FastdiffError(
            f"data: expected grey images for gated_pixelcnn, got {channels} colours"
        )
    return {**sizes, "dilations": _numbers("--dilations", args.dilations)}


def _numbers(name: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise FastdiffError(f"{name}: expected numbers like 1,2,4, got {text!r}")
    return tuple(int(part) for part in parts)
