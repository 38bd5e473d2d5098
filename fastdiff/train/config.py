"""What a training run is: every number that its result depends on."""

from __future__ import annotations

from dataclasses import dataclass

from fastdiff.errors import FastdiffError

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class TrainConfig:
    """``steps`` optimiser steps of ``batch_size`` images.

    Adam with ``lr`` after ``warmup`` steps, falling to 0 along a half cosine at the last step.
    ``ema``: decay of the averaged weights. ``drop``: share of samples whose context is set to
    zero, so that the net also learns the unconditional score (Ho & Salimans 2022). ``flip``:
    mirror half of the images. ``precision``: ``"bfloat16"`` runs the forward under autocast,
    weights and optimiser stay float32.
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

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise FastdiffError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not self.lr > 0:
            raise FastdiffError(f"lr: expected a positive number, got {self.lr}")
        if not self.clip_norm > 0:
            raise FastdiffError(f"clip_norm: expected a positive number, got {self.clip_norm}")
        if self.warmup < 0:
            raise FastdiffError(f"warmup: expected 0 or more steps, got {self.warmup}")
        for name in ("ema", "drop"):
            if not 0 <= getattr(self, name) < 1:
                raise FastdiffError(f"{name}: expected 0 <= {name} < 1, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**63:
            raise FastdiffError(f"seed: expected 0 to 2**63 - 1, got {self.seed}")
        if self.precision not in PRECISIONS:
            raise FastdiffError(
                f"precision: expected one of {', '.join(PRECISIONS)}, got {self.precision!r}"
            )
