"""Images that a model can be trained or judged on."""

from __future__ import annotations

import numpy as np

from fastdiff.data.dataset import ImageSet
from fastdiff.errors import FastdiffError
from fastdiff.models.kinds import AnyModel


def fitting(model: AnyModel, images: ImageSet, count: int | None = None) -> ImageSet:
    """The first ``count`` images (all unless given), with contexts of zeros where they have none.

    Raises FastdiffError where the images or their contexts are not of the model's shape.
    """
    c, h, w = model.sample_shape
    if images.x.shape[1:] != (h, w, c):
        raise FastdiffError(
            f"data: expected images {[h, w, c]} for this model, got {list(images.x.shape[1:])}"
        )
    x, context, labels = images.x[:count], images.context[:count], images.labels
    if context.shape[1] not in (0, model.context_width):
        raise FastdiffError(
            f"data: expected a context of width {model.context_width}, got {context.shape[1]}"
        )
    if context.shape[1] == 0 and model.context_width:
        context, labels = np.zeros((len(x), model.context_width), dtype=np.float32), ()
    return ImageSet(x, context, labels, images.skipped)
