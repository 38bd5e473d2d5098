"""Samplers as plain float64 loops over levels, from their papers: what the engine must equal.

Nothing here knows of tables. ``predict(x, level)`` gives eps; ``mix(x, level)`` puts the kept part
of an image into x; ``clip`` bounds x0.
"""

import numpy as np
import torch

from fastdiff import noise, schedules

COURSE = schedules.course()
AB = COURSE.alpha_bar


def call64(model, x, t, context):
    """The network alone, float64 NumPy in and out."""
    module = model.module.double()
    try:
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(x))
            t = torch.full((len(x),), t, dtype=torch.float64)
            return module(x, t, torch.from_numpy(np.ascontiguousarray(context))).numpy()
    finally:
        module.float()


def normals(shape, seeds, step=0, stream=noise.STREAM_INIT):
    """The NumPy reference's normals as float64 [n, C, H, W]."""
    z = noise.normal(noise.as_seeds(seeds), step, stream, int(np.prod(shape)))
    return z.reshape(-1, *shape).astype(np.float64)


def step_normals(shape, seeds, row):
    return normals(shape, seeds, row, noise.STREAM_STEP)


def at_level(image, eps, level):
    return np.sqrt(AB[level]) * image + np.sqrt(1 - AB[level]) * eps


def unmixed(x, level):
    return x


def bounded(x0, clip):
    return x0 if clip is None else np.clip(x0, *clip)


def x0_of(x, eps, level):
    return (x - np.sqrt(1 - AB[level]) * eps) / np.sqrt(AB[level])


def ddim(predict, x, levels, mix=unmixed, clip=None, eta=0.0, z=None, seen=None):
    """Song et al. 2021, equation 12. ``z(row)``: the step's noise. ``seen`` collects x0."""
    for k, (i, j) in enumerate(zip(levels, [*levels[1:], 0], strict=True)):
        x = mix(x, i)
        eps = predict(x, i)
        x0 = bounded(x0_of(x, eps, i), clip)
        s = eta * np.sqrt((1 - AB[j]) / (1 - AB[i])) * np.sqrt(1 - AB[i] / AB[j])
        x = np.sqrt(AB[j]) * x0 + np.sqrt(1 - AB[j] - s**2) * eps
        x = x + s * z(k) if s else x
        if seen is not None:
            seen.append(x0)
    return mix(x, 0)


def dpmpp_2m(predict, x, levels, mix=unmixed, clip=None):
    """Lu et al. 2022 (DPM-Solver++), algorithm 2; the last step is of order 1."""
    lam = 0.5 * np.log(AB[levels] / (1 - AB[levels]))
    before = None
    for k, i in enumerate(levels):
        x = mix(x, i)
        d = x0 = bounded(x0_of(x, predict(x, i), i), clip)
        if k + 1 == len(levels):
            x = x0
            break
        j, h = levels[k + 1], lam[k + 1] - lam[k]
        if before is not None:
            r = (lam[k] - lam[k - 1]) / h
            d = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * before
        x = np.sqrt((1 - AB[j]) / (1 - AB[i])) * x - np.sqrt(AB[j]) * np.expm1(-h) * d
        before = x0
    return mix(x, 0)


def heun(predict, x, levels, mix=unmixed, clip=None):
    """Karras et al. 2022, algorithm 1, in rho = sigma / alpha and y = x / alpha."""

    def slope(x, i):
        """eps, or the one that belongs to the clamped x0."""
        x0 = bounded(x0_of(x, predict(x, i), i), clip)
        return (x - np.sqrt(AB[i]) * x0) / np.sqrt(1 - AB[i])

    for i, j in zip(levels, [*levels[1:], 0], strict=True):
        x = mix(x, i)
        y, change = x / np.sqrt(AB[i]), np.sqrt(1 / AB[j] - 1) - np.sqrt(1 / AB[i] - 1)
        first = slope(x, i)
        if j == 0:
            x = y + change * first
            break
        trial = mix(np.sqrt(AB[j]) * (y + change * first), j)
        x = np.sqrt(AB[j]) * (y + change * (first + slope(trial, j)) / 2)
    return mix(x, 0)


def final(engine, *args, **request):
    """The engine's own x after the last row, before it clips to [-1, 1]."""
    raw = []
    engine.sample(*args, on_step=lambda s: raw.append(s.x), every=10**6, **request)
    return np.concatenate(raw)
