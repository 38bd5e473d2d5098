"""What a run says of itself: CSV logs in its folder, and the board that shows them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from fastdiff.train.board import Board
from fastdiff.train.log import Log

LOG_FILE = "loss.csv"
HELD_OUT_FILE = "held_out.csv"
# Steps between two rows of loss.csv, which are means over so many.
EVERY = 100


class Reports:
    """The reports of the run in ``out``."""

    def __init__(self, out: Path) -> None:
        self.out, self.board = out, Board()
        self._log, self._held_out_log = Log(out / LOG_FILE), Log(out / HELD_OUT_FILE)
        self._losses: deque[float] = deque(maxlen=EVERY)
        self._norms: deque[Tensor] = deque(maxlen=EVERY)

    def forget_beyond(self, step: int) -> None:
        """Drops what was logged after ``step``: those steps run again."""
        for log in (self._log, self._held_out_log):
            log.forget_beyond(step)

    def add(self, loss: float, gradient_norm: Tensor) -> None:
        """Notes a step: its loss, and its gradient's norm before it was clipped."""
        self._losses.append(loss)
        self._norms.append(gradient_norm)  # on its device: reading it would wait

    @property
    def loss(self) -> float:
        """The mean loss of the last steps."""
        return sum(self._losses) / len(self._losses)

    def log(self, step: int, lr: float, seconds: float) -> None:
        """Writes a row of the means over the last steps."""
        row = {"loss": f"{self.loss:.6f}", "lr": f"{lr:.3e}", "seconds_this_run": f"{seconds:.1f}"}
        self._log.add(step, row)
        norm = float(torch.stack(list(self._norms)).mean())
        self.board.scalars(
            step, {"train/loss": self.loss, "train/lr": lr, "train/gradient_norm": norm}
        )

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Writes figures of the averaged model."""
        self._held_out_log.add(step, {k: f"{v:.6f}" for k, v in figures.items()})
        self.board.scalars(step, {f"held_out/{k}": v for k, v in figures.items()})

    def picture(self, step: int, picture: Image) -> Path:
        """Saves a grid of samples; its path."""
        folder = self.out / "samples"
        folder.mkdir(exist_ok=True)
        path = folder / f"step-{step:06d}.png"
        picture.save(path)
        self.board.picture(step, "samples", picture)
        return path
