"""Autoregressive requests on an NVIDIA GPU: a wavefront's subtimes as the steps of one graph."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fastdiff import noise_torch
from fastdiff.backends.base import PixelOutcome, PixelRequest
from fastdiff.cuda.buckets import bucket_of
from fastdiff.cuda.captures import CaptureCache
from fastdiff.cuda.device import Device
from fastdiff.cuda.pixels.network import PixelNetwork
from fastdiff.cuda.pixels.session import PixelSession

MAX_CAPTURES = 4
MAX_CACHE_BYTES = 4 << 30  # of a batch; more samples go in parts


class CudaPixelRunner:
    """Runs requests through captured sessions; many threads may, those of one batch in turn."""

    def __init__(self, network: PixelNetwork, device: Device, dtype: str, mode: str) -> None:
        self.network, self.device, self.dtype, self.mode = network, device, dtype, mode
        self.captures: CaptureCache[int, PixelSession] = CaptureCache(MAX_CAPTURES, MAX_CACHE_BYTES)
        self._values_done = network.values_done()
        sample_bytes = network.layout.elements * network.dtype.itemsize
        self.max_batch = bucket_of(max(1, MAX_CACHE_BYTES // 2 // sample_bytes))
        self._last = "nothing captured yet"

    def describe(self) -> str:
        """One line: device, dtype, slope, how the last request ran, what is captured."""
        return (
            f"{self.device.torch_device}, {self.dtype}, wavefront slope "
            f"{self.network.wavefront.slope}, {self._last}; {self.captures.describe()}"
        )

    def run(self, request: PixelRequest) -> PixelOutcome:
        """The levels of the request's samples."""
        n, (C, H, W) = len(request.seeds), self.network.sample_shape
        levels = np.full((n, C, H, W), -1, dtype=np.int32)
        done = 0
        for first in range(0, n, self.max_batch):
            part = request.part(first, min(n, first + self.max_batch))
            count, finished = self._part(part, levels[first : first + self.max_batch], done, n)
            done += count
            if not finished:
                break
        return PixelOutcome(levels, done)

    def _part(
        self, request: PixelRequest, levels: np.ndarray, before: int, total: int
    ) -> tuple[int, bool]:
        """Draws into ``levels`` [n, C, H, W]; the values drawn, and whether all are."""
        n, (C, H, W) = len(request.seeds), self.network.sample_shape
        session = self.captures.get(
            bucket_of(n),
            lambda: PixelSession(self.network, bucket_of(n), self.device, self.mode),
        )
        with session.lock, self.device.scope():
            self._last = session.walk.note
            self._load(session, request)
            subtimes = len(self._values_done) - 1
            if request.on_progress is None:
                session.walk.run(subtimes)
            else:
                self._watched(session, request, n, before, total * C * H * W)
            drawn = session.levels[:n].cpu().numpy()
        levels[:] = drawn.reshape(n, H, W, C).transpose(0, 3, 1, 2)
        count = int((drawn >= 0).sum())
        return count, count == drawn.size

    def _watched(
        self, session: PixelSession, request: PixelRequest, n: int, before: int, total: int
    ) -> None:
        """Tells of every subtime that chose something, until told to stop."""
        assert request.on_progress is not None
        walk, subtimes = session.walk, len(self._values_done) - 1
        if walk.loop is not None:
            walk.loop.launch()
        else:
            walk.begin()
        told = -1
        try:
            for subtime in range(subtimes + 1):
                if walk.loop is not None:
                    walk.loop.wait_for(subtime)
                elif subtime:
                    walk.advance()
                done = int(self._values_done[subtime])
                if done != told and not request.on_progress(before + n * done, total):
                    break
                told = done
            else:
                return
        finally:
            if walk.loop is not None:
                walk.loop.cancel()
                walk.loop.wait()

    def _load(self, session: PixelSession, request: PixelRequest) -> None:
        """All that the request says, into the session's buffers; padding repeats the last."""
        s, n = session, len(request.seeds)
        cpu = torch.device("cpu")
        seeds = noise_torch.seeds_to_tensor([int(seed) for seed in request.seeds], cpu)
        _fill(s.seeds, seeds, n)
        if s.context is not None:
            s.context.zero_()
            if request.context is not None:
                _fill(s.context, torch.tensor(np.ascontiguousarray(request.context)), n)
        s.given.fill_(-1)
        if request.given is not None:
            flat = request.given.transpose(0, 2, 3, 1).reshape(n, -1)
            _fill(s.given, torch.tensor(np.ascontiguousarray(flat, dtype=np.int32)), n)
        s.temperature.fill_(request.temperature)
        s.top_k.fill_(request.top_k or 0)


def _fill(to: Tensor, values: Tensor, n: int) -> None:
    to[:n] = values.to(to.device)
    to[n:] = to[n - 1]
