"""Sampling by incremental evaluation, in torch: the reference of backends that do it fast.

Subtime by subtime, the cells whose time has come are evaluated from what is cached, then the pixels
whose time has come are chosen: the same levels as ``naive.py`` draws, from one evaluation of each
cell instead of one of the whole network a pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastdiff import noise
from fastdiff.pixelcnn.dependencies import analyse
from fastdiff.pixelcnn.evaluator import Evaluator
from fastdiff.pixelcnn.lower import lower
from fastdiff.pixelcnn.naive import Int64Array, OnProgress, check, choose, kept_pixels
from fastdiff.pixelcnn.network import BoolArray
from fastdiff.program.reference import run

if TYPE_CHECKING:
    from fastdiff.models.autoregressive import AutoregressiveModel


@torch.inference_mode()
def sample_incremental(
    model: AutoregressiveModel,
    seeds: noise.SeedsLike,
    context: Tensor | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    given: npt.NDArray[np.integer] | None = None,
    given_rows: int | BoolArray = 0,
    slope: int | None = None,
    dtype: torch.dtype = torch.float32,
    on_progress: OnProgress | None = None,
) -> Int64Array:
    """Levels int64 [n, C, H, W] for ``seeds``: those of ``sample_naive``, but for rounding.

    ``context``, ``temperature``, ``top_k``, ``given``: as there. ``given_rows``: the number of
    given rows, or bool [H, W] that marks any given pixels. ``slope``: of the wavefront, the least
    unless told otherwise. ``dtype``: of all that is between the input and the logits.

    Raises FastdiffError where an argument is wrong, where the model cannot be traced or holds an
    op that cannot be evaluated incrementally, and where it is not causal.
    """
    keys = noise.as_seeds(seeds)
    _, height, width = model.sample_shape
    kept = kept_pixels(given_rows, height, width)
    check(model, len(keys), context, temperature, top_k, given, kept)
    parts = lower(model)
    wavefront = analyse(parts.step).at(slope)
    fixed: Mapping[str, Tensor] = {}
    if parts.request.outputs:
        if context is None:
            context = torch.zeros(len(keys), model.context_width)
        values = run(parts.request, {"context": context}, dtype)
        fixed = dict(zip(parts.request.outputs, values, strict=True))
    evaluator = Evaluator(wavefront, len(keys), fixed, dtype)
    return draw(evaluator, keys, model.input_of, temperature, top_k, given, kept, on_progress)


@torch.inference_mode()
def draw(
    evaluator: Evaluator,
    keys: noise.UInt64Array,
    input_of: Callable[[Tensor], Tensor],
    temperature: float = 1.0,
    top_k: int | None = None,
    given: npt.NDArray[np.integer] | None = None,
    kept: BoolArray | None = None,
    on_progress: OnProgress | None = None,
) -> Int64Array:
    """Levels int64 [n, C, H, W] for ``keys``, with an evaluator of n samples that has not begun.

    ``input_of``: from levels to the network's input. ``kept``: bool [H, W], where ``given`` is
    taken instead of a choice.
    """
    network = evaluator.wavefront.network
    C, H, W = network.colours, network.height, network.width
    u = noise.uniform(keys, 0, noise.STREAM_CHOICE, C * H * W).reshape(len(keys), H, W, C)
    levels = np.full((len(keys), C, H, W), -1, dtype=np.int64)
    done = 0
    for subtime in evaluator.wavefront.subtimes:
        if on_progress is not None and not on_progress(done, levels.size):
            break
        evaluator.advance(subtime)
        c = subtime % C
        rows, columns = cells = evaluator.wavefront.active(-c, subtime)
        if not len(rows):
            continue
        logits = evaluator.read(network.logits[:, c], cells)  # [n, cells, levels]
        chosen = choose(
            logits.flatten(0, 1), u[:, rows, columns, c].reshape(-1), temperature, top_k
        ).reshape(len(keys), -1)
        if given is not None and kept is not None:
            known = np.broadcast_to(given, levels.shape)[:, c, rows, columns]
            chosen = np.where(kept[rows, columns], known, chosen)
        levels[:, c, rows, columns] = chosen
        done += chosen.size
        x = input_of(torch.from_numpy(chosen))[..., None]
        evaluator.write(network.channels[network.x][c : c + 1], cells, x)
    return levels
