"""A run as TensorBoard shows it: scalars and sample grids, in an event file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL.Image import Image

from fastdiff.errors import FastdiffError

FOLDER = "tensorboard"


class Board:
    """One that shows nothing."""

    def scalars(self, step: int, figures: Mapping[str, float]) -> None:
        """Adds figures by name, after ``step`` steps."""

    def picture(self, step: int, name: str, picture: Image) -> None:
        """Adds a picture."""

    def flush(self) -> None:
        """Writes what was added, so that a killed run has shown it."""

    def close(self) -> None:
        """Writes what was added, and the file's end."""


class TensorBoard(Board):
    """Event files in ``folder``; what an earlier run added after ``step`` steps is forgotten.

    Raises FastdiffError where the package ``tensorboard`` is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise FastdiffError(
                "tensorboard: the package is not installed (pip install 'fastdiff[train]')"
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def scalars(self, step: int, figures: Mapping[str, float]) -> None:
        """Adds figures by name, after ``step`` steps."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, picture: Image) -> None:
        """Adds a picture."""
        pixels = np.asarray(picture.convert("RGB"))
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def flush(self) -> None:
        """Writes what was added, so that a killed run has shown it."""
        self._writer.flush()

    def close(self) -> None:
        """Writes what was added, and the file's end."""
        self._writer.close()
