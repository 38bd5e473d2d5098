"""The cuda backend on a GPU: the images of the CPU's eager, in every mode; memory; many engines."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from tests.gpu.conftest import require_gpu

require_gpu()

import torch

import fastdiff
from fastdiff import FastdiffError
from fastdiff.backends.base import PixelRequest
from fastdiff.backends.cuda import BACKEND
from tests.pixelcnn.agreement import check_naive
from tests.pixelcnn.random_models import in_float64
from tests.pixelcnn.test_native_pixels import MODELS, SEEDS, contexts_of, model_of

MODES = ["while", "launches", "off", "auto"]
# rms of a whole run's images, in [-1, 1], beside eager in float32.
LARGEST = {"float32": 1e-4, "tf32": 0.1, "bfloat16": 0.3, "float16": 0.1}


@pytest.fixture(scope="module")
def eager_images() -> Any:
    engine = fastdiff.compile("sprites16", "ddim", 25, backend="eager")
    return engine.sample(5, 3, context=["hero"] * 5, guidance=2.0).images


@pytest.mark.parametrize("graph", MODES)
@pytest.mark.parametrize("dtype", LARGEST)
def test_images_are_those_of_eager(eager_images: Any, dtype: str, graph: str) -> None:
    engine = fastdiff.compile("sprites16", "ddim", 25, backend="cuda", dtype=dtype, graph=graph)
    got = engine.sample(5, 3, context=["hero"] * 5, guidance=2.0).images
    np.testing.assert_allclose(got, eager_images, rtol=0, atol=LARGEST[dtype])


@pytest.mark.parametrize("sampler", ["ddpm", "dpmpp_2m_sde", "unipc", "heun"])
def test_samplers(tiny_model: Any, sampler: str) -> None:
    want = fastdiff.compile(tiny_model, sampler, 9, backend="eager").sample(3, 1).images
    got = fastdiff.compile(tiny_model, sampler, 9, backend="cuda", graph="while").sample(3, 1)
    np.testing.assert_allclose(got.images, want, rtol=0, atol=1e-4)


def test_previews_and_cancel(tiny_model: Any) -> None:
    engine = fastdiff.compile(tiny_model, "ddpm", 20, backend="cuda", graph="while")
    want = fastdiff.compile(tiny_model, "ddpm", 20, backend="eager")
    seen: list[Any] = []
    got = engine.sample(3, 1, on_step=lambda s: seen.append(s) or s.row < 12, every=4)
    others: list[Any] = []
    want.sample(3, 1, on_step=lambda s: others.append(s) or s.row < 12, every=4)
    assert got.rows.tolist() == [12] * 3
    for a, b in zip(seen, others, strict=True):
        np.testing.assert_allclose(a.x, b.x, rtol=0, atol=1e-4)
        np.testing.assert_allclose(a.x0, b.x0, rtol=0, atol=1e-4)


def test_a_thousand_requests_take_no_more_memory(tiny_model: Any) -> None:
    engine = fastdiff.compile(tiny_model, "ddim", 5, backend="cuda", graph="while")
    first = engine.sample(4, 1).images
    torch.cuda.synchronize()
    free = torch.cuda.mem_get_info()[0]
    for k in range(1000):
        engine.sample(4, k)
    np.testing.assert_array_equal(engine.sample(4, 1).images, first)
    torch.cuda.synchronize()
    assert free - torch.cuda.mem_get_info()[0] < 16 * 2**20


def test_two_engines_at_once(tiny_model: Any) -> None:
    engines = [
        fastdiff.compile(tiny_model, sampler, 20, backend="cuda", graph="while")
        for sampler in ("ddim", "ddpm")
    ]
    want = [engine.sample(4, 1).images for engine in engines]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(50):
            if not np.array_equal(engines[k].sample(4, 1).images, want[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k % 2,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_model_that_asks_the_device_is_told_so(tiny_model: Any) -> None:
    from fastdiff.cuda.cuda_device import CudaDevice

    device = CudaDevice(torch.device("cuda"), full_float32=True)
    x = torch.ones(4, device="cuda")
    with (
        pytest.raises(FastdiffError, match=r"^model: it cannot be captured \("),
        device.scope(),
    ):
        device.capture(lambda: x.sum().item())
    # And nothing is left behind that stands in the way.
    engine = fastdiff.compile(tiny_model, "ddim", 4, backend="cuda", graph="while")
    assert engine.sample(1, 1).complete


@pytest.mark.parametrize("graph", ["while", "off"])
@pytest.mark.parametrize("key", MODELS)
def test_pixelcnn_draws_the_naive_loops_levels(key: str, graph: str) -> None:
    model = model_of(key)
    context = contexts_of(model, len(SEEDS))
    got = BACKEND.prepare_pixels(model, graph=graph).run(PixelRequest(SEEDS, context))
    tensor = None if context is None else torch.from_numpy(context)
    check_naive(in_float64(model), SEEDS, got.levels, tensor)
