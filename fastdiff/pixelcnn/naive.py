"""The reference of autoregressive sampling: the whole network once a pixel value.

A level is chosen by inverting the CDF at a uniform that depends on the sample's seed and the
pixel value's place alone:

    u = uniform(seed, step 0, stream 3, element c + C (column + W row))
    level = #{k : cdf_k <= u}, at most the last level with a probability
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastdiff import noise
from fastdiff.errors import FastdiffError
from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.models.device import device_of, dtype_of

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
OnProgress = Callable[[int, int], bool]


def choose(
    logits: Tensor,
    u: npt.NDArray[np.float32],
    temperature: float = 1.0,
    top_k: int | None = None,
) -> Int64Array:
    """Levels int64 [n] from logits float32 [n, levels] and uniforms float32 [n].

    The logits are divided by ``temperature`` in float32, the rest is float64. ``top_k``: levels
    whose logit is under the k-th largest get no probability; equals of the k-th are all kept.
    """
    scaled = (logits.float().cpu() / temperature).double()
    if top_k is not None and top_k < scaled.shape[1]:
        least = scaled.topk(top_k, dim=1).values[:, -1:]
        scaled = scaled.masked_fill(scaled < least, -torch.inf)
    weights = (scaled - scaled.amax(dim=1, keepdim=True)).exp().numpy()  # [n, levels]
    cdf = np.cumsum(weights, axis=1)
    cdf /= cdf[:, -1:]
    # u may be 1 (noise.py), which passes the whole CDF: then the last level that has a share.
    last = cdf.shape[1] - 1 - (weights[:, ::-1] > 0).argmax(axis=1)
    level: Int64Array = np.minimum((cdf <= u[:, None]).sum(axis=1), last)
    return level


@torch.inference_mode()
def sample_naive(
    model: AutoregressiveModel,
    seeds: noise.SeedsLike,
    context: Tensor | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    given: npt.NDArray[np.integer] | None = None,
    given_rows: int | BoolArray = 0,
    on_progress: OnProgress | None = None,
) -> Int64Array:
    """Levels int64 [n, C, H, W] for ``seeds`` (n of them), by C H W evaluations of the network.

    ``context``: float32 [n, width]; None is unconditional. ``given``: integer levels [n, C, H, W]
    or [C, H, W], of which the first ``given_rows`` rows are kept, or what is marked in it where it
    is bool [H, W]; the rest is drawn. ``on_progress``: called with the values there and their
    number before each is drawn; False ends the run, and what was not drawn is -1. The module is
    used as it is, in eval mode, on its own device and in its own dtype.

    Raises FastdiffError where an argument is wrong.
    """
    keys = noise.as_seeds(seeds)
    (C, H, W), n = model.sample_shape, len(keys)
    kept = kept_pixels(given_rows, H, W)
    check(model, n, context, temperature, top_k, given, kept)
    device, dtype = device_of(model.module), dtype_of(model.module)
    u = noise.uniform(keys, 0, noise.STREAM_CHOICE, C * H * W).reshape(n, H, W, C)
    levels = np.full((n, C, H, W), -1, dtype=np.int64)
    known = None if given is None else np.broadcast_to(given, levels.shape)
    context = None if context is None else context.to(device, dtype)
    for step, (i, j, c) in enumerate(np.ndindex(H, W, C)):
        if on_progress is not None and not on_progress(n * step, levels.size):
            break
        if known is not None and kept[i, j]:
            levels[:, c, i, j] = known[:, c, i, j]
            continue
        x = model.input_of(torch.from_numpy(levels.clip(0))).to(device, dtype)
        logits = model(x, context)[:, :, c, i, j]
        levels[:, c, i, j] = choose(logits, u[:, i, j, c], temperature, top_k)
    return levels


def kept_pixels(given_rows: int | BoolArray, height: int, width: int) -> BoolArray:
    """``given_rows``, a number of rows or bool [H, W] itself, as bool [H, W]."""
    kept = np.asarray(given_rows)
    if kept.ndim == 0:
        if not 0 <= kept <= height:
            raise FastdiffError(f"given_rows: expected 0 to {height}, got {given_rows}")
        return np.arange(height)[:, None] < np.full(width, kept)
    if kept.dtype != np.bool_ or kept.shape != (height, width):
        raise FastdiffError(
            f"given_rows: expected a number or bool [{height}, {width}], "
            f"got {kept.dtype} {list(kept.shape)}"
        )
    return kept


def check(
    model: AutoregressiveModel,
    n: int,
    context: Tensor | None,
    temperature: float,
    top_k: int | None,
    given: npt.NDArray[np.integer] | None,
    kept: BoolArray,
) -> None:
    """Raises FastdiffError where a request for ``n`` samples is wrong; ``kept``: bool [H, W]."""
    (C, H, W), width = model.sample_shape, model.context_width
    model.check_eval()
    if n == 0:
        raise FastdiffError("seeds: expected at least one, got none")
    if context is not None and tuple(context.shape) != (n, width):
        raise FastdiffError(f"context: expected [{n}, {width}], got {list(context.shape)}")
    if not 0 < temperature < float("inf"):
        raise FastdiffError(f"temperature: expected a positive number, got {temperature}")
    if top_k is not None and (isinstance(top_k, bool) or top_k < 1):
        raise FastdiffError(f"top_k: expected at least 1, got {top_k}")
    if given is None:
        if kept.any():
            raise FastdiffError("given: expected the levels that given_rows keeps, got none")
    elif given.shape not in ((n, C, H, W), (C, H, W)):
        raise FastdiffError(f"given: expected {[n, C, H, W]}, got {list(given.shape)}")
    elif given.size and not 0 <= int(given.min()) <= int(given.max()) < model.levels:
        raise FastdiffError(
            f"given: expected levels from 0 to {model.levels - 1}, "
            f"got {int(given.min())} to {int(given.max())}"
        )
