"""The sampler's kernels in plain torch: what they mean, and what CPU tensors run.

Arguments and results are those of ``sampler_update`` and ``sampler_start``; the noise is
``fastdiff.noise``'s. On any device, in float32, with reads by the host.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fastdiff.noise import STREAM_INIT, STREAM_STEP, normal
from fastdiff.samplers.table import INDEX


def _column(rows: Tensor, name: str) -> Tensor:
    return rows[:, INDEX[name], None, None, None]


def _normal(seeds: Tensor, steps: Tensor, stream: int, like: Tensor) -> Tensor:
    unsigned = seeds.cpu().numpy().view(np.uint64)
    z = normal(unsigned, steps.cpu().numpy().astype(np.uint32), stream, like[0].numel())
    return torch.from_numpy(z).to(like.device).reshape(like.shape)


def _past(past: Tensor, rows: Tensor, prefix: str, k: Tensor, live: Tensor) -> Tensor | float:
    """What the weighted older x or m add; ``rows`` are the table's, of the samples ``live``."""
    total: Tensor | float = 0.0
    depth = past.shape[0]
    for back in range(1, depth + 1):
        weight = _column(rows, f"{prefix}[{back}]")
        used = (weight != 0) & (k >= back)[:, None, None, None]
        # Where it is not used the slot may hold anything, nan included.
        total = total + torch.where(used, weight * past[(k - back) % depth, live], 0.0)
    return total


def _write_model_in(model_in: Tensor, live: Tensor, value: Tensor, batch: int) -> None:
    for first in range(0, model_in.shape[0], max(batch, 1)):
        model_in[live + first] = value.to(model_in.dtype)


def sampler_update_reference(
    x: Tensor,
    m: Tensor,
    table: Tensor,
    rows: Tensor,
    count: Tensor,
    seeds: Tensor,
    x_past: Tensor,
    m_past: Tensor,
    model_in: Tensor,
    uncond: Tensor | None = None,
    guidance: Tensor | None = None,
    factor: Tensor | None = None,
    guided_rows: Tensor | None = None,
    image: Tensor | None = None,
    mask: Tensor | None = None,
    x0: Tensor | None = None,
) -> None:
    """What ``sampler_update`` does, with the same arguments."""
    live = torch.nonzero(rows < count)[:, 0]
    if not live.numel() or not x.numel():
        return
    k = rows[live].long()
    row = table[k]
    now, answer = x[live], m[live].float()
    if uncond is not None and guidance is not None:
        without = uncond[live].float()
        mixed = without + guidance[live, None, None, None] * (answer - without)
        if factor is not None:
            mixed = mixed * factor[live, None, None, None]
        guided = k < (count if guided_rows is None else guided_rows)
        answer = torch.where(guided[:, None, None, None], mixed, answer)

    from_x, from_m = _column(row, "x0_from_x") * now, _column(row, "x0_from_m")
    clean = from_x + from_m * answer
    clean = torch.minimum(torch.maximum(clean, _column(row, "x0_lo")), _column(row, "x0_hi"))
    if x0 is not None:
        x0[live] = clean
    answer = torch.where(_column(row, "clamp_m") != 0, (clean - from_x) / from_m, answer)

    total = _column(row, "x[0]") * now + _column(row, "m[0]") * answer
    total = total + _past(x_past, row, "x", k, live) + _past(m_past, row, "m", k, live)
    weight = _column(row, "x0")
    total = torch.where(weight != 0, total + weight * clean, total)
    total = total + _column(row, "noise") * _normal(seeds[live], k, STREAM_STEP, now)

    last = (k + 1 >= count)[:, None, None, None]
    following = table[torch.clamp(k + 1, max=table.shape[0] - 1)]
    if image is not None and mask is not None:
        eps = _normal(seeds[live], torch.zeros_like(k), STREAM_INIT, now)
        known = _column(following, "alpha") * image[live] + _column(following, "sigma") * eps
        known = torch.where(last, image[live], known)
        total = mask[live] * total + (1.0 - mask[live]) * known

    if x_past.shape[0]:
        x_past[k % x_past.shape[0], live] = now
    if m_past.shape[0]:
        m_past[k % m_past.shape[0], live] = answer
    x[live] = total
    asked = torch.where(last, total, _column(following, "in_scale") * total)
    _write_model_in(model_in, live, asked, x.shape[0])


def sampler_start_reference(
    x: Tensor,
    table: Tensor,
    seeds: Tensor,
    init_scale: Tensor,
    model_in: Tensor,
    image: Tensor | None = None,
    mask: Tensor | None = None,
    from_image: bool = False,
    noise: bool = True,
) -> None:
    """What ``sampler_start`` does, with the same arguments."""
    if not x.numel():
        return
    if noise:
        eps = _normal(seeds, torch.zeros_like(seeds), STREAM_INIT, x)
        first = table[0]
        level = None
        if image is not None:
            level = first[INDEX["alpha"]] * image + first[INDEX["sigma"]] * eps
        start = level if from_image and level is not None else init_scale * eps
        if mask is not None and level is not None:
            start = mask * start + (1.0 - mask) * level
        x.copy_(start)
    everyone = torch.arange(x.shape[0], device=x.device)
    _write_model_in(model_in, everyone, table[0, INDEX["in_scale"]] * x, x.shape[0])
