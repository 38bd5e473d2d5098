"""AutoregressiveModel: a network of pixels' logits, and all that sampling needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fastdiff.errors import FastdiffError


@dataclass(frozen=True)
class AutoregressiveModel:
    """A network that gives each pixel's levels given the pixels before it.

    The order is raster over (row, column), then the colours of a pixel one after another.
    ``module``: called as ``module(x, context)`` with x float32 [B, C, H, W] and context
    [B, context_width] (left out where the width is 0); returns logits [B, levels, C, H, W]. What
    it says of a pixel follows from the pixels before it alone. A context of zeros means
    unconditional. ``labels`` names the context's columns where they are classes.

    ``levels``: a pixel is an integer from 0 to levels - 1, and the network's own x is
    level * ``input_scale`` + ``input_shift``.
    """

    module: nn.Module
    sample_shape: tuple[int, int, int]  # C, H, W
    levels: int
    context_width: int = 0
    labels: tuple[str, ...] = ()
    name: str = "model"
    input_scale: float = field(kw_only=True)
    input_shift: float = field(kw_only=True)

    def __post_init__(self) -> None:
        if not 2 <= self.levels <= 256:
            raise FastdiffError(f"levels: expected 2 to 256, got {self.levels}")
        if self.labels and len(self.labels) != self.context_width:
            raise FastdiffError(
                f"labels: expected {self.context_width} names, one a context column, "
                f"got {len(self.labels)}"
            )

    def input_of(self, levels: Tensor) -> Tensor:
        """The network's input, float32, like the integer ``levels``; rounded once, from float64."""
        return (levels.to(torch.float64) * self.input_scale + self.input_shift).float()

    def check_eval(self) -> None:
        """Raises FastdiffError in training mode: norms over the batch let later pixels be seen."""
        if self.module.training:
            raise FastdiffError("model: expected its module in eval mode, got it in training mode")

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Logits [B, levels, C, H, W]."""
        out: Tensor = self.module(x, context) if self.context_width else self.module(x)
        return out
