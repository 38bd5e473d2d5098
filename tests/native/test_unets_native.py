"""U-Nets of ours on the native engine: a step against float64, and whole requests against eager."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")

import fastdiff
from fastdiff import schedules
from tests.models.unets import inputs, small

LARGER = {"multipliers": (1, 2, 4), "height": 32, "width": 32}
DEEPER = {"channels": (8, 16, 24), "attention": (False, True, False), "width": 24, "height": 8}
LONG = pytest.mark.long
CASES = [
    pytest.param("two_res_unet", {}, id="two"),
    pytest.param("two_res_unet", {"gated_skips": True, "n_context": 5}, id="two, gated, context"),
    pytest.param("two_res_unet", {**LARGER, "gated_skips": True}, id="three, gated"),
    pytest.param("two_res_unet", {**LARGER, "n_context": 5}, id="three, context"),
    pytest.param("two_res_unet", {"n_context": 5}, id="two, context", marks=LONG),
    pytest.param("two_res_unet", {"gated_skips": True}, id="two, gated", marks=LONG),
    pytest.param("two_res_unet", LARGER, id="three", marks=LONG),
    pytest.param(
        "two_res_unet", {**LARGER, "gated_skips": True, "n_context": 5},
        id="three, gated, context", marks=LONG,
    ),
    pytest.param("ddpm_unet", {}, id="ddpm"),
    pytest.param("ddpm_unet", {"scale_shift": True, "n_context": 5}, id="ddpm, scale, context"),
    pytest.param("ddpm_unet", {**DEEPER, "down_padding": 1, "n_context": 5}, id="ddpm, oblong"),
]  # fmt: skip


def engine(model, backend, **options):
    return fastdiff.compile(model, "ddim", 25, backend=backend, **options)


def rms(array):
    return float(np.sqrt(np.square(array).mean()))


@pytest.mark.parametrize(("architecture", "sizes"), CASES)
def test_draws_what_eager_draws(architecture, sizes):
    # An untrained network that predicts v keeps x at its size, unclipped: 2e-6 was found.
    model = small(architecture, prediction="v", **sizes)
    width = model.context_width
    native, eager = engine(model, "native", options={"autotune": False}), engine(model, "eager")
    request = {"n": 3, "seed": 7}
    if width:
        request["context"] = np.eye(width, dtype=np.float32)[:3]
    expected = eager.sample(**request).images
    assert (np.abs(expected) < 1).mean() > 0.5
    assert np.abs(native.sample(**request).images - expected).max() < 1e-5
    if width:
        guided = {**request, "guidance": 2.0}
        other = eager.sample(**guided).images
        assert np.abs(other - expected).max() > 1e-2
        assert np.abs(native.sample(**guided).images - other).max() < 2e-5

    # One that predicts eps lets x grow 190 times, and every rounding with it: of the size of x.
    model = dataclasses.replace(model, schedule=schedules.linear())
    last = []
    for backend, options in (("eager", {}), ("native", {"options": {"autotune": False}})):
        steps = []
        engine(model, backend, **options).sample(**request, on_step=steps.append)
        last.append(steps[-1].x)
    assert np.abs(last[1] - last[0]).max() < 1e-5 * rms(last[0])

    given = inputs(model, 5)
    with torch.inference_mode():
        single = model.module(*given).numpy()
        exact = model.module.double()(*(v.double() for v in given)).numpy()
    model.module.float()
    got = native._runner.predict(*(v.numpy() for v in given))
    assert rms(got - exact) < max(3 * rms(single - exact), 1e-6 * rms(exact))
