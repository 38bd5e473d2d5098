"""A capture for requests of one shape: its buffers, and start and step that work on them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastdiff.cuda.buffers import Buffers, Shape
from fastdiff.cuda.device import Device
from fastdiff.cuda.network import Network, Values
from fastdiff.cuda.walk import Walk

if TYPE_CHECKING:
    from fastdiff.samplers.table import SamplerTable


class Session:
    """Runs requests of one ``Shape``, one at a time: whoever does so holds ``lock``.

    ``table``: whose rows the buffers hold. ``mode``: as ``Walk`` takes it.
    """

    def __init__(self, network: Network, shape: Shape, device: Device, mode: str = "auto") -> None:
        self.network, self.shape = network, shape
        self.lock = threading.Lock()
        self.table: SamplerTable | None = None
        before = device.bytes_in_use()
        self.buffers = Buffers(network, shape)
        self._request_values: Values = {}
        self.walk = Walk(device, self.start, self.step, self.buffers.of_loop(), mode)
        self.bytes_held = max(0, device.bytes_in_use() - before)

    def start(self) -> None:
        """What contexts decide, and x_0."""
        from fastdiff.kernels.sampler_start import sampler_start

        b = self.buffers
        values = self.network.request_values(b.context, len(b.model_in))
        if self._request_values:  # where it always was: steps are captured reading it there
            for name, value in values.items():
                self._request_values[name].copy_(value)
        else:
            self._request_values = {name: value.clone() for name, value in values.items()}
        sampler_start(
            b.x,
            b.table,
            b.seeds,
            b.init_scale,
            b.model_in,
            image=b.image,
            mask=b.mask,
            from_image=self.shape.from_image,
            noise=self.shape.noise,
        )

    def step(self) -> None:
        """The network at the samples' rows, and the rows themselves."""
        from fastdiff.kernels.sampler_update import sampler_update

        b = self.buffers
        rows = b.rows.clamp(max=self.shape.capacity - 1)
        if self.shape.guided:
            rows = torch.cat([rows, rows])
        m = self.network.ask(b.model_in, rows, b.row_values, self._request_values)
        uncond, cond = m.chunk(2) if self.shape.guided else (None, m)
        factor = None
        if b.rescale is not None and b.guidance is not None and uncond is not None:
            factor = rescale_factor(uncond, cond, b.guidance, b.rescale)
        sampler_update(
            b.x,
            cond,
            b.table,
            b.rows,
            b.count,
            b.seeds,
            b.x_past,
            b.m_past,
            b.model_in,
            uncond=uncond,
            guidance=b.guidance,
            factor=factor,
            guided_rows=b.guided_rows,
            image=b.image if self.shape.kept else None,
            mask=b.mask,
            x0=b.x0,
        )

    def close(self) -> None:
        """Gives graphs and buffers back, once nobody runs on them."""
        with self.lock:
            self.walk.close()
            self._request_values = {}
            del self.buffers


def rescale_factor(uncond: Tensor, cond: Tensor, scale: Tensor, phi: Tensor) -> Tensor:
    """What the guided output is multiplied by, float32 [B] (Lin et al. 2024, equations 15, 16).

    ``uncond``, ``cond``: [B, C, H, W]; ``scale``, ``phi``: [B].
    """
    uncond, cond = uncond.float(), cond.float()
    m = uncond + scale[:, None, None, None] * (cond - uncond)
    wanted, have = (v.std(dim=(1, 2, 3)) for v in (cond, m))
    factor = 1.0 + phi * (wanted / have - 1.0)
    return torch.where((phi != 0) & (have > 0), factor, torch.ones_like(factor))
