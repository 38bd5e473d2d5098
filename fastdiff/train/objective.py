"""What a kind of model is trained for: the part of training that differs between kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch
from PIL.Image import Image
from torch import Tensor, nn

from fastdiff.data.dataset import ImageSet
from fastdiff.models.kinds import AnyModel


class AnyBatch(Protocol):
    """One step's tensors."""

    def to(self: B, device: torch.device) -> B:
        """The batch on that device."""


B = TypeVar("B", bound=AnyBatch)


class Objective(Protocol[B]):
    """Batches, loss, figure of quality and sample grid of one kind of model.

    ``facts``: what a run must share with its saved state beyond data and architecture.
    ``memory_format``: that of the weights while they are trained.
    """

    facts: dict[str, Any]
    memory_format: torch.memory_format

    @property
    def batches(self) -> Callable[[int], B]:
        """The batch of an optimiser step, counted from 0, whenever it is asked for."""

    def predict(self, module: nn.Module, batch: B) -> Tensor:
        """The network's output on a batch; may run under autocast."""

    def loss(self, predicted: Tensor, batch: B) -> Tensor:
        """The scalar to descend, from an output in float32."""

    def settle(self, module: nn.Module, device: torch.device) -> None:
        """Makes a copy of the averaged weights ready for use, in place; may run under autocast."""

    def judge(self, model: AnyModel, held_out: ImageSet) -> dict[str, float]:
        """Figures by name, of images that were not trained on."""

    def sample_grid(self, model: AnyModel, device: torch.device) -> Image:
        """A picture of samples, always from the same seeds."""
