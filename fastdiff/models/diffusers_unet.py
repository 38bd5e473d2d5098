"""diffusers' UNet2DModel as a DDPMUnet: its folder of ``config.json`` and safetensors.

Only JSON and safetensors are read: nothing in the folder is run, and diffusers is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from torch import Tensor

from fastdiff.errors import FastdiffError
from fastdiff.models.fill import fill
from fastdiff.models.kinds import expect_diffusion
from fastdiff.models.model import DiffusionModel
from fastdiff.models.registry import build
from fastdiff.schedules import Schedule

CONFIG: Final = "config.json"
CLASS: Final = "UNet2DModel"
WEIGHTS: Final = ("diffusion_pytorch_model.safetensors", "model.safetensors")
# What UNet2DModel takes where its config is silent.
_DEFAULTS: Final[dict[str, Any]] = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ["DownBlock2D", *["AttnDownBlock2D"] * 3],
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": [*["AttnUpBlock2D"] * 3, "UpBlock2D"],
    "block_out_channels": [224, 448, 672, 896],
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
}
# Choices that a DDPMUnet has no other of.
_ONLY: Final[dict[str, tuple[Any, ...]]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "downsample_padding": (0, 1),
    "downsample_type": ("conv",),
    "upsample_type": ("conv",),
    "act_fn": ("silu", "swish"),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "class_embed_type": (None,),
}
_DOWN: Final = {"DownBlock2D": False, "AttnDownBlock2D": True}
_UP: Final = {"UpBlock2D": False, "AttnUpBlock2D": True}
# Attention's names before diffusers 0.17, under which older files hold it.
_FORMER: Final = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}
_BETAS: Final = {
    "linear": "linear",
    "scaled_linear": "scaled_linear",
    "squaredcos_cap_v2": "cosine",
    "sigmoid": "sigmoid",
}
_PREDICTIONS: Final = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}


def is_diffusers(folder: Path) -> bool:
    """Whether there is a network of diffusers' in the folder, or a pipeline with one."""
    return any((folder / part / CONFIG).is_file() for part in ("", "unet"))


def load_diffusers(folder: Path, schedule: Schedule | None = None) -> DiffusionModel:
    """The model in a folder that ``save_pretrained`` wrote, of a UNet2DModel or a whole pipeline.

    ``schedule``: what it was trained with; None reads ``scheduler_config.json`` of the pipeline (in
    ``scheduler`` beside or below ``folder``), and is Ho et al.'s linear one where there is none.
    Classes are the context's columns. Raises FastdiffError where the network has parts that a
    DDPMUnet lacks, named.
    """
    root = folder / "unet" if (folder / "unet" / CONFIG).is_file() else folder
    config = _json(root / CONFIG)
    if config.get("_class_name") != CLASS:
        raise FastdiffError(
            f"model: expected a {CLASS} in {root / CONFIG}, got {config.get('_class_name')!r}"
        )
    scheduler = root.parent / "scheduler" / "scheduler_config.json"
    if schedule is None:
        schedule = schedule_of(_json(scheduler)) if scheduler.is_file() else Schedule()
    sizes = sizes_of(config)
    path = next((root / name for name in WEIGHTS if (root / name).is_file()), None)
    if path is None:
        raise FastdiffError(f"model: expected {' or '.join(WEIGHTS)} in {root}, got neither")
    labels = tuple(str(k) for k in range(sizes["n_context"]))
    name = folder.resolve().name
    model = expect_diffusion(build("ddpm_unet", sizes, schedule, labels, name))
    fill(model.module, _tensors(path), path)
    return model


def sizes_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a DDPMUnetConfig for a UNet2DModel's; FastdiffError where there is none."""
    c = {**_DEFAULTS, **{k: v for k, v in config.items() if not k.startswith("_")}}
    for name, known in _ONLY.items():
        if c[name] not in known:
            _refuse(name, " or ".join(repr(v) for v in known), c[name])
    channels = c["block_out_channels"]
    if c["attn_norm_num_groups"] not in (None, c["norm_num_groups"]):
        _refuse("attn_norm_num_groups", str(c["norm_num_groups"]), c["attn_norm_num_groups"])
    if c["time_embedding_dim"] not in (None, 4 * channels[0]):
        _refuse("time_embedding_dim", str(4 * channels[0]), c["time_embedding_dim"])
    for name, types in (("down_block_types", _DOWN), ("up_block_types", _UP)):
        if len(c[name]) != len(channels) or not set(c[name]) <= types.keys():
            _refuse(name, f"{len(channels)} of {', '.join(types)}", c[name])
    attention = tuple(_DOWN[kind] for kind in c["down_block_types"])
    if attention != tuple(_UP[kind] for kind in reversed(c["up_block_types"])):
        _refuse(
            "up_block_types", "attention at the levels of down_block_types", c["up_block_types"]
        )
    if c["sample_size"] is None:
        _refuse("sample_size", "the images' height and width", None)
    size = c["sample_size"]
    height, width = (size, size) if isinstance(size, int) else size
    scale_shift = c["resnet_time_scale_shift"] == "scale_shift"
    return {
        "in_channels": c["in_channels"],
        "out_channels": c["out_channels"],
        "height": height,
        "width": width,
        "channels": tuple(channels),
        "blocks": c["layers_per_block"],
        "attention": attention,
        "mid_attention": c["add_attention"],
        # Their default, which has no reason but to be theirs.
        "mid_norm": not scale_shift or c["attn_norm_num_groups"] is not None,
        "head_width": c["attention_head_dim"],
        "groups": c["norm_num_groups"],
        "eps": c["norm_eps"],
        "dropout": c["dropout"],
        "scale_shift": scale_shift,
        "down_padding": c["downsample_padding"],
        "cosine_first": c["flip_sin_to_cos"],
        "time_shift": float(c["freq_shift"]),
        "n_context": c["num_class_embeds"] or 0,
    }


def schedule_of(config: Mapping[str, Any]) -> Schedule:
    """The schedule of a diffusers scheduler's config; FastdiffError where it is none of ours."""
    kind, prediction = config.get("beta_schedule", "linear"), config.get("prediction_type")
    if config.get("trained_betas") is not None:
        _refuse("trained_betas", "none", "some")
    if kind not in _BETAS:
        _refuse("beta_schedule", ", ".join(_BETAS), kind)
    if (prediction or "epsilon") not in _PREDICTIONS:
        _refuse("prediction_type", ", ".join(_PREDICTIONS), prediction)
    return Schedule.from_dict(
        {
            "kind": _BETAS[kind],
            "T": config.get("num_train_timesteps", 1000),
            "beta_start": config.get("beta_start", 1e-4),
            "beta_end": config.get("beta_end", 0.02),
            "time": "index",
            "prediction": _PREDICTIONS[prediction or "epsilon"],
            "zero_snr": bool(config.get("rescale_betas_zero_snr", False)),
        }
    )


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise FastdiffError(f"model: {path} is not a whole safetensors file ({error})") from error
    tensors = {}
    for key, tensor in found.items():
        name, value = key, tensor
        for former, now in _FORMER.items():
            name = name.replace(former, now) if ".attentions." in name else name
        # A row a class there, a column here; old attention layers were 1x1 convolutions.
        if key == "class_embedding.weight":
            value = value.T.contiguous()
        elif ".attentions." in name and value.dim() == 4:
            value = value.flatten(1)
        tensors[name] = value
    return tensors


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FastdiffError(f"model: {path} is not readable JSON ({error})") from error
    if not isinstance(found, dict):
        raise FastdiffError(f"model: {path} holds no configuration")
    return found


def _refuse(name: str, expected: str, got: Any) -> None:
    raise FastdiffError(f"model: {name}: expected {expected}, got {got!r}")
