"""fastdiff train: trains a model on a folder of images, an .npz, .npy or IDX file.

Stop it with Ctrl-C and go on with --resume: the result is the same as without the break.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from fastdiff import schedules
from fastdiff.errors import FastdiffError
from fastdiff.schedules import KINDS, PREDICTIONS, Schedule

if TYPE_CHECKING:
    from fastdiff.data.dataset import ImageSet
    from fastdiff.models.model import DiffusionModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``fastdiff train``."""
    parser.add_argument("--data", type=Path, required=True, help="folder, .npz, .npy or IDX file")
    parser.add_argument("--size", type=int, help="resize images to this height and width")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--init", help="start from this model's weights (name or file)")
    parser.add_argument("--name", help="name stored in the model (default: the folder's)")
    parser.add_argument("--n-feat", type=int, default=64, help="features of the first level")
    parser.add_argument("--schedule", choices=KINDS, default="course")
    parser.add_argument("--prediction", choices=PREDICTIONS, default="eps")
    parser.add_argument("--zero-snr", action="store_true", help="no signal at the last level")
    parser.add_argument("--steps", type=int, default=10_000, help="optimiser steps in all")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--warmup", type=int, default=500)
    parser.add_argument("--ema", type=float, default=0.999, help="decay of the averaged weights")
    parser.add_argument("--drop", type=float, default=0.1, help="share of contexts left out")
    parser.add_argument("--flip", action="store_true", help="mirror half of the images")
    parser.add_argument("--clip-norm", type=float, default=1.0, help="largest gradient norm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--save-every", type=int, default=1000)
    parser.add_argument("--sample-every", type=int, default=2000, help="0: no sample grids")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Trains; returns the exit code."""
    from fastdiff.data.dataset import load_images
    from fastdiff.train.config import TrainConfig
    from fastdiff.train.loop import Trainer
    from fastdiff.train.state import FILE

    config = TrainConfig(
        steps=args.steps,
        batch_size=args.batch_size,
        lr=args.lr,
        warmup=args.warmup,
        ema=args.ema,
        drop=args.drop,
        flip=args.flip,
        clip_norm=args.clip_norm,
        seed=args.seed,
        precision=args.precision,
    )
    for name in ("save_every", "sample_every"):
        if getattr(args, name) < (name == "save_every"):
            raise FastdiffError(f"--{name.replace('_', '-')}: got {getattr(args, name)}")
    if args.size is not None and not 4 <= args.size <= 1024:
        raise FastdiffError(f"--size: expected 4 to 1024 pixels, got {args.size}")
    if (args.out / FILE).exists() and not args.resume:
        raise FastdiffError(
            f"--out: {args.out} holds a run already, use --resume or another folder"
        )
    images = load_images(args.data, args.size)
    if images.skipped:
        print(f"{len(images.skipped)} unreadable images skipped, the first: {images.skipped[0]}")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FastdiffError(f"--out: cannot write {args.out} ({error.strerror})") from error
    trainer = Trainer(_model(args, images), images, config, args.out, args.device)
    if trainer.step:
        print(f"resuming at step {trainer.step}")
    path = trainer.run(
        save_every=args.save_every, sample_every=args.sample_every, progress=not args.quiet
    )
    whole = trainer.step >= config.steps
    print(f"{'trained' if whole else 'stopped at'} step {trainer.step}: {path}")
    return 0 if whole else 130


def _model(args: argparse.Namespace, images: ImageSet) -> DiffusionModel:
    from fastdiff.checkpoint import load
    from fastdiff.train.loop import new_model

    if args.init is not None:
        return load(args.init)
    _, height, width, channels = images.x.shape
    if height != width:
        raise FastdiffError(f"data: expected square images, got {height}x{width} (use --size)")
    sizes = {
        "in_channels": channels,
        "n_feat": args.n_feat,
        "n_cfeat": max(1, images.context.shape[1]),
        "height": height,
    }
    schedule = dataclasses.replace(
        schedules.course()
        if args.schedule == "course"
        else Schedule(args.schedule, time="fraction"),
        prediction=args.prediction,
        zero_snr=args.zero_snr,
    )
    name = args.name or args.out.resolve().name
    labels = images.labels if images.context.shape[1] else ()
    return new_model("context_unet", sizes, schedule, labels, name, args.seed)
