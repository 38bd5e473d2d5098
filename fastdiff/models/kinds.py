"""The kinds of model that there are, and saying so where one was expected and the other came."""

from __future__ import annotations

from typing import TypeAlias

from fastdiff.errors import FastdiffError
from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.models.model import DiffusionModel

AnyModel: TypeAlias = DiffusionModel | AutoregressiveModel


def expect_diffusion(model: AnyModel) -> DiffusionModel:
    """The model itself; raises FastdiffError where it is no DiffusionModel."""
    if not isinstance(model, DiffusionModel):
        raise FastdiffError(f"model: expected a diffusion model, got {_said(model)}")
    return model


def expect_autoregressive(model: AnyModel) -> AutoregressiveModel:
    """The model itself; raises FastdiffError where it is no AutoregressiveModel."""
    if not isinstance(model, AutoregressiveModel):
        raise FastdiffError(f"model: expected an autoregressive model, got {_said(model)}")
    return model


def _said(model: object) -> str:
    kinds = {AutoregressiveModel: "an autoregressive one", DiffusionModel: "a diffusion model"}
    kind = kinds.get(type(model), f"an object of type {type(model).__name__}")
    return f"{kind} ({getattr(model, 'name', 'unnamed')!r})"
