"""diffusers' schedulers made to compute in float64, so that 1e-6 says something.

They make their tables in float32, and some cast every sample to it. Both names are replaced in a
scheduler's module for the length of a test; what it computes with them is untouched.
"""

import sys

import numpy as np
import torch

from tests.samplers.test_predictions import PREDICTIONS, THEIRS, alphas_cumprod


class _Double:
    """A module whose float32 is float64."""

    def __init__(self, module, wide):
        self._module, self.float32 = module, wide

    def __getattr__(self, name):
        return getattr(self._module, name)


def in_double(monkeypatch, cls):
    """The module of a scheduler's class, its float32 made float64 for the test."""
    module = sys.modules[cls.__module__]
    monkeypatch.setattr(module, "torch", _Double(torch, torch.float64))
    if hasattr(module, "np"):
        monkeypatch.setattr(module, "np", _Double(np, np.float64))
    return module


class Scheduler:
    """A diffusers scheduler in float64 over one of our schedules' kinds, stepped with given noise.

    ``zs``: [rows, ...] the noise of each row, drawn by whatever means the scheduler has.
    """

    def __init__(self, monkeypatch, cls, kind, prediction, zs, **config):
        module = in_double(monkeypatch, cls)
        if hasattr(module, "randn_tensor"):
            monkeypatch.setattr(
                module, "randn_tensor", lambda *a, **k: torch.from_numpy(self.zs[self.row])
            )
        name, start, end = THEIRS[kind]
        options = {"prediction_type": PREDICTIONS[prediction], **config}
        self.scheduler = cls(1000, start, end, name, **options)
        self.scheduler.alphas_cumprod = torch.from_numpy(alphas_cumprod(kind, False))
        self.zs, self.row = zs, 0

    def run_all(self, steps, x, answer, last_sigma=None, **options):
        """Every x after a step, as it makes them. ``answer(model's input, its timestep)``."""
        self.scheduler.set_timesteps(steps)
        if last_sigma is not None:
            self.scheduler.sigmas[-1] = last_sigma
        x, made = torch.from_numpy(x), []
        for row, t in enumerate(self.scheduler.timesteps):
            self.row = row
            seen = self.scheduler.scale_model_input(x, t)
            out = torch.from_numpy(answer(seen.numpy(), float(t)))
            x = self.scheduler.step(out, t, x, **options).prev_sample
            assert x.dtype == torch.float64
            made.append(x.numpy())
        return made
