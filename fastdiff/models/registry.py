"""Networks by the name that a checkpoint carries."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from fastdiff.errors import FastdiffError
from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.models.context_unet import ContextUnet, ContextUnetConfig
from fastdiff.models.ddpm_unet import DDPMUnet, DDPMUnetConfig
from fastdiff.models.gated_pixelcnn import GatedPixelCNN, GatedPixelCNNConfig
from fastdiff.models.kinds import AnyModel
from fastdiff.models.model import DiffusionModel
from fastdiff.models.pixelcnn import PixelCNN, PixelCNNConfig
from fastdiff.models.two_res_unet import TwoResUNet, TwoResUNetConfig
from fastdiff.schedules import Schedule


@dataclass(frozen=True)
class Architecture:
    """A network class, its configuration's class, and what the configuration says of shapes.

    ``module(config)`` carries its configuration as ``.config``. ``shapes(config)`` is
    ((C, H, W), context width). ``input_range``: None for a network that denoises; for one that
    draws pixel by pixel, x of the lowest and of the highest level.
    """

    module: Callable[[Any], nn.Module]
    config: type[Any]
    shapes: Callable[[Any], tuple[tuple[int, int, int], int]]
    input_range: tuple[float, float] | None = None


ARCHITECTURES = {
    "context_unet": Architecture(
        ContextUnet,
        ContextUnetConfig,
        lambda c: ((c.in_channels, c.height, c.height), c.n_cfeat),
    ),
    "ddpm_unet": Architecture(
        DDPMUnet,
        DDPMUnetConfig,
        lambda c: ((c.in_channels, c.height, c.width), c.n_context),
    ),
    "pixelcnn": Architecture(
        PixelCNN,
        PixelCNNConfig,
        lambda c: ((c.in_channels, c.height, c.width), c.n_context),
        input_range=(0.0, 1.0),
    ),
    "gated_pixelcnn": Architecture(
        GatedPixelCNN,
        GatedPixelCNNConfig,
        lambda c: ((1, c.height, c.width), c.n_context),
        input_range=(-1.0, 1.0),
    ),
    "two_res_unet": Architecture(
        TwoResUNet,
        TwoResUNetConfig,
        lambda c: ((c.in_channels, c.height, c.width), c.n_context),
    ),
}


def build(
    architecture: str,
    sizes: Mapping[str, Any],
    schedule: Schedule | None,
    labels: tuple[str, ...] = (),
    name: str = "model",
) -> AnyModel:
    """A model with freshly initialised weights, from its architecture's name and sizes.

    ``schedule``: what a network that denoises needs, and None for any other.
    """
    if architecture not in ARCHITECTURES:
        raise FastdiffError(
            f"architecture: expected one of {', '.join(ARCHITECTURES)}, got {architecture!r}"
        )
    kind = ARCHITECTURES[architecture]
    try:
        config = kind.config(**sizes)
    except TypeError as error:
        raise FastdiffError(f"configuration of {architecture}: {error}") from error
    shape, width = kind.shapes(config)
    if (schedule is None) != (kind.input_range is not None):
        expected = "a schedule" if schedule is None else "none"
        raise FastdiffError(f"schedule: {architecture} expected {expected}, got {schedule!r}")
    module = kind.module(config)
    if schedule is not None:
        return DiffusionModel(module, schedule, shape, width, labels, name)
    assert kind.input_range is not None
    low, high = kind.input_range
    return AutoregressiveModel(
        module,
        shape,
        config.levels,
        width,
        labels,
        name,
        input_scale=(high - low) / (config.levels - 1),
        input_shift=low,
    )


def default_sizes(architecture: str) -> dict[str, Any]:
    """The fields of an architecture's configuration, as plain JSON has them."""
    sizes: dict[str, Any] = json.loads(json.dumps(asdict(ARCHITECTURES[architecture].config())))
    return sizes


def describe(module: nn.Module) -> tuple[str, dict[str, Any]]:
    """The architecture's name and sizes of a network that ``build`` can make."""
    config: Any = getattr(module, "config", None)
    for name, kind in ARCHITECTURES.items():
        if isinstance(config, kind.config):
            return name, asdict(config)
    raise FastdiffError(
        f"model: expected one of {', '.join(ARCHITECTURES)}, got {type(module).__name__}"
    )
