"""Learning rates: a linear warm-up, then a fall (or none) to the last step."""

from __future__ import annotations

import math

from fastdiff.train.config import TrainConfig


def learning_rate(config: TrainConfig, step: int) -> float:
    """The rate of optimiser step ``step``, counted from 0.

    ``lr (step + 1) / warmup`` during the warm-up. Then, with p the share of the steps after it
    that are done, by ``lr_schedule``: ``"cosine"``: lr (1 + cos(pi p)) / 2; ``"linear"``:
    lr (1 - p); ``"constant"``: lr. Both falls reach 0 when the last step is done.
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    if config.lr_schedule == "constant":
        return config.lr
    if config.lr_schedule == "linear":
        return config.lr * (1.0 - done)
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * done))
