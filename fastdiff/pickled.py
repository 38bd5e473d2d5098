"""Checkpoints that other programs pickled, read with ``weights_only``: nothing in them is run."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastdiff import schedules
from fastdiff.errors import FastdiffError
from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.models.fill import fill
from fastdiff.models.kinds import expect_autoregressive, expect_diffusion
from fastdiff.models.model import DiffusionModel
from fastdiff.models.registry import build


def load_course(path: Path) -> DiffusionModel:
    """The ContextUnet of a course checkpoint (``.pth``), its shortcut set to zero.

    Sizes are read off the tensors. The course never saved the shortcut of ``init_conv``: it was
    drawn anew in every forward, with expectation zero (see ``models/context_unet.py``).
    """
    state = _unpickled(path)
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
    model = expect_diffusion(build("context_unet", sizes, schedules.course(), name=path.stem))
    for key, value in model.module.state_dict().items():
        if key.startswith("init_conv.shortcut."):
            state.setdefault(key, torch.zeros_like(value))
    fill(model.module, state, path)
    return model


def load_gated_pixelcnn(path: Path) -> AutoregressiveModel:
    """The GatedPixelCNN of a Lightning checkpoint (``.ckpt``) with a mask beside each weight.

    Those networks multiply by their masks in every forward; here it is done once. The image size,
    which the tensors do not tell, is taken as 28x28 and the dilations as the published ones.
    """
    state = _unpickled(path)
    try:
        inner: Mapping[str, Tensor] = state["state_dict"]
        hidden, levels = inner["conv_out.weight"].shape[1::-1]
        tensors = {}
        for key, value in inner.items():
            if key.endswith(".mask"):
                continue
            mask = inner.get(key.removesuffix("conv.weight") + "mask")
            tensors[key.replace(".conv.", ".")] = value if mask is None else value * mask
        sizes = {"hidden": int(hidden), "levels": int(levels)}
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, RuntimeError) as error:
        raise FastdiffError(f"model: {path} is no GatedPixelCNN checkpoint ({error!r})") from error
    model = expect_autoregressive(build("gated_pixelcnn", sizes, None, name=path.stem))
    fill(model.module, tensors, path)
    return model


def _unpickled(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
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
    return state


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
