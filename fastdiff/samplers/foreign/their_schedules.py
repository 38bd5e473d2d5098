"""Schedules between diffusers and us: its keywords for ours, and whether a scheduler fits ours."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from fastdiff.errors import FastdiffError
from fastdiff.samplers.foreign.watching import Prepared
from fastdiff.samplers.prediction import predicted
from fastdiff.samplers.table import Float64Array
from fastdiff.schedules import EDMSchedule, Schedule

PREDICTIONS: Final = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
# alpha_bar by float32 products is nearer than this, and other schedules are not.
_SAME: Final = 1e-3


def diffusers_config(schedule: Schedule) -> dict[str, Any]:
    """Keywords with which a diffusers scheduler is made for one of our schedules.

    ``num_train_timesteps``, ``trained_betas`` (T numbers whose products of 1 - beta are
    ``alpha_bar``, also the course's with its extra factor), ``prediction_type``, and
    ``rescale_betas_zero_snr`` where the schedule's last level has no signal:
    ``DPMSolverMultistepScheduler(**diffusers_config(model.schedule))``.
    """
    beta = 1.0 - schedule.alpha_bar[1:] / schedule.alpha_bar[:-1]
    config = {
        "num_train_timesteps": schedule.T,
        "trained_betas": beta.tolist(),
        "prediction_type": PREDICTIONS[schedule.prediction],
    }
    # Nothing is left to rescale, but those that divide by alpha take a trace of it then.
    return config | ({"rescale_betas_zero_snr": True} if schedule.zero_snr else {})


def check_schedule(prepared: Prepared, schedule: Schedule) -> None:
    """Raises unless the scheduler has the schedule's levels and its model's prediction type."""
    import torch

    hint = "make it with diffusers_config(schedule)"
    known = getattr(prepared.scheduler, "alphas_cumprod", None)
    if known is None:
        raise FastdiffError(
            f"schedule: {prepared.name} has no alphas_cumprod, by which to know that it is for "
            "one (None takes its timesteps as they are)"
        )
    theirs = torch.as_tensor(known).detach().double().numpy()
    ours = schedule.alpha_bar[1:]
    if len(theirs) != schedule.T:
        raise FastdiffError(
            f"schedule: expected a scheduler of {schedule.T} timesteps, got {prepared.name} with "
            f"{len(theirs)}; {hint}"
        )
    if not np.allclose(theirs, ours, rtol=_SAME, atol=1e-6):
        worst = int(np.abs(theirs - ours).argmax())
        raise FastdiffError(
            f"schedule: {prepared.name} was made for another one, its alphas_cumprod[{worst}] is "
            f"{theirs[worst]:.6g}, expected {ours[worst]:.6g}; {hint}"
        )
    wanted, got = PREDICTIONS[schedule.prediction], prepared.config.get("prediction_type")
    if got != wanted:
        raise FastdiffError(
            f"schedule: expected a scheduler with prediction_type {wanted!r}, got {got!r}; {hint}"
        )


def check_edm(prepared: Prepared, schedule: EDMSchedule, columns: dict[str, Float64Array]) -> None:
    """Raises unless the rows ask an EDM model in its language: t, c_in, c_skip and c_out."""
    sigma = columns["sigma"]
    if (sigma > 0).all():
        x0, _ = predicted(schedule, np.ones(len(sigma)), sigma)
        wanted = {
            "t": np.log(sigma) / 4.0,
            "in_scale": 1.0 / np.sqrt(sigma**2 + schedule.sigma_data**2),
            "x0_from_x": x0.from_x,
            "x0_from_m": x0.from_m,
        }
        if all(np.allclose(columns[name], w, 1e-4, 1e-6) for name, w in wanted.items()):
            return
    raise FastdiffError(
        f"schedule: {prepared.name} does not ask its model as an EDM model of sigma_data "
        f"{schedule.sigma_data:g} wants to be asked (t = ln(sigma) / 4, c_in, c_skip and c_out)"
    )
