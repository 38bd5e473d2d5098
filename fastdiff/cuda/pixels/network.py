"""An autoregressive model on a device: its wavefront's stages and what requests decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastdiff.cuda.pixels.layout import Layout
from fastdiff.cuda.pixels.session import put_choice, put_stage
from fastdiff.cuda.pixels.stages import choices_of, stages_of
from fastdiff.cuda.program_module import ProgramModule
from fastdiff.pixelcnn.dependencies import analyse
from fastdiff.pixelcnn.lower import lower

if TYPE_CHECKING:
    from fastdiff.models.autoregressive import AutoregressiveModel


class PixelNetwork:
    """``dtype``: of the cache and the weights; sums are float32 and choices float64 in all.
    ``allow_tf32``: products of float32 in TF32.

    Raises FastdiffError as ``analyse`` does: where the model is not causal, or holds an op that
    cannot be evaluated place by place.
    """

    def __init__(
        self,
        model: AutoregressiveModel,
        device: torch.device,
        dtype: torch.dtype,
        allow_tf32: bool = False,
    ) -> None:
        parts = lower(model)
        self.wavefront = analyse(parts.step).at(None)
        self.layout = Layout(self.wavefront)
        self.device, self.dtype, self.allow_tf32 = device, dtype, allow_tf32
        self.sample_shape, self.context_width = model.sample_shape, model.context_width
        self.input_scale, self.input_shift = model.input_scale, model.input_shift
        self.stages = [
            put_stage(stage, device, dtype) for stage in stages_of(self.wavefront, self.layout)
        ]
        self.choices = [
            put_choice(choice, device) for choice in choices_of(self.wavefront, self.layout)
        ]
        # What is the same at every place: constants, as [1, elements].
        used = {what[0] for stage in self.stages for what in stage.operands}
        self.constants = {
            name: torch.from_numpy(array).to(device, torch.float32).reshape(1, -1)
            for name, array in parts.step.constants.items()
            if name in used
        }
        self._request = ProgramModule(parts.request, device)

    def request_values(self, context: Tensor | None, batch: int) -> dict[str, Tensor]:
        """What contexts [batch, width] decide, float32 [batch, elements] by name."""
        program = self._request.program
        inputs = {name: context for name in program.inputs if context is not None}
        made = self._request(inputs, batch)
        return {
            name: value.reshape(batch, -1)
            for name, value in zip(program.outputs, made, strict=True)
        }

    def values_done(self) -> npt.NDArray[np.int64]:
        """Values of one sample's image that are chosen after each number of subtimes, [S + 1]."""
        chosen = np.zeros(len(self.wavefront.subtimes), dtype=np.int64)
        for choice in self.choices:
            chosen += (choice.places >= 0).sum(dim=1).cpu().numpy()
        return np.concatenate([[0], np.cumsum(chosen)])
