"""A wavefront on a device for one batch: cache and tables, and a subtime as a step."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fastdiff import noise
from fastdiff.cuda.device import Device, LoopBuffers
from fastdiff.cuda.pixels.stages import Choice, Reads, Stage
from fastdiff.cuda.walk import Walk
from fastdiff.pixelcnn.network import Fixed

if TYPE_CHECKING:
    from fastdiff.cuda.pixels.network import PixelNetwork
    from fastdiff.kernels.wavefront_stage import Columns


@dataclass(frozen=True)
class DeviceStage:
    """A stage with its tables on the device: the arguments of ``wavefront_stage``."""

    reads: tuple[Tensor, Tensor, Tensor]
    columns: Columns
    weight: Tensor
    bias: Tensor | None
    writes: Tensor
    out_offsets: Tensor
    steps: tuple[tuple[str, Any], ...]
    operands: tuple[tuple[Tensor, Tensor, Tensor] | tuple[str, Tensor], ...]


@dataclass(frozen=True)
class DeviceChoice:
    """A choice with its tables on the device."""

    logits: Tensor
    logit_offsets: Tensor
    places: Tensor
    inputs: Tensor
    input_offset: int


def put_stage(stage: Stage, device: torch.device, dtype: torch.dtype) -> DeviceStage:
    """A stage's tables and weights on a device, weights in ``dtype``."""

    def ints(array: np.ndarray[Any, Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    def reads(what: Reads) -> tuple[Tensor, Tensor, Tensor]:
        return ints(what.positions), ints(what.groups), ints(what.offsets)

    from fastdiff.kernels.wavefront_stage import columns_of

    where = reads(stage.reads)
    return DeviceStage(
        where,
        columns_of(*(table.cpu() for table in where)),
        torch.from_numpy(np.ascontiguousarray(stage.weight)).to(device, dtype),
        None if stage.bias is None else torch.from_numpy(stage.bias).to(device, torch.float32),
        ints(stage.writes),
        ints(stage.out_offsets),
        stage.steps,
        tuple(
            (what.name, ints(what.elements)) if isinstance(what, Fixed) else reads(what)
            for what in stage.operands
        ),
    )


def put_choice(choice: Choice, device: torch.device) -> DeviceChoice:
    """A choice's tables on a device."""
    tables = (choice.logits, choice.logit_offsets, choice.places, choice.inputs)
    logits, offsets, places, inputs = (
        torch.from_numpy(np.ascontiguousarray(table)).to(device) for table in tables
    )
    return DeviceChoice(logits, offsets, places, inputs, choice.input_offset)


class PixelSession:
    """Runs requests of at most ``batch`` samples, one at a time: whoever does so holds ``lock``.

    Buffers: ``seeds`` int64 [n]; ``context`` [n, width] or None; ``uniforms`` [n, P] and ``given``,
    ``levels`` int32 [n, P] in the order (row, column, colour); ``temperature`` [1], ``top_k`` [1].
    """

    def __init__(
        self, network: PixelNetwork, batch: int, device: Device, mode: str = "auto"
    ) -> None:
        self.network, self.batch = network, batch
        self.lock = threading.Lock()
        where, before = device.torch_device, device.bytes_in_use()
        values = int(np.prod(network.sample_shape))

        def ints(*sizes: int, fill: int = 0) -> Tensor:
            return torch.full(sizes, fill, device=where, dtype=torch.int32)

        self.cache = torch.zeros(batch, network.layout.elements, device=where, dtype=network.dtype)
        self.subtime, self.count = ints(1), ints(1)
        self.seeds = torch.zeros(batch, device=where, dtype=torch.int64)
        width = network.context_width
        self.context = torch.zeros(batch, width, device=where) if width else None
        self.uniforms = torch.zeros(batch, values, device=where)
        self.given, self.levels = ints(batch, values, fill=-1), ints(batch, values, fill=-1)
        self.temperature, self.top_k = torch.ones(1, device=where), ints(1)
        # What is the same at every place, by stage and operand: [n or 1, N].
        self._fixed: dict[tuple[int, int], Tensor] = {}
        # The loop knows of an x for previews; there are none here.
        loop = LoopBuffers(self.subtime, self.count, torch.zeros(1, device=where))
        self.walk = Walk(device, self.start, self.step, loop, mode)
        self.count.fill_(len(network.wavefront.subtimes))
        self.bytes_held = max(0, device.bytes_in_use() - before)

    def start(self) -> None:
        """What contexts decide, and every choice's uniform."""
        from fastdiff.kernels.noise import uniform

        values = self.network.request_values(self.context, self.batch)
        fixed = {**self.network.constants, **values}
        for s, stage in enumerate(self.network.stages):
            for k, what in enumerate(stage.operands):
                if isinstance(what[0], Tensor):
                    continue
                value = fixed[what[0]][:, what[1]]
                if (s, k) not in self._fixed:
                    self._fixed[s, k] = value
                elif what[0] in values:  # where it always was: steps are captured reading it there
                    self._fixed[s, k].copy_(value)
        uniform(self.seeds, 0, noise.STREAM_CHOICE, self.uniforms.shape[1], out=self.uniforms)
        self.levels.fill_(-1)

    def step(self) -> None:
        """A subtime: its cells, then its choices."""
        from fastdiff.kernels.choose_levels import choose_levels
        from fastdiff.kernels.wavefront_stage import RingOperand, wavefront_stage

        for s, stage in enumerate(self.network.stages):
            operands = [
                RingOperand(*what) if isinstance(what[0], Tensor) else self._fixed[s, k]
                for k, what in enumerate(stage.operands)
            ]
            wavefront_stage(
                self.cache,
                self.subtime,
                *stage.reads,
                stage.weight,
                stage.bias,
                stage.writes,
                stage.out_offsets,
                stage.steps,
                operands,
                columns=stage.columns,
                allow_tf32=self.network.allow_tf32,
            )
        for choice in self.network.choices:
            choose_levels(
                self.cache,
                self.subtime,
                choice.logits,
                choice.logit_offsets,
                self.uniforms,
                choice.places,
                self.given,
                choice.inputs,
                choice.input_offset,
                self.levels,
                self.temperature,
                self.top_k,
                self.network.input_scale,
                self.network.input_shift,
            )

    def close(self) -> None:
        """Gives graphs and memory back, once nobody runs on them."""
        with self.lock:
            self.walk.close()
            del self.cache
