"""The training loop: keeps an average, saves often, resumes exactly."""

from __future__ import annotations

import csv
import hashlib
import math
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from fastdiff import checkpoint
from fastdiff.data.dataset import ImageSet
from fastdiff.data.pictures import grid, to_pixels
from fastdiff.engine import compile as compile_engine
from fastdiff.errors import FastdiffError
from fastdiff.models.device import torch_device
from fastdiff.models.model import DiffusionModel
from fastdiff.models.registry import build, describe
from fastdiff.schedules import Schedule
from fastdiff.train.batches import Batch, Batches
from fastdiff.train.config import TrainConfig
from fastdiff.train.ema import Ema
from fastdiff.train.state import load_state, save_state

MODEL_FILE = "model.safetensors"
LOG_FILE = "loss.csv"


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then a half cosine that reaches 0 at the last step."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


class Trainer:
    """One run in ``out``: ``training.safetensors``, ``model.safetensors`` (EMA), ``loss.csv``."""

    def __init__(
        self,
        model: DiffusionModel,
        images: ImageSet,
        config: TrainConfig,
        out: Path,
        device: str = "cpu",
    ) -> None:
        c, h, w = model.sample_shape
        if images.x.shape[1:] != (h, w, c):
            raise FastdiffError(
                f"data: expected images {[h, w, c]} for this model, got {list(images.x.shape[1:])}"
            )
        if images.context.shape[1] not in (0, model.context_width):
            raise FastdiffError(
                f"data: expected a context of width {model.context_width}, "
                f"got {images.context.shape[1]}"
            )
        if images.context.shape[1] == 0 and model.context_width:
            blank = np.zeros((len(images), model.context_width), dtype=np.float32)
            images = ImageSet(images.x, blank, (), images.skipped)
        self.model, self.config, self.out = model, config, out
        self.device = torch_device(device)
        self.module = model.module.to(self.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=config.lr)
        self.ema = Ema(self.module, config.ema)
        self.batches = Batches(images, model.levels, config)
        digest = hashlib.sha256(images.x.tobytes() + images.context.tobytes()).hexdigest()[:16]
        architecture, sizes = describe(model.module)
        self.facts: dict[str, Any] = {
            "data": digest,
            "images": len(images),
            "architecture": architecture,
            "sizes": sizes,
            "schedule": model.levels.to_dict(),
        }
        out.mkdir(parents=True, exist_ok=True)
        self.step = load_state(
            out, self.module, self.ema.module, self.optimizer, config, self.facts
        )
        self._drop_log_beyond(self.step)
        self._losses: list[float] = []
        self._stop = False

    def train_step(self, batch: Batch) -> float:
        """One optimiser step; the batch's mean squared error of the prediction."""
        rate = learning_rate(self.config, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        x_t = batch.x_t.to(self.device, memory_format=torch.channels_last)
        t, target = batch.t.to(self.device), batch.target.to(self.device)
        context = (batch.context.to(self.device),) if self.model.context_width else ()
        enabled = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=enabled):
            predicted = self.module(x_t, t, *context)
        loss = nn.functional.mse_loss(predicted.float(), target)
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
                while self.step < self.config.steps and not self._stop:
                    loss = self.train_step(self.batches(self.step))
                    if not math.isfinite(loss):
                        raise FastdiffError(
                            f"lr: the loss became {loss} at step {self.step}, a lower lr may help; "
                            f"{self.out} holds the last good state"
                        )
                    self._losses.append(loss)
                    bar.update()
                    if self.step % 100 == 0:
                        self._log(time.monotonic() - started)
                        bar.set_postfix(loss=f"{np.mean(self._losses[-100:]):.4f}")
                    if sample_every and self.step % sample_every == 0:
                        self.sample_grid()
                    if self.step % save_every == 0:
                        self.save()
                    if on_step is not None:
                        on_step(self.step, loss)
            return self.save()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

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

    def averaged(self) -> DiffusionModel:
        """The model with the averaged weights."""
        m = self.model
        return DiffusionModel(
            self.ema.module, m.schedule, m.sample_shape, m.context_width, m.labels, m.name
        )

    def sample_grid(self) -> Path:
        """Draws 8 images a class from the averaged model, always from the same seeds."""
        model = self.averaged()
        device = self.device.type
        engine = compile_engine(model, backend="eager", device=device)
        names = [name for name in model.labels for _ in range(8)]
        n = len(names) or 64
        samples = engine.sample(n, seed=0, context=names or None)
        folder = self.out / "samples"
        folder.mkdir(exist_ok=True)
        path = folder / f"step-{self.step:06d}.png"
        grid(to_pixels(samples.images), groups=names or None).save(path)
        return path

    def _log(self, seconds: float) -> None:
        path = self.out / LOG_FILE
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["step", "loss", "lr", "seconds_this_run"])
            loss = float(np.mean(self._losses[-100:]))
            rate = learning_rate(self.config, self.step - 1)
            writer.writerow([self.step, f"{loss:.6f}", f"{rate:.3e}", f"{seconds:.1f}"])

    def _drop_log_beyond(self, step: int) -> None:
        """Forgets what a killed run logged after its last save: those steps run again."""
        path = self.out / LOG_FILE
        if path.exists():
            head, *rows = path.read_text().splitlines()
            kept = [row for row in rows if int(row.split(",")[0]) <= step]
            path.write_text("\n".join([head, *kept]) + "\n")

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
    schedule: Schedule,
    labels: tuple[str, ...],
    name: str,
    seed: int,
) -> DiffusionModel:
    """A freshly initialised model, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(architecture, sizes, schedule, labels, name)
