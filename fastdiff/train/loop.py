"""The training loop: keeps an average, saves often, resumes exactly."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from fastdiff import checkpoint
from fastdiff.data.dataset import ImageSet
from fastdiff.errors import FastdiffError
from fastdiff.metrics.features import Features
from fastdiff.models.device import torch_device
from fastdiff.models.kinds import AnyModel
from fastdiff.models.model import DiffusionModel
from fastdiff.models.registry import build, describe
from fastdiff.schedules import Schedule
from fastdiff.train.autoregressive import LevelPrediction
from fastdiff.train.board import FOLDER, Board, TensorBoard
from fastdiff.train.config import TrainConfig
from fastdiff.train.denoising import Denoising
from fastdiff.train.distributed import Ranks
from fastdiff.train.ema import Ema
from fastdiff.train.fitting import fitting
from fastdiff.train.interrupts import Interrupts
from fastdiff.train.objective import Objective
from fastdiff.train.quality import SAMPLES, quality_figure
from fastdiff.train.rates import learning_rate
from fastdiff.train.reports import EVERY, Reports
from fastdiff.train.slots import ALL
from fastdiff.train.state import load_state, save_state

MODEL_FILE = "model.safetensors"
# Enough to watch a run by, and little beside the training.
JUDGED = 1000


def objective_of(
    model: AnyModel, images: ImageSet, config: TrainConfig, share: slice = ALL
) -> Objective[Any]:
    """What a model of that kind is trained for, on that share of each batch's slots."""
    if isinstance(model, DiffusionModel):
        return Denoising(model, images, config, share)
    return LevelPrediction(model, images, config, share)


class Trainer:
    """One run in ``out``: ``training.safetensors``, ``model.safetensors`` (EMA), ``loss.csv``.

    ``held_out``: images that the averaged model is judged on as it goes and at the end, the first
    1000 of them, in ``held_out.csv``. There too the Frechet distance of ``quality_n`` samples (0:
    none) in ``features``, unless given those packaged for the model's shape and classes, if any
    are (``train/quality.py``). ``ranks``: the processes that train it together, each with a Trainer
    of its own over the same arguments (``train/distributed.py``).
    """

    def __init__(
        self,
        model: AnyModel,
        images: ImageSet,
        config: TrainConfig,
        out: Path,
        device: str = "cpu",
        held_out: ImageSet | None = None,
        ranks: Ranks | None = None,
        features: Features | None = None,
        quality_n: int = SAMPLES,
    ) -> None:
        images = fitting(model, images)
        self.held_out = None if held_out is None else fitting(model, held_out, JUDGED)
        self.model, self.config, self.out = model, config, out
        self.ranks = ranks or Ranks()
        self.device = torch_device(self.ranks.device(device))
        self.quality = quality_figure(model, features, quality_n, self.device)
        share = self.ranks.share(config.batch_size)
        self.objective = objective_of(model, images, config, share)
        self.batches = self.objective.batches
        order = self.objective.memory_format
        module = model.module.to(self.device, memory_format=order).train()  # type: ignore[call-overload]
        self.ema = Ema(module, config.ema)  # before ranks: it is judged and saved by one alone
        self.module = self.ranks.prepare(module)
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=config.lr)
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
        self.ranks.check_step(self.step)
        self._reports = Reports(out)
        if self.ranks.first:
            self._reports.forget_beyond(self.step)
        self._averaged: tuple[int, AnyModel] | None = None
        self._gradient_norm = torch.zeros(())

    def train_step(self, batch: Any) -> float:
        """One optimiser step on this rank's share of a batch; the loss of the whole batch."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        batch = batch.to(self.device)
        with self._autocast():
            predicted = self.objective.predict(self.module, batch)
        loss = self.objective.loss(predicted.float(), batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.ranks.average_gradients(self.module)
        parameters = self.module.parameters()
        self._gradient_norm = nn.utils.clip_grad_norm_(parameters, self.config.clip_norm).detach()
        self.optimizer.step()
        self.ema.update(self.module, self.step)
        self.step += 1
        return self.ranks.mean(float(loss.detach()))

    def run(
        self,
        *,
        save_every: int = 1000,
        sample_every: int = 2000,
        judge_every: int = 2000,
        progress: bool = True,
        tensorboard: bool = False,
        on_step: Callable[[int, float], None] | None = None,
    ) -> Path:
        """Trains to the last step (or to Ctrl-C, of all ranks) and returns the model file's path.

        ``tensorboard``: also writes what is logged and drawn for TensorBoard, in ``tensorboard/``.
        """
        first, steps = self.ranks.first, self.config.steps
        shown = tensorboard and first
        self._reports.board = TensorBoard(self.out / FOLDER, self.step) if shown else Board()
        bar = tqdm(total=steps, initial=self.step, disable=not (progress and first), unit="step")
        with Interrupts() as interrupts, closing(self._reports.board), bar:
            started = time.monotonic()
            while not self._done() and not self.ranks.any(interrupts.asked):
                loss = self.train_step(self.batches(self.step))
                if not math.isfinite(loss):
                    raise FastdiffError(
                        f"lr: the loss became {loss} at step {self.step}, a lower lr may help; "
                        f"{self.out} holds the last good state"
                    )
                bar.update()
                self._reports.add(loss, self._gradient_norm)
                if first:
                    if self.step % EVERY == 0:
                        rate = learning_rate(self.config, self.step - 1)
                        self._reports.log(self.step, rate, time.monotonic() - started)
                        bar.set_postfix(loss=f"{self._reports.loss:.4f}")
                    if sample_every and self.step % sample_every == 0:
                        self.sample_grid()
                    if (judge_every and self.step % judge_every == 0) or self._done():
                        self.judge()
                    if self.step % save_every == 0:
                        self.save()
                if on_step is not None:
                    on_step(self.step, loss)
            if first:
                self.save()
            self.ranks.any(False)  # nobody goes on before the files are there
        return self.out / MODEL_FILE

    def save(self) -> Path:
        """Writes the training state and the averaged model, whose path it returns."""
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
        self._reports.board.flush()
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
        picture = self.objective.sample_grid(self.averaged(), self.device)
        return self._reports.picture(self.step, picture)

    def judge(self) -> dict[str, float]:
        """The averaged model's figures, logged: on the held-out images, where there are any, and
        of its samples, where there are features to compare them in.
        """
        figures: dict[str, float] = {}
        if self.held_out is not None:
            figures |= self.objective.judge(self.averaged(), self.held_out)
        if self.quality is not None:
            figures |= self.quality(self.averaged())
        if figures:
            self._reports.figures(self.step, figures)
        return figures

    def _autocast(self) -> torch.autocast:
        enabled = self.config.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def _done(self) -> bool:
        return self.step >= self.config.steps


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
