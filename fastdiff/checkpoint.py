"""Model checkpoints: our own safetensors, and by ``pickled`` others'. None can run code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from fastdiff.errors import FastdiffError
from fastdiff.files import write_safetensors
from fastdiff.models.diffusers_unet import CONFIG, is_diffusers, load_diffusers
from fastdiff.models.fill import fill
from fastdiff.models.kinds import AnyModel
from fastdiff.models.model import DiffusionModel
from fastdiff.models.registry import build, describe
from fastdiff.pickled import load_course, load_gated_pixelcnn
from fastdiff.schedules import Schedule

FORMAT = 1
ZOO = Path(__file__).parent / "zoo"


def packaged() -> list[str]:
    """Names of the trained models that came with the package."""
    return sorted(p.stem for p in ZOO.glob("*.safetensors") if not p.stem.endswith("-features"))


def load(model: str | os.PathLike[str]) -> AnyModel:
    """The model of that name in the package, or of that checkpoint file, on the CPU in eval mode.

    ``.safetensors``: fastdiff's own. ``.pth``, ``.pt``: a ContextUnet as the course saves it.
    ``.ckpt``: a GatedPixelCNN as Lightning saves it. A folder: diffusers' UNet2DModel, or a
    pipeline with one, as ``save_pretrained`` leaves it.
    """
    text = os.fspath(model)
    if text in packaged():
        return load_safetensors(ZOO / f"{text}.safetensors")
    path = Path(text)
    if is_diffusers(path):
        return load_diffusers(path)
    if not path.is_file():
        raise FastdiffError(
            f"model: expected one of {', '.join(packaged()) or '(none packaged)'} "
            f"or a checkpoint file, or a folder of diffusers' with its {CONFIG}, got {text!r}"
        )
    if path.suffix in (".pth", ".pt"):
        return load_course(path)
    if path.suffix == ".ckpt":
        return load_gated_pixelcnn(path)
    return load_safetensors(path)


def save(
    model: AnyModel,
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
        "schedule": model.levels.to_dict() if isinstance(model, DiffusionModel) else None,
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


def load_safetensors(path: Path) -> AnyModel:
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
        schedule = None if meta["schedule"] is None else Schedule.from_dict(meta["schedule"])
        labels = tuple(str(v) for v in meta["labels"])
        model = build(meta["architecture"], meta["config"], schedule, labels, str(meta["name"]))
    except FastdiffError as error:
        raise FastdiffError(f"model: {path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FastdiffError(f"model: {path} has damaged metadata ({error!r})") from error
    fill(model.module, tensors, path)
    return model
