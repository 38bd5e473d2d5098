"""The ``eager`` backend: the module, the table and torch ops. The reference for all others."""

from __future__ import annotations

import copy
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from fastdiff import noise, noise_torch
from fastdiff.backends.base import Backend, Float32Array, Outcome, Request, Runner
from fastdiff.errors import FastdiffError
from fastdiff.models.device import torch_device
from fastdiff.models.model import DiffusionModel
from fastdiff.samplers.table import INDEX

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def clamp_output(coefficients: Tensor, x: Tensor, m: Tensor) -> Tensor:
    """m, or where the row's ``clamp_m`` is 1 the output that stands for the clamped x0.

    ``coefficients``: [B, 19]; ``x``, ``m``: [B, C, H, W].
    """

    def column(name: str) -> Tensor:
        return coefficients[:, INDEX[name], None, None, None]

    from_x = column("x0_from_x") * x
    x0 = from_x + column("x0_from_m") * m
    x0 = torch.minimum(torch.maximum(x0, column("x0_lo")), column("x0_hi"))
    return torch.where(column("clamp_m") == 1, (x0 - from_x) / column("x0_from_m"), m)


def sampler_update(
    coefficients: Tensor,
    x_history: list[Tensor],
    m_history: list[Tensor],
    z: Tensor | None,
    uses_x0: bool,
) -> Tensor:
    """x_{k+1}, [B, C, H, W]: the row's affine combination (``samplers/table.py``).

    ``coefficients``: [B, 19], the table's row of each sample, so that samples at different rows
    can share a batch. ``x_history``: x_k, x_{k-1}, ...; ``m_history``: m_k, m_{k-1}, ..., each
    [B, C, H, W]. ``z``: the step's noise, or None where no sample's row has any. ``uses_x0``:
    whether any row has a clamped x0; asked of the host's table, since asking the device waits.
    """

    def column(name: str) -> Tensor:
        return coefficients[:, INDEX[name], None, None, None]

    out = column("x[0]") * x_history[0] + column("m[0]") * m_history[0]
    for back in range(1, len(x_history)):
        out = out + column(f"x[{back}]") * x_history[back]
    for back in range(1, len(m_history)):
        out = out + column(f"m[{back}]") * m_history[back]
    if uses_x0:
        x0 = column("x0_from_x") * x_history[0] + column("x0_from_m") * m_history[0]
        x0 = torch.minimum(torch.maximum(x0, column("x0_lo")), column("x0_hi"))
        # A row that does not use x0 must not see it: 0 * inf would be nan.
        out = torch.where(column("x0") != 0, out + column("x0") * x0, out)
    if z is not None:
        out = out + column("noise") * z
    return out


class EagerRunner:
    """Runs one model in eager torch; see ``Backend.prepare``."""

    def __init__(self, model: DiffusionModel, device: str = "cpu", dtype: str = "float32") -> None:
        if dtype not in DTYPES:
            raise FastdiffError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
        self.device = torch_device(device)
        self.dtype = DTYPES[dtype]
        self.model = model
        # A copy: training may go on with the original, and its mode is the caller's.
        self.module = copy.deepcopy(model.module).eval().requires_grad_(False)
        self.module.to(self.device, self.dtype)

    def describe(self) -> str:
        """One line: device, dtype, noise source."""
        return f"{self.device}, {str(self.dtype).removeprefix('torch.')}, noise by torch"

    def _normal(self, seeds: Tensor, step: int, stream: int) -> Tensor:
        shape = self.model.sample_shape
        z = noise_torch.normal(seeds, step, stream, int(np.prod(shape)))
        return z.reshape(-1, *shape).to(self.dtype)

    def _predict(
        self, x: Tensor, t: Tensor, context: Tensor | None, guidance: Tensor | None
    ) -> Tensor:
        """m = m_uncond + guidance * (m_cond - m_uncond), one call over both halves."""
        if context is None or guidance is None:
            arguments = (x, t) if context is None else (x, t, context)
            return cast(Tensor, self.module(*arguments))
        both = self.module(
            torch.cat([x, x]), torch.cat([t, t]), torch.cat([torch.zeros_like(context), context])
        )
        uncond, cond = both.chunk(2)
        return cast(Tensor, uncond + guidance[:, None, None, None] * (cond - uncond))

    @torch.inference_mode()
    def run(self, request: Request) -> Outcome:
        """x after all rows of the request's table, or after the row at which it was stopped."""

        def put(array: Float32Array | None) -> Tensor | None:
            return None if array is None else torch.tensor(array).to(self.device, self.dtype)

        table = request.table
        coefficients = torch.tensor(table.rows).to(self.device, self.dtype)  # [K, 15]
        seeds = noise_torch.seeds_to_tensor([int(s) for s in request.seeds], self.device)
        context, guidance = put(request.context), put(request.guidance)
        x = put(request.x_T)
        if x is None:
            x = table.init_scale * self._normal(seeds, 0, noise.STREAM_INIT)
        n, x_depth, m_depth = x.shape[0], table.x_depth, table.m_depth
        x_history: list[Tensor] = []
        m_history: list[Tensor] = []
        rows = 0
        for k in range(len(table)):
            row = coefficients[k].expand(n, -1)  # every sample is at the same row here
            x_history = [x, *x_history][:x_depth]
            m = self._predict(
                row[:, INDEX["in_scale"], None, None, None] * x, row[:, 0], context, guidance
            )
            if table["clamp_m"][k]:
                m = clamp_output(row, x, m)
            m_history = [m, *m_history][:m_depth]
            z = self._normal(seeds, k, noise.STREAM_STEP) if table["noise"][k] else None
            x = sampler_update(row, x_history, m_history, z, bool(table["x0"][k]))
            rows = k + 1
            if request.after_row is not None:
                fetch = _fetcher(x)
                if not request.after_row(rows, fetch):
                    break
        return Outcome(_fetcher(x)(), rows)


def _fetcher(x: Tensor) -> Any:
    return lambda: x.to("cpu", torch.float32, copy=True).numpy()


class EagerBackend:
    """The reference backend. Options: ``device`` ("cpu", "cuda"), ``dtype``.

    On a GPU torch runs float32 convolutions in TF32 unless told otherwise
    (``torch.backends.cudnn.conv.fp32_precision = "ieee"``): a global switch, left to its owner.
    """

    name = "eager"

    def prepare(self, model: DiffusionModel, **options: Any) -> Runner:
        """A runner with its own copy of the model."""
        unknown = set(options) - {"device", "dtype"}
        if unknown:
            raise FastdiffError(
                f"{sorted(unknown)[0]}: backend 'eager' takes device and dtype, not this"
            )
        return EagerRunner(model, **options)


BACKEND: Backend = EagerBackend()
