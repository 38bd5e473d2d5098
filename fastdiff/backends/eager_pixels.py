"""Autoregressive requests in torch: the references of every other backend.

Incremental (``fastdiff/pixelcnn/incremental.py``), or the naive loop of every text on PixelCNN,
the whole network for each pixel (``naive.py``).
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from fastdiff.backends.base import PixelOutcome, PixelRequest
from fastdiff.errors import FastdiffError
from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.models.device import torch_device
from fastdiff.pixelcnn.incremental import sample_incremental
from fastdiff.pixelcnn.naive import BoolArray, sample_naive

DTYPES = {"float32": torch.float32, "float64": torch.float64}
OPTIONS = ("device", "dtype", "incremental")


class EagerPixelRunner:
    """Runs requests on a copy of the model.

    ``device``: a torch device; the incremental evaluator is the CPU's alone. ``dtype``: "float32"
    or "float64". ``incremental``: False for the naive loop, which it is on other devices.
    """

    def __init__(self, model: AutoregressiveModel, **options: Any) -> None:
        unknown = set(options) - set(OPTIONS)
        if unknown:
            raise FastdiffError(
                f"{sorted(unknown)[0]}: backend 'eager' takes {', '.join(OPTIONS)} for this model"
            )
        dtype = options.get("dtype", "float32")
        if dtype not in DTYPES:
            raise FastdiffError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
        self.device = torch_device(options.get("device", "cpu"))
        self.incremental = bool(options.get("incremental", self.device.type == "cpu"))
        if self.incremental and self.device.type != "cpu":
            raise FastdiffError(
                f"device: expected 'cpu' with incremental, got {self.device.type!r}"
            )
        self.dtype = dtype
        module = copy.deepcopy(model.module).to(self.device).eval()
        if not self.incremental:
            module = module.to(DTYPES[dtype])
        self.model = replace(model, module=module)

    def describe(self) -> str:
        """One line: device, dtype, how."""
        how = "incremental" if self.incremental else "the whole network for each pixel"
        return f"{self.device.type}, {self.dtype}, {how}"

    def run(self, request: PixelRequest) -> PixelOutcome:
        """The levels of the request's samples."""
        shape = (len(request.seeds), *self.model.sample_shape)
        if not len(request.seeds):
            return PixelOutcome(np.empty(shape, dtype=np.int32), 0)
        given = request.given
        if given is None:
            return self._run(request, np.zeros(shape[2:], dtype=bool))
        kept: BoolArray = np.all(given >= 0, axis=1)
        if (kept != (given >= 0).any(axis=1)).any():
            raise FastdiffError("given: expected all colours of a pixel or none of them")
        if (kept == kept[0]).all():
            return self._run(request, kept[0])
        return self._one_by_one(request, kept)

    def _one_by_one(self, request: PixelRequest, kept: BoolArray) -> PixelOutcome:
        """Samples whose given pixels, bool [n, H, W], are not all at the same places."""
        levels = np.full((len(kept), *self.model.sample_shape), -1, dtype=np.int32)
        done, stopped = 0, False
        for k in range(len(kept)):

            def tell(part: int, _: int, before: int = done) -> bool:
                nonlocal stopped
                if request.on_progress is not None:
                    stopped = request.on_progress(before + part, levels.size) is False
                return not stopped

            part = self._run(replace(request.part(k, k + 1), on_progress=tell), kept[k])
            levels[k], done = part.levels[0], done + part.done
            if stopped:
                break
        return PixelOutcome(levels, done)

    def _run(self, request: PixelRequest, kept: BoolArray) -> PixelOutcome:
        given = None if request.given is None else request.given.clip(0)
        context = None if request.context is None else torch.from_numpy(request.context)
        rule = (request.temperature, request.top_k)
        if self.incremental:
            levels = sample_incremental(
                self.model, request.seeds, context, *rule, given, kept,
                dtype=DTYPES[self.dtype], on_progress=request.on_progress,
            )  # fmt: skip
        else:
            levels = sample_naive(
                self.model, request.seeds, context, *rule, given, kept,
                on_progress=request.on_progress,
            )  # fmt: skip
        done = int((levels >= 0).sum())
        if request.on_progress is not None and done == levels.size:
            request.on_progress(done, done)
        return PixelOutcome(levels.astype(np.int32), done)
