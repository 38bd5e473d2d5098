"""Inputs, what float64 makes of them, the network as an ONNX file, and its operations."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import torch
from torch import nn

from peers import Task, load_model
from peers.whole import run_of


def write(task: Task) -> dict[str, Any]:
    """Writes ``<suite>-<batch>.npz`` and for steps an ONNX file; the FLOPs of an image's step."""
    torch.set_num_threads(task.threads)
    path = task.folder / f"{task.suite}-{task.batch}"
    if task.suite == "whole":
        np.savez(f"{path}.npz", wanted=run_of(task, backend="eager", dtype="float64")())
        return {"flops_per_image": None}
    model = load_model(task.suite)
    rng = np.random.default_rng(task.batch)
    n, width = task.batch, model.context_width
    arrays: dict[str, Any] = {
        "x": rng.standard_normal((n, *model.sample_shape), np.float32),
        "times": rng.random(n, np.float32) * np.float32(model.levels.t[-1]),
    }
    if width:
        arrays["context"] = np.eye(width, dtype=np.float32)[rng.integers(width, size=n)]
    inputs = [torch.from_numpy(array) for array in arrays.values()]
    if all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript")):
        torch.onnx.export(
            model.module.eval(), tuple(inputs), str(task.onnx()), dynamo=True, verbose=False,
            input_names=list(arrays), output_names=["m"],
        )  # fmt: skip
    with torch.inference_mode():
        flops = flops_of(model.module, *inputs) / n
        wanted = model.module.double()(*(x.double() for x in inputs)).numpy()
    np.savez(f"{path}.npz", wanted=wanted, **arrays)
    return {"flops_per_image": flops}


def flops_of(module: nn.Module, *inputs: torch.Tensor) -> float:
    """Multiplications and additions of convolutions and linear layers, computed directly.

    Zeros that a convolution's padding multiplies count, as they do in a matrix product.
    """
    total = 0

    def count(layer: nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.ConvTranspose2d):
            total += 2 * given[0].numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            total += 2 * out.numel() * layer.weight[0].numel()

    hooks = [layer.register_forward_hook(count) for layer in module.modules()]
    module(*inputs)
    for hook in hooks:
        hook.remove()
    return total
