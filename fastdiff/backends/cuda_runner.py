"""Requests on an NVIDIA GPU: a ``Request`` put into a session's buffers, and the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from fastdiff import noise_torch
from fastdiff.backends.base import Float32Array, Outcome, Request
from fastdiff.backends.row_view import RowView, telling
from fastdiff.cuda.buckets import bucket_of, capacity_of
from fastdiff.cuda.buffers import Buffers, Shape
from fastdiff.cuda.captures import CaptureCache
from fastdiff.cuda.device import Device
from fastdiff.cuda.network import Network
from fastdiff.cuda.session import Session
from fastdiff.errors import FastdiffError
from fastdiff.samplers.table import SamplerTable

MAX_CAPTURES = 8
MAX_CAPTURE_BYTES = 8 << 30
PREVIEW_BYTES = 256 << 20  # of x and x0 of all rows; beyond, the host walks row by row


class CudaRunner:
    """Runs requests through captured sessions; many threads may, those of one shape in turn."""

    def __init__(self, network: Network, device: Device, dtype: str, mode: str) -> None:
        self.network, self.device, self.dtype, self.mode = network, device, dtype, mode
        self.captures: CaptureCache[Shape, Session] = CaptureCache(MAX_CAPTURES, MAX_CAPTURE_BYTES)
        self._last = "nothing captured yet"

    def describe(self) -> str:
        """One line: device, dtype, how the last request ran, what is captured."""
        where = self.device.torch_device
        return f"{where}, {self.dtype}, {self._last}; {self.captures.describe()}"

    def run(self, request: Request) -> Outcome:
        """x after all rows of the request's table, or after the row at which it was stopped."""
        n = len(request.seeds)
        shape = self.shape_of(request)
        session = self.captures.get(
            shape, lambda: Session(self.network, shape, self.device, self.mode)
        )
        with session.lock, self.device.scope():
            self._last = session.walk.note
            self._load(session, request)
            if request.after_row is None:
                session.walk.run(len(request.table))
                return Outcome(_array(session.buffers.x[:n]), len(request.table))
            tell = telling(request.table, request.after_row)
            rows = looked_at(request)
            if session.walk.loop is not None and shape.slots >= len(rows):
                return self._watched(session, request.table, n, tell, rows)
            return self._walked(session, request.table, n, tell)

    def shape_of(self, request: Request) -> Shape:
        """The session's shape that the request runs in."""
        batch = bucket_of(len(request.seeds))
        capacity = capacity_of(len(request.table))
        guided = request.guidance is not None
        row_bytes = 2 * batch * int(np.prod(self.network.sample_shape)) * 4
        slots = 0
        if request.after_row is not None and looked_at(request):
            # A bucket, so that requests that look at as many rows or fewer share a capture.
            wanted = bucket_of(len(looked_at(request)))
            slots = wanted if wanted * row_bytes <= PREVIEW_BYTES else 1
        return Shape(
            batch,
            capacity,
            guided=guided,
            rescaled=guided and request.guidance_rescale is not None,
            noise=request.x_T is None,
            from_image=request.from_image and request.x_T is None,
            kept=request.mask is not None and request.x_T is None,
            slots=slots,
        )

    def _load(self, session: Session, request: Request) -> None:
        """All that the request says, into the session's buffers; padding repeats the last."""
        b, table = session.buffers, request.table
        if session.table != table:
            b.table[: len(table)] = torch.tensor(table.rows, dtype=torch.float32).to(b.table.device)
            b.init_scale.fill_(table.init_scale)
            b.count.fill_(len(table))
            with self.device.precise():
                row_values = self.network.row_values(table)
            for name, values in row_values.items():
                b.row_values[name][: len(table)] = values
            session.table = table
        b.seeds.copy_(
            _padded(
                noise_torch.seeds_to_tensor([int(s) for s in request.seeds], torch.device("cpu")),
                len(b.seeds),
            )
        )
        if b.context is not None and request.context is not None:
            b.context[-len(b.seeds) :] = _of(request.context, b.seeds)  # the first half stays zero
        for to, array in (
            (b.guidance, request.guidance),
            (b.rescale, request.guidance_rescale),
            (b.image, request.image),
            (b.mask, request.mask),
            (b.x, request.x_T),
        ):
            if to is not None and array is not None:
                to.copy_(_of(array, b.seeds))
        if b.guided_rows is not None:
            rows = request.guided_rows
            b.guided_rows.fill_(len(table) if rows is None else rows)
        if b.schedule is not None:
            b.schedule.fill_(-1)
            seen = looked_at(request)
            if session.shape.slots >= len(seen):
                slots = torch.arange(len(seen), dtype=torch.int32, device=b.schedule.device)
                b.schedule[[row - 1 for row in seen]] = slots

    def _watched(
        self,
        session: Session,
        table: SamplerTable,
        n: int,
        tell: Callable[[int, RowView], bool],
        rows: Sequence[int],
    ) -> Outcome:
        """One launch; rows are told as they are done, with what the loop kept of ``rows``."""
        b, loop = session.buffers, session.walk.loop
        assert loop is not None
        slots = {row: slot for slot, row in enumerate(rows)}
        loop.launch()
        told, stopped = 0, False
        try:
            while told < len(table) and not stopped:
                if loop.wait_for(told + 1) <= told:
                    break
                told += 1
                row: RowView = _Gone(table, told)
                if told in slots:
                    row = _Row(table, told, *(kept[slots[told], :n] for kept in _previews(b)))
                stopped = not tell(told, row)
        finally:
            if stopped or told < len(table):
                loop.cancel()
            loop.wait()
        if stopped and told in slots:
            # Later rows may have been done before the cancel was seen: they are nobody's.
            return Outcome(_array(_previews(b)[0][slots[told], :n]), told)
        return Outcome(_array(b.x[:n]), loop.wait_for(0))

    def _walked(
        self, session: Session, table: SamplerTable, n: int, tell: Callable[[int, RowView], bool]
    ) -> Outcome:
        """Row by row from the host: where there is no graph, or no memory for all previews."""
        b = session.buffers
        session.walk.begin()
        for told in range(1, len(table) + 1):
            session.walk.advance()
            row = _Gone(table, told) if b.x0 is None else _Row(table, told, b.x[:n], b.x0[:n])
            if not tell(told, row):
                return Outcome(_array(b.x[:n]), told)
        return Outcome(_array(b.x[:n]), len(table))


class _Gone:
    """A row whose x and x0 nobody wanted to look at."""

    def __init__(self, table: SamplerTable, told: int) -> None:
        self.has_x0 = bool(table["x0_from_x"][told - 1] or table["x0_from_m"][told - 1])
        self._told = told

    def x(self) -> Float32Array:
        """Nothing: it is gone."""
        raise FastdiffError(f"looked_at: row {self._told} is not among the rows to be looked at")

    x0 = x


class _Row(_Gone):
    """A row's x and x0, to be copied before the buffers go on."""

    def __init__(self, table: SamplerTable, told: int, x: Tensor, x0: Tensor) -> None:
        super().__init__(table, told)
        self._x, self._x0 = x, x0

    def x(self) -> Float32Array:
        """x after the row."""
        return _array(self._x)

    def x0(self) -> Float32Array:
        """The row's prediction of x0."""
        return _array(self._x0)


def looked_at(request: Request) -> list[int]:
    """The numbers of rows done at which x and x0 may be asked for, in their order."""
    rows = request.looked_at
    return sorted(rows) if rows is not None else list(range(1, len(request.table) + 1))


def _previews(buffers: Buffers) -> tuple[Tensor, Tensor]:
    assert buffers.previews is not None
    assert buffers.x0_previews is not None
    return buffers.previews, buffers.x0_previews


def _array(tensor: Tensor) -> Float32Array:
    return tensor.to("cpu", torch.float32, copy=True).numpy()


def _of(array: Float32Array, seeds: Tensor) -> Tensor:
    # torch takes no negative strides, which what people give may have.
    return _padded(torch.tensor(np.ascontiguousarray(array)), len(seeds)).to(seeds.device)


def _padded(tensor: Tensor, batch: int) -> Tensor:
    missing = batch - len(tensor)
    if not missing:
        return tensor
    return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])])
