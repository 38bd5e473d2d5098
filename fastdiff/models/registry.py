"""Networks by the name that a checkpoint carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from fastdiff.errors import FastdiffError
from fastdiff.models.context_unet import ContextUnet, ContextUnetConfig
from fastdiff.models.model import DiffusionModel
from fastdiff.schedules import Schedule


@dataclass(frozen=True)
class Architecture:
    """A network class, its configuration's class, and what the configuration says of shapes.

    ``module(config)`` carries its configuration as ``.config``. ``shapes(config)`` is
    ((C, H, W), context width).
    """

    module: Callable[[Any], nn.Module]
    config: type[Any]
    shapes: Callable[[Any], tuple[tuple[int, int, int], int]]


ARCHITECTURES = {
    "context_unet": Architecture(
        ContextUnet,
        ContextUnetConfig,
        lambda c: ((c.in_channels, c.height, c.height), c.n_cfeat),
    ),
}


def build(
    architecture: str,
    sizes: Mapping[str, Any],
    schedule: Schedule,
    labels: tuple[str, ...] = (),
    name: str = "model",
) -> DiffusionModel:
    """A model with freshly initialised weights, from its architecture's name and sizes."""
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
    return DiffusionModel(kind.module(config), schedule, shape, width, labels, name)


def describe(module: nn.Module) -> tuple[str, dict[str, Any]]:
    """The architecture's name and sizes of a network that ``build`` can make."""
    config: Any = getattr(module, "config", None)
    for name, kind in ARCHITECTURES.items():
        if isinstance(config, kind.config):
            return name, asdict(config)
    raise FastdiffError(
        f"model: expected one of {', '.join(ARCHITECTURES)}, got {type(module).__name__}"
    )
