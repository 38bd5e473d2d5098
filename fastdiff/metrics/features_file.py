"""Feature files: a feature net, its reference statistics and its floor, one safetensors file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fastdiff.checkpoint import ZOO
from fastdiff.errors import FastdiffError
from fastdiff.files import write_safetensors
from fastdiff.metrics.features import FeatureNet, FeatureNetConfig, Features
from fastdiff.metrics.frechet import Statistics

FORMAT = 1
KEY = "fastdiff_features"
SUFFIX = "-features.safetensors"
NET = "net."


def packaged_features() -> list[str]:
    """Names of the models that came with features made for their data."""
    return sorted(p.name.removesuffix(SUFFIX) for p in ZOO.glob(f"*{SUFFIX}"))


def load_features(features: str | os.PathLike[str]) -> Features:
    """The features packaged for a model of that name, or of that file, on the CPU in eval mode."""
    text = os.fspath(features)
    if text in packaged_features():
        return _read(ZOO / (text + SUFFIX))
    if not Path(text).is_file():
        known = ", ".join(packaged_features()) or "(none)"
        raise FastdiffError(
            f"features: expected a features file or a model that has packaged ones ({known}), "
            f"got {text!r}"
        )
    return _read(Path(text))


def save_features(features: Features, path: str | os.PathLike[str]) -> None:
    """Writes a features file: kernels, matrices and training features float16, the rest exact."""
    meta = {
        "format": FORMAT,
        "name": features.name,
        "config": asdict(features.net.config),
        "sample_shape": features.sample_shape,
        "labels": features.labels,
        "held_out_count": features.held_out.count,
        "facts": features.facts,
    }
    tensors = {
        "held_out.mean": torch.from_numpy(features.held_out.mean),
        "held_out.cov": torch.from_numpy(features.held_out.cov),
        "held_out.counts": torch.from_numpy(features.counts),
        "training.features": torch.from_numpy(features.training).half(),
        "training.label": torch.from_numpy(features.training_label),
    }
    for key, value in features.net.state_dict().items():
        if value.is_floating_point():
            tensors[NET + key] = value.detach().to(
                torch.float16 if value.dim() > 1 else value.dtype
            )
    write_safetensors(Path(path), tensors, {KEY: json.dumps(meta)})


def _read(path: Path) -> Features:
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise FastdiffError(
            f"features: {path} is not a whole safetensors file ({error})"
        ) from error
    if text is None:
        raise FastdiffError(f"features: {path} is not a features file of fastdiff")
    try:
        meta = json.loads(text)
        if meta["format"] > FORMAT:
            raise FastdiffError(f"it has format {meta['format']}, this reads up to {FORMAT}")
        config = dict(meta["config"])
        net = FeatureNet(FeatureNetConfig(**{**config, "widths": tuple(config["widths"])})).eval()
        labels = tuple(str(v) for v in meta["labels"])
        channels, height, width = (int(v) for v in meta["sample_shape"])
        count, name, facts = int(meta["held_out_count"]), str(meta["name"]), dict(meta["facts"])
    except FastdiffError as error:
        raise FastdiffError(f"features: {path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FastdiffError(f"features: {path} has damaged metadata ({error!r})") from error
    _check(path, tensors, net, len(labels))
    if (
        min(height, width, count) < 1
        or channels != net.config.in_channels
        or len(labels) != net.config.n_classes
    ):
        raise FastdiffError(f"features: {path} has damaged metadata (sizes do not agree)")
    weights = {k.removeprefix(NET): v.float() for k, v in tensors.items() if k.startswith(NET)}
    net.load_state_dict(weights, strict=False)
    array: dict[str, Any] = {k: tensors[k].numpy() for k in tensors if not k.startswith(NET)}
    return Features(
        name,
        net,
        (channels, height, width),
        labels,
        Statistics(array["held_out.mean"], array["held_out.cov"], count),
        array["held_out.counts"],
        array["training.features"].astype(np.float64),
        array["training.label"],
        facts,
    )


def _check(path: Path, tensors: dict[str, Tensor], net: FeatureNet, classes: int) -> None:
    """Raises, naming the first tensor that is missing, surplus, of a wrong shape or not finite."""
    d = net.config.n_features
    label = tensors.get("training.label", torch.empty(0))
    shapes: dict[str, list[int]] = {
        "held_out.mean": [d],
        "held_out.cov": [d, d],
        "held_out.counts": [classes],
        "training.features": [len(label) if label.dim() else 0, d],
        "training.label": [label.numel()],
    }
    integers = ("held_out.counts", "training.label")
    state = {k: v for k, v in net.state_dict().items() if v.is_floating_point()}
    shapes |= {NET + k: list(v.shape) for k, v in state.items()}
    for key, shape in shapes.items():
        if key not in tensors:
            raise FastdiffError(f"features: {path} lacks the tensor {key}")
        value = tensors[key]
        wide = torch.float64 if key.startswith("held_out") else value.dtype
        dtype = torch.int64 if key in integers else wide
        if list(value.shape) != shape or value.dtype != dtype:
            raise FastdiffError(
                f"features: {path} has {key} as {value.dtype} {list(value.shape)}, "
                f"expected {dtype} {shape}"
            )
        if not torch.isfinite(value).all():
            raise FastdiffError(f"features: {path} has values in {key} that are not finite")
    for key in tensors:
        if key not in shapes:
            raise FastdiffError(f"features: {path} has a tensor that it should not: {key}")
    counts = tensors["held_out.counts"]
    if (
        counts.min() < 0
        or not counts.sum()
        or (label.numel() and not 0 <= label.min() <= label.max() < classes)
    ):
        raise FastdiffError(f"features: {path} has counts or labels out of range")
