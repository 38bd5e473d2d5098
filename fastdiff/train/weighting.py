"""How much each level counts in a denoiser's loss, and the loss itself."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from fastdiff.schedules import Float64Array, Schedule
from fastdiff.train.config import TrainConfig


def level_weights(schedule: Schedule, config: TrainConfig) -> Float64Array:
    """The weight of every level's loss, float64 [T + 1]; ones without a weighting.

    ``"min_snr"`` (Hang et al. 2023, section 3.4): with snr = alpha_bar / (1 - alpha_bar) and
    gamma = ``min_snr_gamma`` the loss of x0 counts min(snr, gamma), whatever is predicted:

        x0: min(snr, gamma)    eps: min(snr, gamma) / snr    v: min(snr, gamma) / (snr + 1)

    Finite at alpha_bar = 0 and 1. Under ``zero_snr`` the last level, which has no signal, weighs
    nothing: what the network says there, where sampling begins, is then not trained.
    """
    signal, rest = schedule.alpha_bar, 1.0 - schedule.alpha_bar
    if config.weighting == "none":
        return np.ones_like(signal)
    # Each without a quotient that may be 0 / 0: gamma / snr = gamma rest / signal, and so on.
    gamma = config.min_snr_gamma
    with np.errstate(divide="ignore"):
        if schedule.prediction == "eps":
            return np.minimum(1.0, np.divide(gamma * rest, signal))
        if schedule.prediction == "x0":
            return np.minimum(np.divide(signal, rest), gamma)
    return np.minimum(signal, gamma * rest)


def denoising_loss(
    predicted: Tensor, target: Tensor, weight: Tensor, config: TrainConfig
) -> Tensor:
    """The scalar loss of predictions [B, C, H, W]: the mean of error^2 (``"l2"``) or |error|
    (``"l1"``), each sample's times its ``weight`` [B].
    """
    function = nn.functional.l1_loss if config.loss == "l1" else nn.functional.mse_loss
    if config.weighting == "none":
        return function(predicted, target)
    each = function(predicted, target, reduction="none").flatten(1).mean(dim=1)
    return (weight * each).mean()
