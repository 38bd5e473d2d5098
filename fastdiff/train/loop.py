"""The training loop: keeps an average, saves often, resumes exactly."""

from __future__ import annotations

import copy
import hashlib
import math
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from fastdiff import checkpoint
from fastdiff.data.dataset import ImageSet
from fastdiff.errors import FastdiffError
from fastdiff.models.device import torch_device
from fastdiff.models.kinds import AnyModel
from fastdiff.models.model import DiffusionModel
from fastdiff.models.registry import build, describe
from fastdiff.schedules import Schedule
from fastdiff.train.autoregressive import LevelPrediction
from fastdiff.train.config import TrainConfig
from fastdiff.train.denoising import Denoising
from fastdiff.train.ema import Ema
from fastdiff.train.fitting import fitting
from fastdiff.train.log import Log
from fastdiff.train.objective import Objective
from fastdiff.train.state import load_state, save_state

MODEL_FILE = "model.safetensors"
LOG_FILE = "loss.csv"
HELD_OUT_FILE = "held_out.csv"
# Enough to watch a run by, and little beside the training.
JUDGED = 1000


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then a half cosine that reaches 0 at the last step."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def objective_of(model: AnyModel, images: ImageSet, config: TrainConfig) -> Objective[Any]:
    """What a model of that kind is trained for."""
    if isinstance(model, DiffusionModel):
        return Denoising(model, images, config)
    return LevelPrediction(model, images, config)


class Trainer:
    """One run in ``out``: ``training.safetensors``, ``model.safetensors`` (EMA), ``loss.csv``.

    ``held_out``: images that the averaged model is judged on as it goes and at the end, the first
    1000 of them, in ``held_out.csv``.
    """

    def __init__(
        self,
        model: AnyModel,
        images: ImageSet,
        config: TrainConfig,
        out: Path,
        device: str = "cpu",
        held_out: ImageSet | None = None,
    ) -> None:
        images = fitting(model, images)
        self.held_out = None if held_out is None else fitting(model, held_out, JUDGED)
        self.model, self.config, self.out = model, config, out
        self.device = torch_device(device)
        self.objective = objective_of(model, images, config)
        self.batches = self.objective.batches
        order = self.objective.memory_format
        self.module = model.module.to(self.device, memory_format=order).train()  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=config.lr)
        self.ema = Ema(self.module, config.ema)
        digest = hashlib.sha256(images.x.tobytes() + images.context.tobytes()).hexdigest()[:16]
        architecture, sizes = describe(model.module)
        self.facts: dict[str, Any] = {
            "data": digest,
            "images": len(images),
            "architecture": architecture,
            "sizes": sizes,
            **self.objective.facts,
        }
        out.mkdir(parents=True, exist_ok=True)
        self.step = load_state(
            out, self.module, self.ema.module, self.optimizer, config, self.facts
        )
        self._log, self._held_out_log = Log(out / LOG_FILE), Log(out / HELD_OUT_FILE)
        for log in (self._log, self._held_out_log):
            log.forget_beyond(self.step)
        self._losses: list[float] = []
        self._averaged: tuple[int, AnyModel] | None = None
        self._stop = False

    def train_step(self, batch: Any) -> float:
        """One optimiser step; the batch's loss."""
        rate = learning_rate(self.config, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = batch.to(self.device)
        with self._autocast():
            predicted = self.objective.predict(self.module, batch)
        loss = self.objective.loss(predicted.float(), batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.module.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.ema.update(self.module, self.step)
        self.step += 1
        return float(loss.detach())

    def run(
        self,
        *,
        save_every: int = 1000,
        sample_every: int = 2000,
        judge_every: int = 2000,
        progress: bool = True,
        on_step: Callable[[int, float], None] | None = None,
    ) -> Path:
        """Trains to the last step (or to Ctrl-C) and returns the model file's path."""
        previous = self._catch_interrupts()
        try:
            with tqdm(
                total=self.config.steps, initial=self.step, disable=not progress, unit="step"
            ) as bar:
                started = time.monotonic()
                while not self._done() and not self._stop:
                    loss = self.train_step(self.batches(self.step))
                    if not math.isfinite(loss):
                        raise FastdiffError(
                            f"lr: the loss became {loss} at step {self.step}, a lower lr may help; "
                            f"{self.out} holds the last good state"
                        )
                    self._losses.append(loss)
                    bar.update()
                    if self.step % 100 == 0:
                        self._log_losses(time.monotonic() - started)
                        bar.set_postfix(loss=f"{np.mean(self._losses[-100:]):.4f}")
                    if sample_every and self.step % sample_every == 0:
                        self.sample_grid()
                    if (judge_every and self.step % judge_every == 0) or self._done():
                        self.judge()
                    if self.step % save_every == 0:
                        self.save()
                    if on_step is not None:
                        on_step(self.step, loss)
            return self.save()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _autocast(self) -> torch.autocast:
        enabled = self.config.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def _done(self) -> bool:
        return self.step >= self.config.steps

    def save(self) -> Path:
        """Writes the training state and the averaged model."""
        save_state(
            self.out,
            self.step,
            self.module,
            self.ema.module,
            self.optimizer,
            self.config,
            self.facts,
        )
        path = self.out / MODEL_FILE
        facts = {"step": self.step, "train": asdict(self.config), **self.facts}
        checkpoint.save(self.averaged(), path, facts=facts)
        return path

    def averaged(self) -> AnyModel:
        """The model with the averaged weights, as the objective settles them."""
        if self._averaged is None or self._averaged[0] != self.step:
            module = copy.deepcopy(self.ema.module)
            with self._autocast():
                self.objective.settle(module, self.device)
            self._averaged = self.step, replace(self.model, module=module)
        return self._averaged[1]

    def sample_grid(self) -> Path:
        """Draws a grid from the averaged model, always from the same seeds."""
        folder = self.out / "samples"
        folder.mkdir(exist_ok=True)
        path = folder / f"step-{self.step:06d}.png"
        self.objective.sample_grid(self.averaged(), self.device).save(path)
        return path

    def judge(self) -> dict[str, float]:
        """The averaged model's figures on the held-out images, logged; none without images."""
        if self.held_out is None:
            return {}
        figures = self.objective.judge(self.averaged(), self.held_out)
        self._held_out_log.add(self.step, {k: f"{v:.6f}" for k, v in figures.items()})
        return figures

    def _log_losses(self, seconds: float) -> None:
        row = {
            "loss": f"{float(np.mean(self._losses[-100:])):.6f}",
            "lr": f"{learning_rate(self.config, self.step - 1):.3e}",
            "seconds_this_run": f"{seconds:.1f}",
        }
        self._log.add(self.step, row)

    def _catch_interrupts(self) -> dict[int, Any]:
        """Ctrl-C and SIGTERM finish the step and save; a second Ctrl-C ends at once."""

        def stop(number: int, frame: FrameType | None) -> None:
            if self._stop:
                raise KeyboardInterrupt
            self._stop = True

        try:
            return {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: the caller handles signals
            return {}


def new_model(
    architecture: str,
    sizes: dict[str, Any],
    schedule: Schedule | None,
    labels: tuple[str, ...],
    name: str,
    seed: int,
) -> AnyModel:
    """A freshly initialised model, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(architecture, sizes, schedule, labels, name)
