"""The options of ``fastdiff train`` that say how it learns and how it is watched, not what."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING

from fastdiff.errors import FastdiffError
from fastdiff.train.config import LOSSES, LR_SCHEDULES, PRECISIONS, WEIGHTINGS, TrainConfig

if TYPE_CHECKING:
    from fastdiff.metrics.features import Features

EVERY = ("save_every", "sample_every", "judge_every")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The options behind a TrainConfig."""
    how = parser.add_argument_group("how it learns")
    how.add_argument("--steps", type=int, default=10_000, help="optimiser steps in all")
    how.add_argument("--batch-size", type=int, default=128, help="images a step, of all processes")
    how.add_argument("--lr", type=float, default=1e-3, help="learning rate after the warm-up")
    how.add_argument(
        "--lr-schedule", choices=LR_SCHEDULES, default="cosine", help="its way to the last step"
    )
    how.add_argument("--warmup", type=int, default=500, help="steps of rising learning rate")
    how.add_argument("--loss", choices=LOSSES, default="l2", help="a denoiser's: l1 is |error|")
    how.add_argument(
        "--weighting", choices=WEIGHTINGS, default="none", help="of a denoiser's loss by level"
    )
    how.add_argument("--min-snr-gamma", type=float, default=5.0, help="min_snr's bound")
    how.add_argument("--ema", type=float, default=0.999, help="decay of the averaged weights")
    how.add_argument("--drop", type=float, default=0.1, help="share of contexts left out")
    how.add_argument("--flip", action="store_true", help="mirror half of the images")
    how.add_argument("--clip-norm", type=float, default=1.0, help="largest gradient norm")
    how.add_argument("--seed", type=int, default=0, help="of the weights and the batches")
    how.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the forward")


def add_watching(parser: argparse.ArgumentParser) -> None:
    """The options that the trained weights do not depend on."""
    watch = parser.add_argument_group("how it is watched")
    watch.add_argument("--save-every", type=int, default=1000, help="steps")
    watch.add_argument("--sample-every", type=int, default=2000, help="steps; 0: no sample grids")
    watch.add_argument("--judge-every", type=int, default=2000, help="0: never before the end")
    watch.add_argument(
        "--quality-n", type=int, default=256, help="samples to judge a denoiser by; 0: none"
    )
    watch.add_argument(
        "--features", help="that they are judged in, as in eval; packaged ones that fit the model"
    )
    watch.add_argument("--tensorboard", action="store_true", help="log to OUT/tensorboard too")
    watch.add_argument("--quiet", action="store_true", help="no progress bar")


def settings_of(args: argparse.Namespace) -> TrainConfig:
    """The checked TrainConfig; the other numbers are checked too."""
    config = TrainConfig(**{f.name: getattr(args, f.name) for f in fields(TrainConfig)})
    for name in EVERY:
        if getattr(args, name) < (name == "save_every"):
            raise FastdiffError(f"--{name.replace('_', '-')}: got {getattr(args, name)}")
    return config


def features_of(args: argparse.Namespace) -> Features | None:
    """The features that were asked for by name or file, None where none were."""
    from fastdiff.metrics.features_file import load_features

    return None if args.features is None else load_features(args.features)
