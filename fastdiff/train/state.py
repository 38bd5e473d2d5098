"""A training run on disk: safetensors, so that a checkpoint can never run code."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from fastdiff.errors import FastdiffError
from fastdiff.files import write_safetensors
from fastdiff.models.registry import ARCHITECTURES, default_sizes
from fastdiff.train.config import TrainConfig

FILE = "training.safetensors"
FORMAT = 1


def save_state(
    folder: Path,
    step: int,
    module: nn.Module,
    ema: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    facts: dict[str, Any],
) -> None:
    """Writes the run after ``step`` steps, whole or not at all (temporary file, then rename)."""
    tensors: dict[str, Tensor] = {}
    for prefix, part in (("model.", module), ("ema.", ema)):
        tensors |= {prefix + k: v.detach().cpu() for k, v in part.state_dict().items()}
    names = dict(enumerate(k for k, _ in module.named_parameters()))
    for index, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            tensors[f"optimizer.{names[index]}.{key}"] = torch.as_tensor(value).cpu()
    meta = {"format": FORMAT, "step": step, "config": asdict(config), "facts": facts}
    write_safetensors(folder / FILE, tensors, {"fastdiff_training": json.dumps(meta)})


def load_state(
    folder: Path,
    module: nn.Module,
    ema: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    facts: dict[str, Any],
) -> int:
    """Fills module, ema and optimizer; returns the steps done, 0 where nothing was saved yet.

    A run that was made with other settings is refused: it could not go on exactly. A setting or a
    size that the saved run does not know had its default.
    """
    path = folder / FILE
    if not path.is_file():
        return 0
    try:
        with safe_open(path, "pt") as file:
            meta = json.loads((file.metadata() or {})["fastdiff_training"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise FastdiffError(f"resume: {path} is not a readable training state ({error})") from error
    defaults = {f.name: f.default for f in fields(TrainConfig)}
    saved = {**defaults, **meta["config"], **meta["facts"]}
    if facts.get("architecture") in ARCHITECTURES and "sizes" in saved:
        saved["sizes"] = {**default_sizes(facts["architecture"]), **saved["sizes"]}
    # By way of JSON, as the saved ones came: it knows no tuples.
    for key, wanted in json.loads(json.dumps({**asdict(config), **facts})).items():
        # More (or fewer) steps are a legitimate wish; they bend the learning rate from here on.
        if key != "steps" and saved.get(key) != wanted:
            raise FastdiffError(
                f"resume: {path} was trained with {key}={saved.get(key)!r}, now it is {wanted!r}; "
                "use the same settings or another --out"
            )
    for prefix, part in (("model.", module), ("ema.", ema)):
        own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        part.load_state_dict(own)
    state: dict[int, dict[str, Tensor]] = {}
    for index, (name, _) in enumerate(module.named_parameters()):
        prefix = f"optimizer.{name}."
        own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        if own:
            state[index] = own
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return int(meta["step"])
