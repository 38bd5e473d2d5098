"""fastdiff train: trains a model on a folder of images, an .npz, .npy or IDX file.

A U-Net learns to denoise, a PixelCNN to tell each pixel from those before it.

Stop it with Ctrl-C and go on with --resume: the result is the same as without the break. Under
torchrun (torchrun --nproc-per-node 2 -m fastdiff train ...) the processes share each batch.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from fastdiff import schedules
from fastdiff.cli.train_networks import OWN, add_network, fill_own, sizes_of
from fastdiff.cli.train_settings import add_settings, add_watching, features_of, settings_of
from fastdiff.errors import FastdiffError
from fastdiff.schedules import Schedule

if TYPE_CHECKING:
    from fastdiff.data.dataset import ImageSet
    from fastdiff.models.kinds import AnyModel
    from fastdiff.train.config import TrainConfig
    from fastdiff.train.distributed import Ranks


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
    add_network(parser)
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
    fill_own(args)
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
    schedule, sizes = None, sizes_of(args, images)
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
