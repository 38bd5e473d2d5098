"""The device memory of one capture: what a request puts in, what the loop keeps, what comes out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fastdiff.cuda.device import LoopBuffers
from fastdiff.cuda.network import Network
from fastdiff.samplers.table import M_DEPTH, WIDTH, X_DEPTH


@dataclass(frozen=True)
class Shape:
    """What a capture is made for; all else about a request is data.

    ``batch``: samples, a bucket. ``capacity``: rows that its table can have. ``guided``: two halves
    are asked. ``rescaled``: guidance rescale. ``noise``: x_T is the seeds' noise, not given.
    ``edits``: there is an image; ``from_image``: x starts at it; ``kept``: a mask keeps a part of
    it. ``slots``: rows whose x and x0 are kept for previews.
    """

    batch: int
    capacity: int
    guided: bool = False
    rescaled: bool = False
    noise: bool = True
    from_image: bool = False
    kept: bool = False
    slots: int = 0

    @property
    def edits(self) -> bool:
        """Whether there is an image."""
        return self.from_image or self.kept


class Buffers:
    """Tensors that stay where they are while a capture lives; None where its shape has no use."""

    def __init__(self, network: Network, shape: Shape) -> None:
        device, batch = network.device, shape.batch
        image = (batch, *network.sample_shape)
        asked = 2 * batch if shape.guided else batch

        def floats(*sizes: int) -> Tensor:
            return torch.zeros(sizes, device=device)

        def ints(*sizes: int) -> Tensor:
            return torch.zeros(sizes, device=device, dtype=torch.int32)

        self.table = floats(shape.capacity, WIDTH)
        self.init_scale = floats(1)
        self.row_values = {
            name: floats(shape.capacity, *sizes) for name, sizes in network.row_shapes.items()
        }
        self.rows, self.count = ints(batch), ints(1)
        self.seeds = torch.zeros(batch, device=device, dtype=torch.int64)
        width = network.context_width
        self.context = floats(asked, width) if width else None
        self.guidance = floats(batch) if shape.guided else None
        self.guided_rows = ints(1) if shape.guided else None
        self.rescale = floats(batch) if shape.rescaled else None
        self.image = floats(*image) if shape.edits else None
        self.mask = floats(batch, 1, *image[2:]) if shape.kept else None
        self.x = floats(*image)
        self.x_past = floats(X_DEPTH - 1, *image)
        self.m_past = floats(M_DEPTH - 1, *image)
        self.model_in = torch.zeros(
            (asked, *image[1:]), device=device, dtype=network.dtype
        ).contiguous(
            memory_format=torch.channels_last if network.channels_last else torch.contiguous_format
        )
        self.x0 = floats(*image) if shape.slots else None
        self.previews = floats(shape.slots, *image) if shape.slots else None
        self.x0_previews = floats(shape.slots, *image) if shape.slots else None
        self.schedule = ints(shape.capacity) if shape.slots else None

    def of_loop(self) -> LoopBuffers:
        """What the loop itself reads and writes."""
        return LoopBuffers(
            self.rows,
            self.count,
            self.x,
            self.x0,
            self.previews,
            self.x0_previews,
            self.schedule,
        )
