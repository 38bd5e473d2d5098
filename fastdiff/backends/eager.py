"""The ``eager`` backend: the module, the table and torch ops. The reference for all others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastdiff import noise, noise_torch
from fastdiff.backends.base import (
    Backend,
    Fetch,
    Float32Array,
    Outcome,
    PixelRunner,
    Request,
    Runner,
)
from fastdiff.errors import FastdiffError
from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.models.device import torch_device
from fastdiff.models.model import DiffusionModel
from fastdiff.samplers.table import INDEX, SamplerTable

# What a caller asks for -> the dtype of weights, table, noise and x. Under bfloat16 these keep
# their digits, since the steps' errors would add up; convolutions and matrix products do not.
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}


def column(coefficients: Tensor, name: str) -> Tensor:
    """One column of rows [B, 19], as [B, 1, 1, 1]."""
    return coefficients[:, INDEX[name], None, None, None]


def predicted_x0(coefficients: Tensor, x: Tensor, m: Tensor) -> Tensor:
    """The row's prediction of the clean image, clamped to the row's bounds, [B, C, H, W].

    ``coefficients``: [B, 19]; ``x``, ``m``: [B, C, H, W].
    """
    x0 = column(coefficients, "x0_from_x") * x + column(coefficients, "x0_from_m") * m
    lo, hi = column(coefficients, "x0_lo"), column(coefficients, "x0_hi")
    return torch.minimum(torch.maximum(x0, lo), hi)


def clamp_output(coefficients: Tensor, x: Tensor, m: Tensor) -> Tensor:
    """m, or where the row's ``clamp_m`` is 1 the output that stands for the clamped x0.

    ``coefficients``: [B, 19]; ``x``, ``m``: [B, C, H, W].
    """
    from_x = column(coefficients, "x0_from_x") * x
    clamped = predicted_x0(coefficients, x, m) - from_x
    clamps = column(coefficients, "clamp_m") == 1
    return torch.where(clamps, clamped / column(coefficients, "x0_from_m"), m)


def guide(uncond: Tensor, cond: Tensor, scale: Tensor, rescale: Tensor | None) -> Tensor:
    """m = uncond + scale * (cond - uncond), rescaled to the deviation of ``cond``, [B, C, H, W].

    ``scale``: [B] (Ho & Salimans 2022, equation 6 with scale = 1 + w). ``rescale``: phi [B] in
    [0, 1], None for 0 (Lin et al. 2024, equations 15 and 16), each deviation over all of a sample:

        m <- phi m std(cond) / std(m) + (1 - phi) m
    """
    m = uncond + scale[:, None, None, None] * (cond - uncond)
    if rescale is None:
        return m
    wanted = cond.std(dim=(1, 2, 3), keepdim=True)
    have = m.std(dim=(1, 2, 3), keepdim=True)
    # An output without any deviation cannot be given one; and phi 0 must be exactly no change.
    phi = rescale[:, None, None, None]
    factor = 1.0 + phi * (wanted / have - 1.0)
    return torch.where((phi != 0) & (have > 0), m * factor, m)


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

    def weight(name: str) -> Tensor:
        return column(coefficients, name)

    out = weight("x[0]") * x_history[0] + weight("m[0]") * m_history[0]
    for back in range(1, len(x_history)):
        out = out + weight(f"x[{back}]") * x_history[back]
    for back in range(1, len(m_history)):
        out = out + weight(f"m[{back}]") * m_history[back]
    if uses_x0:
        x0 = predicted_x0(coefficients, x_history[0], m_history[0])
        # A row that does not use x0 must not see it: 0 * inf would be nan.
        out = torch.where(weight("x0") != 0, out + weight("x0") * x0, out)
    if z is not None:
        out = out + weight("noise") * z
    return out


class EagerRunner:
    """Runs one model in eager torch; see ``Backend.prepare``."""

    def __init__(self, model: DiffusionModel, device: str = "cpu", dtype: str = "float32") -> None:
        if dtype not in DTYPES:
            raise FastdiffError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
        self.device = torch_device(device)
        self.dtype, self.asked = DTYPES[dtype], dtype
        self.model = model
        # A copy: training may go on with the original, and its mode is the caller's.
        self.module = copy.deepcopy(model.module).eval().requires_grad_(False)
        self.module.to(self.device, self.dtype)
        # What a request calls, for other backends to put their own in place of.
        self.network: Callable[..., Tensor] = self.module
        if dtype == "bfloat16":  # where torch's own reduced-precision convolutions are fast
            self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def describe(self) -> str:
        """One line: device, dtype, noise source."""
        return f"{self.device}, {self.asked}, noise by torch"

    def _put(self, array: Float32Array | None) -> Tensor | None:
        if array is None:
            return None
        # torch takes no negative strides, which what people give may have.
        return torch.tensor(np.ascontiguousarray(array)).to(self.device, self.dtype)

    def _normal(self, seeds: Tensor, step: int, stream: int) -> Tensor:
        shape = self.model.sample_shape
        z = noise_torch.normal(seeds, step, stream, int(np.prod(shape)))
        return z.reshape(-1, *shape).to(self.dtype)

    def _ask(self, *arguments: Tensor) -> Tensor:
        # Autocast rather than a network in bfloat16: that would round the time too, and a
        # timestep of 999 is 1000 there.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.asked == "bfloat16"):
            return self.network(*arguments).to(self.dtype)

    def _predict(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor | None,
        guidance: Tensor | None,
        rescale: Tensor | None,
    ) -> Tensor:
        """The model's output; with ``guidance`` that of both halves, from one call, guided."""
        if context is None or guidance is None:
            arguments = (x, t) if context is None else (x, t, context)
            return self._ask(*arguments)
        both = self._ask(
            torch.cat([x, x]), torch.cat([t, t]), torch.cat([torch.zeros_like(context), context])
        )
        uncond, cond = both.chunk(2)
        return guide(uncond, cond, guidance, rescale)

    @torch.inference_mode()
    def run(self, request: Request) -> Outcome:
        """x after all rows of the request's table, or after the row at which it was stopped."""
        table = request.table
        coefficients = torch.tensor(table.rows).to(self.device, self.dtype)  # [K, 19]
        seeds = noise_torch.seeds_to_tensor([int(s) for s in request.seeds], self.device)
        context, guidance = self._put(request.context), self._put(request.guidance)
        rescale = self._put(request.guidance_rescale)
        guided_rows = len(table) if request.guided_rows is None else request.guided_rows
        x, kept = self._start(request, seeds)
        n, x_depth, m_depth = x.shape[0], table.x_depth, table.m_depth
        x_history: list[Tensor] = []
        m_history: list[Tensor] = []
        rows = 0
        for k in range(len(table)):
            row = coefficients[k].expand(n, -1)  # every sample is at the same row here
            x_history = [x, *x_history][:x_depth]
            m = self._predict(
                column(row, "in_scale") * x,
                row[:, 0],
                context,
                guidance if k < guided_rows else None,
                rescale,
            )
            if table["clamp_m"][k]:
                m = clamp_output(row, x, m)
            m_history = [m, *m_history][:m_depth]
            z = self._normal(seeds, k, noise.STREAM_STEP) if table["noise"][k] else None
            asked = x
            x = sampler_update(row, x_history, m_history, z, bool(table["x0"][k]))
            if kept is not None:
                x = kept.mix(x, k + 1)
            rows = k + 1
            if request.after_row is not None and not request.after_row(
                rows, _fetcher(x), _x0_fetcher(table, k, row, asked, m)
            ):
                break
        return Outcome(_fetcher(x)(), rows)

    def _start(self, request: Request, seeds: Tensor) -> tuple[Tensor, _Kept | None]:
        """x_0, and where a mask keeps a part of the image, what keeps it."""
        table = request.table
        x, image, mask = self._put(request.x_T), self._put(request.image), self._put(request.mask)
        if x is not None:
            return x, None
        eps = self._normal(seeds, 0, noise.STREAM_INIT)
        if image is None:
            return table.init_scale * eps, None
        x = _at_level(table, 0, image, eps) if request.from_image else table.init_scale * eps
        if mask is None:
            return x, None
        kept = _Kept(table, image, mask, eps)
        return kept.mix(x, 0), kept


class _Kept:
    """The part of an image that a mask keeps, at the noise level of each row."""

    def __init__(self, table: SamplerTable, image: Tensor, mask: Tensor, eps: Tensor) -> None:
        self.table, self.image, self.mask, self.eps = table, image, mask, eps

    def mix(self, x: Tensor, k: int) -> Tensor:
        """x_k with the kept part put in: the image itself after the last row."""
        last = k == len(self.table)
        known = self.image if last else _at_level(self.table, k, self.image, self.eps)
        return self.mask * x + (1.0 - self.mask) * known


def _at_level(table: SamplerTable, k: int, image: Tensor, eps: Tensor) -> Tensor:
    return float(table["alpha"][k]) * image + float(table["sigma"][k]) * eps


def _fetcher(x: Tensor) -> Fetch:
    return lambda: x.to("cpu", torch.float32, copy=True).numpy()


def _x0_fetcher(table: SamplerTable, k: int, row: Tensor, x: Tensor, m: Tensor) -> Fetch:
    def fetch() -> Float32Array:
        if not table["x0_from_x"][k] and not table["x0_from_m"][k]:
            raise FastdiffError(
                f"x0: {table.name!r} does not say in row {k} how the image follows from x and m"
            )
        with torch.inference_mode():
            return _fetcher(predicted_x0(row, x, m))()

    return fetch


class EagerBackend:
    """The reference backend. Options: ``device`` ("cpu", "cuda") and ``dtype`` ("float32",
    "float64", or "bfloat16" for the network alone).

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

    def prepare_pixels(self, model: AutoregressiveModel, **options: Any) -> PixelRunner:
        """A runner that owns a copy of the model and draws pixel by pixel."""
        from fastdiff.backends.eager_pixels import EagerPixelRunner

        return EagerPixelRunner(model, **options)


BACKEND: Backend = EagerBackend()
