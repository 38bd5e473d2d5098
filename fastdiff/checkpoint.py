"""Model checkpoints: our own safetensors, and the course's ``.pth``. Neither can run code."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fastdiff import schedules
from fastdiff.errors import FastdiffError
from fastdiff.files import write_safetensors
from fastdiff.models.model import DiffusionModel
from fastdiff.models.registry import build, describe
from fastdiff.schedules import Schedule

FORMAT = 1
ZOO = Path(__file__).parent / "zoo"


def packaged() -> list[str]:
    """Names of the trained models that came with the package."""
    return sorted(p.stem for p in ZOO.glob("*.safetensors") if not p.stem.endswith("-features"))


def load(model: str | os.PathLike[str]) -> DiffusionModel:
    """The model of that name in the package, or of that checkpoint file, on the CPU in eval mode.

    ``.safetensors``: fastdiff's own. ``.pth``, ``.pt``: a ContextUnet as the course saves it.
    """
    text = os.fspath(model)
    if text in packaged():
        return load_safetensors(ZOO / f"{text}.safetensors")
    path = Path(text)
    if not path.is_file():
        raise FastdiffError(
            f"model: expected one of {', '.join(packaged()) or '(none packaged)'} "
            f"or a checkpoint file, got {text!r}"
        )
    if path.suffix in (".pth", ".pt"):
        return load_course(path)
    return load_safetensors(path)


def save(
    model: DiffusionModel,
    path: str | os.PathLike[str],
    *,
    half: bool = True,
    facts: dict[str, Any] | None = None,
) -> None:
    """Writes a checkpoint with architecture, configuration, schedule and labels in its metadata.

    ``half``: matrices and kernels as float16; vectors (biases, norms and their running
    statistics) stay float32, they are small and a variance may leave float16's range.
    ``facts``: anything JSON worth keeping (steps, data, licence).
    """
    architecture, config = describe(model.module)
    meta = {
        "format": FORMAT,
        "architecture": architecture,
        "config": config,
        "schedule": model.levels.to_dict(),
        "labels": list(model.labels),
        "name": model.name,
        "facts": facts or {},
    }
    tensors = {}
    for key, value in model.module.state_dict().items():
        if value.is_floating_point():
            dtype = torch.float16 if half and value.dim() > 1 else torch.float32
            tensors[key] = value.detach().to("cpu", dtype)
    write_safetensors(Path(path), tensors, {"fastdiff": json.dumps(meta)})


def load_safetensors(path: Path) -> DiffusionModel:
    """The model of a fastdiff checkpoint; a foreign, damaged or newer file is refused."""
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get("fastdiff")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise FastdiffError(f"model: {path} is not a whole safetensors file ({error})") from error
    if text is None:
        raise FastdiffError(f"model: {path} carries no fastdiff metadata, it is another program's")
    try:
        meta = json.loads(text)
        if meta["format"] > FORMAT:
            raise FastdiffError(
                f"model: {path} has format {meta['format']}, this version reads up to {FORMAT}"
            )
        schedule = Schedule.from_dict(meta["schedule"])
        labels = tuple(str(v) for v in meta["labels"])
        model = build(meta["architecture"], meta["config"], schedule, labels, str(meta["name"]))
    except FastdiffError as error:
        raise FastdiffError(f"model: {path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FastdiffError(f"model: {path} has damaged metadata ({error!r})") from error
    _fill(model, tensors, path)
    return model


def load_course(path: Path) -> DiffusionModel:
    """The ContextUnet of a course checkpoint (``.pth``), its shortcut set to zero.

    Sizes are read off the tensors. The course never saved the shortcut of ``init_conv``: it was
    drawn anew in every forward, with expectation zero (see ``models/context_unet.py``).
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FastdiffError(
            f"model: {path} is damaged or holds more than weights, it was not run "
            f"({_first_line(error)})"
        ) from error
    except Exception as error:
        # A damaged pickle stream makes torch's unpickler raise almost anything.
        raise FastdiffError(
            f"model: {path} is not a readable checkpoint ({_first_line(error)})"
        ) from error
    try:
        n_feat, in_channels = state["init_conv.conv1.0.weight"].shape[:2]
        n_cfeat = state["contextembed1.model.0.weight"].shape[1]
        side = state["up0.0.weight"].shape[-1]
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise FastdiffError(f"model: {path} is no ContextUnet checkpoint ({error!r})") from error
    # The course pools a fixed 4x4 window; where that does not cut out one vector, the whole map.
    pool = 4 if 4 <= side < 8 else side
    sizes = {
        "in_channels": in_channels,
        "n_feat": n_feat,
        "n_cfeat": n_cfeat,
        "height": 4 * side,
        "pool": pool,
    }
    model = build("context_unet", sizes, schedules.course(), name=path.stem)
    for key, value in model.module.state_dict().items():
        if key.startswith("init_conv.shortcut."):
            state.setdefault(key, torch.zeros_like(value))
    _fill(model, state, path)
    return model


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _fill(model: DiffusionModel, tensors: dict[str, Tensor], path: Path) -> None:
    """Loads tensors of any float dtype, naming the first that is wrong; leaves eval mode set."""
    module = model.module.eval()
    expected = {k: v for k, v in module.state_dict().items() if v.is_floating_point()}
    for key, value in expected.items():
        if key not in tensors:
            raise FastdiffError(f"model: {path} lacks the tensor {key}")
        if tuple(tensors[key].shape) != tuple(value.shape):
            raise FastdiffError(
                f"model: {path} has {key} as {list(tensors[key].shape)}, "
                f"expected {list(value.shape)}"
            )
        if not torch.isfinite(tensors[key]).all():
            raise FastdiffError(f"model: {path} has values in {key} that are not finite")
    surplus = [k for k in tensors if k not in module.state_dict()]
    if surplus:
        raise FastdiffError(f"model: {path} has a tensor that the model lacks: {surplus[0]}")
    module.load_state_dict(
        {k: v.float() for k, v in tensors.items() if k in expected}, strict=False
    )
