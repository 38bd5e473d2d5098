"""Who sees whom: by autograd in float64, and by following a network's taps one by one."""

from __future__ import annotations

import itertools

import torch


def seen_by_autograd(module, C, H, W, context=None):
    """bool [C, H, W, C, H, W]: does (c, i, j)'s distribution change with the input at (d, k, l)?"""
    torch.manual_seed(3)
    x = torch.rand(1, C, H, W, dtype=torch.float64, requires_grad=True)
    logits = module(x) if context is None else module(x, context)
    assert logits.shape[0] == 1
    assert logits.shape[2:] == (C, H, W)
    weights = torch.randn(logits.shape[1], dtype=torch.float64)
    seen = torch.zeros(C, H, W, C, H, W, dtype=torch.bool)
    for c, i, j in itertools.product(range(C), range(H), range(W)):
        (grad,) = torch.autograd.grad(weights @ logits[0, :, c, i, j], x, retain_graph=True)
        seen[c, i, j] = grad[0] != 0
    return seen


def comes_before(C, H, W):
    """bool [C, H, W, C, H, W]: is (d, k, l) drawn before (c, i, j)? Raster, then colour."""
    order = torch.arange(H * W * C).reshape(H, W, C).permute(2, 0, 1)  # [C, H, W]
    return order[None, None, None] < order[..., None, None, None]


def reached(steps, H, W):
    """bool [H, W, H, W]: can taps lead from an output pixel to an input pixel?

    ``steps``: for each convolution from the last to the first, its offsets (dy, dx). A path ends
    where it leaves the image: padding is no pixel.
    """
    found = torch.zeros(H, W, H, W, dtype=torch.bool)
    for i, j in itertools.product(range(H), range(W)):
        here = {(i, j)}
        for offsets in steps:
            here = {
                (y + dy, x + dx)
                for (y, x), (dy, dx) in itertools.product(here, offsets)
                if 0 <= y + dy < H and 0 <= x + dx < W
            }
        for y, x in here:
            found[i, j, y, x] = True
    return found


def unsettle(module, seed=0):
    """Float64 in eval mode, with weights that are no accident and norms that do something."""
    generator = torch.Generator().manual_seed(seed)
    module.double().eval().requires_grad_(False)
    # Mostly upwards: a ReLU that is off lets nobody see through it.
    ranges = {"running_mean": (-0.5, 0.1), "running_var": (0.1, 0.5), "bias": (-0.1, 0.5)}
    for key, value in module.state_dict().items():
        if (end := key.rsplit(".", 1)[1]) in ranges:
            value.uniform_(*ranges[end], generator=generator)
        elif "norm" in key and value.is_floating_point():
            value.uniform_(0.5, 1.5, generator=generator)
    return module
