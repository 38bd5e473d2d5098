"""The Frechet distance of a denoiser's samples while it trains.

256 samples of 15 forwards every 2000 steps of 128 images are 3,840 forwards to 256,000 forwards and
as many backwards, 0.5 % of the time that sprites16 trains on one CPU thread: little enough to be on
by default on every device. Autoregressive models have none: the packaged features are of sprites,
which no packaged one draws.
"""

from __future__ import annotations

import math

import torch

from fastdiff.engine import compile as compile_engine
from fastdiff.errors import FastdiffError
from fastdiff.metrics.features import Features, NotFiniteError
from fastdiff.metrics.features_file import load_features, packaged_features
from fastdiff.metrics.quality import check_counts, check_shape, class_names, quality
from fastdiff.models.kinds import AnyModel, expect_diffusion
from fastdiff.models.model import DiffusionModel

SAMPLES = 256


def packaged_for(model: AnyModel) -> Features | None:
    """The packaged features made for pictures of the model's shape and classes, None without any.

    A model without classes gets none: pictures of that shape may be of anything.
    """
    if isinstance(model, DiffusionModel):
        for name in packaged_features():
            features = load_features(name)
            shape_fits = features.sample_shape == model.sample_shape
            if shape_fits and set(features.labels) == set(model.labels):
                return features
    return None


class QualityFigure:
    """``figure(model)``: the distance of ``n`` samples, always of the same seeds, to held-out ones.

    Drawn by the default sampler, unguided, in the held-out proportions of the classes. Raises
    FastdiffError where the model's pictures are of another shape or kind than the features'.
    """

    def __init__(self, model: AnyModel, features: Features, n: int, device: torch.device) -> None:
        check_counts(n, 1, 0)
        model = expect_diffusion(model)
        check_shape(features, compile_engine(model, backend="eager"))
        class_names(features, n, model.labels)
        self.features, self.n, self.device = features, n, str(device)

    def __call__(self, model: AnyModel) -> dict[str, float]:
        """The figure by its name, which says n: the distance is biased, the more so the fewer.

        nan of a model whose samples are not finite yet.
        """
        engine = compile_engine(expect_diffusion(model), backend="eager", device=self.device)
        try:
            found = quality(engine, self.features, self.n, draws=1).mean
        except NotFiniteError:
            found = math.nan
        return {f"frechet_{self.n}": found}


def quality_figure(
    model: AnyModel, features: Features | None, n: int, device: torch.device
) -> QualityFigure | None:
    """The figure of ``n`` samples in ``features``, or in the packaged ones that fit the model.

    None where none fit or n is 0.
    """
    if n < 0:
        raise FastdiffError(f"quality_n: expected 0 or more samples, got {n}")
    features = packaged_for(model) if features is None and n else features
    return None if features is None or not n else QualityFigure(model, features, n, device)
