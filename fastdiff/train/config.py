"""What a training run is: every number that its result depends on."""

from __future__ import annotations

from dataclasses import dataclass

from fastdiff.errors import FastdiffError

PRECISIONS = ("float32", "bfloat16")
LR_SCHEDULES = ("cosine", "linear", "constant")
WEIGHTINGS = ("none", "min_snr")
LOSSES = ("l2", "l1")


@dataclass(frozen=True)
class TrainConfig:
    """``steps`` optimiser steps of ``batch_size`` images.

    Adam with ``lr`` after ``warmup`` steps, from there along ``lr_schedule``: ``"cosine"`` or
    ``"linear"`` to 0 at the last step, or ``"constant"`` (``train/rates.py``).
    ``ema``: decay of the averaged weights. ``drop``: share of samples whose context is set to
    zero, so that the net also learns the unconditional score (Ho & Salimans 2022). ``flip``:
    mirror half of the images. ``precision``: ``"bfloat16"`` runs the forward under autocast,
    weights and optimiser stay float32.

    Of denoisers alone: ``loss``, the squared (``"l2"``) or absolute (``"l1"``) error, and
    ``weighting``, how much each level counts: all alike or by ``"min_snr"`` with
    ``min_snr_gamma`` (``train/weighting.py``).

    Every field has a default, which is what a run that was saved before there was such a field
    had: a resumed run takes it so.
    """

    steps: int = 10_000
    batch_size: int = 128
    lr: float = 1e-3
    warmup: int = 500
    ema: float = 0.999
    drop: float = 0.1
    flip: bool = False
    clip_norm: float = 1.0
    seed: int = 0
    precision: str = "float32"
    lr_schedule: str = "cosine"
    loss: str = "l2"
    weighting: str = "none"
    min_snr_gamma: float = 5.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise FastdiffError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("lr", "clip_norm", "min_snr_gamma"):
            if not getattr(self, name) > 0:
                raise FastdiffError(
                    f"{name}: expected a positive number, got {getattr(self, name)}"
                )
        if self.warmup < 0:
            raise FastdiffError(f"warmup: expected 0 or more steps, got {self.warmup}")
        for name in ("ema", "drop"):
            if not 0 <= getattr(self, name) < 1:
                raise FastdiffError(f"{name}: expected 0 <= {name} < 1, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**63:
            raise FastdiffError(f"seed: expected 0 to 2**63 - 1, got {self.seed}")
        for name, known in (
            ("precision", PRECISIONS),
            ("lr_schedule", LR_SCHEDULES),
            ("loss", LOSSES),
            ("weighting", WEIGHTINGS),
        ):
            if getattr(self, name) not in known:
                raise FastdiffError(
                    f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
