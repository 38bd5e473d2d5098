"""The ``cuda`` backend: the per-step program with fused kernels, and the whole loop as one graph.

The model is traced and lowered (``fastdiff/program``); rules replace its ops by the kernels of
``fastdiff.kernels`` (``fastdiff/cuda/rules``), convolutions and products stay cuDNN's and cuBLAS's;
start and step are captured, and ``csrc/cuda`` runs them in a loop on the device: one launch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from fastdiff.backends.base import Backend, PixelRunner, Runner
from fastdiff.backends.cuda_pixels import CudaPixelRunner
from fastdiff.backends.cuda_runner import CudaRunner
from fastdiff.cuda.device import MODES
from fastdiff.cuda.network import Network
from fastdiff.cuda.pixels.network import PixelNetwork
from fastdiff.errors import FastdiffError

if TYPE_CHECKING:
    from fastdiff.cuda.device import Device
    from fastdiff.models.autoregressive import AutoregressiveModel
    from fastdiff.models.model import DiffusionModel

# What a caller asks for -> the network's dtype; table, noise and x are float32 in all of them.
DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
CHANNELS = "channels_last"
OPTIONS = ("device", "dtype", "graph", CHANNELS)


def runner_of(
    model: DiffusionModel,
    device: Device,
    dtype: str = "float32",
    graph: str = "auto",
    channels_last: bool | None = None,
) -> CudaRunner:
    """A runner on a device.

    ``dtype``: "float32", "tf32" (float32 with products of TF32), "bfloat16" or "float16", in which
    norms, softmax and everything outside of the network stay float32. ``graph``: "while" (one
    launch a request), "launches" (one a row), "off", or "auto", which measures. ``channels_last``:
    None for reduced precision alone.
    """
    if channels_last is None:
        channels_last = dtype != "float32"
    network = Network(model, device.torch_device, DTYPES[dtype], channels_last)
    return CudaRunner(network, device, dtype, graph)


def pixel_runner_of(
    model: AutoregressiveModel, device: Device, dtype: str = "float32", graph: str = "auto"
) -> CudaPixelRunner:
    """The same for a model whose pixels are drawn one after another; cache and weights in
    ``dtype``, sums in float32.
    """
    network = PixelNetwork(model, device.torch_device, DTYPES[dtype], dtype == "tf32")
    return CudaPixelRunner(network, device, dtype, graph)


class CudaBackend:
    """An NVIDIA GPU. Options: ``device`` ("cuda", "cuda:1"), and those of :func:`runner_of`."""

    name = "cuda"

    def prepare(self, model: DiffusionModel, **options: Any) -> Runner:
        """A runner with weights of its own on the GPU."""
        device, chosen = _checked(options, OPTIONS)
        return runner_of(model, device, **chosen)

    def prepare_pixels(self, model: AutoregressiveModel, **options: Any) -> PixelRunner:
        """The same, drawing pixel by pixel."""
        device, chosen = _checked(options, tuple(name for name in OPTIONS if name != CHANNELS))
        return pixel_runner_of(model, device, **chosen)


def _checked(options: dict[str, Any], known: tuple[str, ...]) -> tuple[Device, dict[str, Any]]:
    """The device that the options name, and the others; FastdiffError where one is wrong."""
    from fastdiff.cuda.cuda_device import CudaDevice
    from fastdiff.models.device import torch_device

    unknown = set(options) - set(known)
    if unknown:
        raise FastdiffError(
            f"{sorted(unknown)[0]}: backend 'cuda' takes {', '.join(known)} for this model"
        )
    dtype = options.get("dtype", "float32")
    for option, got, values in (
        ("dtype", dtype, tuple(DTYPES)),
        ("graph", options.get("graph", "auto"), MODES),
    ):
        if got not in values:
            raise FastdiffError(f"{option}: expected one of {', '.join(values)}, got {got!r}")
    name = options.get("device", "cuda")
    where = torch_device(name)
    if where.type != "cuda":
        raise FastdiffError(f"device: expected 'cuda' or 'cuda:K', got {name!r}")
    device = CudaDevice(where, full_float32=dtype == "float32")
    return device, {k: v for k, v in options.items() if k != "device"}


BACKEND: Backend = CudaBackend()
