"""DiffusionModel: a network together with all that sampling needs to know about it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from fastdiff.errors import FastdiffError
from fastdiff.schedules import AnySchedule, Schedule


@dataclass(frozen=True)
class DiffusionModel:
    """A noise-predicting network, its schedule and the shapes it works on.

    ``module``: called as ``module(x, t, context)`` with x [B, C, H, W], t [B] in the schedule's
    unit and context [B, context_width] (left out where the width is 0); returns eps like x.
    A context of zeros means unconditional. ``labels`` names the context's columns where they
    are classes.
    """

    module: nn.Module
    schedule: AnySchedule
    sample_shape: tuple[int, int, int]  # C, H, W
    context_width: int = 0
    labels: tuple[str, ...] = ()
    name: str = "model"

    def __post_init__(self) -> None:
        if self.labels and len(self.labels) != self.context_width:
            raise FastdiffError(
                f"labels: expected {self.context_width} names, one a context column, "
                f"got {len(self.labels)}"
            )

    @property
    def levels(self) -> Schedule:
        """``schedule``, for what works on levels: training, checkpoints, the noise error.

        Raises FastdiffError where it has none.
        """
        if not isinstance(self.schedule, Schedule):
            raise FastdiffError(
                f"model: expected a schedule with levels, got {type(self.schedule).__name__}"
            )
        return self.schedule

    def __call__(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """The predicted noise, like x."""
        out: Tensor = self.module(x, t, context) if self.context_width else self.module(x, t)
        return out
