"""The cuda backend's logic on a fake device, against eager: images, previews, buckets, modes."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import fastdiff
from fastdiff import FastdiffError

TOLERANCE = 1e-4


def eager(model: Any, sampler: str, steps: int) -> Any:
    return fastdiff.compile(model, sampler, steps, backend="eager")


@pytest.mark.parametrize("graph", ["while", "launches", "off"])
@pytest.mark.parametrize(
    "sampler", ["ddim", "ddpm", "dpmpp_2m_sde", "dpmpp_3m", "unipc", "lms", "plms", "heun"]
)
def test_images_equal_eagers(tiny_model: Any, engine_on: Any, sampler: str, graph: str) -> None:
    engine, _ = engine_on(sampler, 6, graph=graph)
    request = {"n": 3, "seed": 7, "context": ["a", "b", "c"], "guidance": [1.0, 2.0, 3.5]}
    expected = eager(tiny_model, sampler, 6).sample(**request)
    got = engine.sample(**request)
    np.testing.assert_allclose(got.images, expected.images, rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(got.rows, expected.rows)


REQUESTS: dict[str, dict[str, Any]] = {
    "one": {"n": 1},
    "five, padded to six": {"n": 5, "context": "a"},
    "rescaled": {"n": 2, "context": "a", "guidance": 4.0, "guidance_rescale": [0.0, 0.7]},
    "guided for a while": {"n": 2, "context": "b", "guidance": 3.0, "guidance_until": 0.5},
    "given x_T": {"n": 2, "x_T": np.linspace(-1, 1, 2 * 192).reshape(2, 3, 8, 8)},
    "from an image": {"image": np.linspace(-1, 1, 2 * 192).reshape(2, 3, 8, 8), "strength": 0.6},
    "a mask": {
        "image": np.linspace(-1, 1, 192).reshape(1, 3, 8, 8),
        "mask": np.arange(64).reshape(8, 8) % 3 / 2,
    },
    "in chunks": {"n": 7, "batch_size": 3, "context": "c"},
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m_sde"])
def test_requests_equal_eagers(tiny_model: Any, engine_on: Any, sampler: str, name: str) -> None:
    engine, _ = engine_on(sampler, 6)
    expected = eager(tiny_model, sampler, 6).sample(seed=3, **REQUESTS[name])
    got = engine.sample(seed=3, **REQUESTS[name])
    np.testing.assert_allclose(got.images, expected.images, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_reduced_precision_stays_as_near_as_autocast(
    tiny_model: Any, engine_on: Any, dtype: str
) -> None:
    request = {"n": 4, "seed": 1, "context": "a"}
    exact = fastdiff.compile(tiny_model, "ddim", 5, backend="eager", dtype="float64")
    reduced = fastdiff.compile(tiny_model, "ddim", 5, backend="eager", dtype="bfloat16")
    engine, _ = engine_on("ddim", 5, dtype=dtype)
    want = exact.sample(**request).images
    allowed = np.sqrt(np.mean((reduced.sample(**request).images - want) ** 2))
    error = np.sqrt(np.mean((engine.sample(**request).images - want) ** 2))
    assert 0 < error <= 2 * allowed


@pytest.mark.parametrize("graph", ["while", "off"])
def test_previews_are_those_of_eager(tiny_model: Any, engine_on: Any, graph: str) -> None:
    def seen(engine: Any) -> list[Any]:
        steps: list[Any] = []

        def on_step(step: Any) -> None:
            steps.append((step.row, step.x, step.x0, step.seeds))

        engine.sample(3, 5, on_step=on_step, every=2)
        return steps

    engine, _ = engine_on("dpmpp_2m_sde", 5, graph=graph)
    for got, want in zip(seen(engine), seen(eager(tiny_model, "dpmpp_2m_sde", 5)), strict=True):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE)


def test_a_kept_step_can_be_asked_later(engine_on: Any) -> None:
    engine, _ = engine_on("ddim", 4)
    kept: list[Any] = []
    engine.sample(2, 5, on_step=kept.append)
    first = [step.x0.copy() for step in kept]
    engine.sample(2, 99)
    again: list[Any] = []
    engine.sample(2, 5, on_step=again.append)
    for step, x0 in zip(again, first, strict=True):
        np.testing.assert_array_equal(step.x0, x0)


@pytest.mark.parametrize("graph", ["while", "off"])
def test_cancelling_gives_the_row_at_which_it_was(
    tiny_model: Any, engine_on: Any, graph: str
) -> None:
    engine, _ = engine_on("ddpm", 6, graph=graph)
    got = engine.sample(2, 5, on_step=lambda step: step.row < 3)
    want = eager(tiny_model, "ddpm", 6).sample(2, 5, on_step=lambda step: step.row < 3)
    assert not got.complete
    assert got.rows.tolist() == [3, 3]
    np.testing.assert_allclose(got.images, want.images, rtol=0, atol=TOLERANCE)
    assert engine.sample(2, 5).complete


def test_a_callback_that_raises_leaves_the_engine_usable(engine_on: Any) -> None:
    engine, _ = engine_on("ddim", 4)

    def on_step(step: Any) -> bool:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        engine.sample(2, 5, on_step=on_step)
    assert engine.sample(2, 5).complete


def test_previews_beyond_their_memory_are_walked(
    tiny_model: Any, engine_on: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastdiff.backends.cuda_runner.PREVIEW_BYTES", 1000)
    engine, device = engine_on("ddim", 4, graph="while")
    steps: list[Any] = []
    got = engine.sample(2, 5, on_step=steps.append)
    want = eager(tiny_model, "ddim", 4).sample(2, 5)
    np.testing.assert_allclose(got.images, want.images, rtol=0, atol=TOLERANCE)
    assert [step.row for step in steps] == [1, 2, 3, 4]
    assert device.launches == 0


def test_what_differs_between_requests_needs_no_new_capture(engine_on: Any) -> None:
    engine, device = engine_on("ddim", 5, graph="while")
    engine.sample(3, 1, context="a")
    assert device.captures == 2  # start and step
    for sampler, steps in (("ddpm", 7), ("unipc", 4), ("ddim", 900)):
        engine.sample(3, 2, context="b", sampler=sampler, steps=steps if steps < 100 else 20)
    assert device.captures == 2
    captures = engine._runner.captures
    assert (captures.hits, captures.misses, len(captures)) == (3, 1, 1)
    engine.sample(3, 1, context="a", guidance=2.0)
    engine.sample(4, 1, context="a")
    assert (device.captures, captures.misses) == (6, 3)
    assert "3 captures" in engine._runner.describe()
    assert captures.bytes_held > 0


def test_a_longer_table_gets_room(tiny_model: Any, engine_on: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("fastdiff.cuda.buckets.MIN_ROWS", 8)
    engine, device = engine_on("ddim", 3)
    engine.sample(1, 1)
    got = engine.sample(1, 1, steps=9)
    want = eager(tiny_model, "ddim", 9).sample(1, 1)
    np.testing.assert_allclose(got.images, want.images, rtol=0, atol=TOLERANCE)
    assert device.captures == 4


def test_auto_measures_and_says_what_it_chose(engine_on: Any) -> None:
    engine, device = engine_on("ddim", 3, device={"graph_seconds": 1e-3, "bare_seconds": 2e-3})
    engine.sample(1, 1)
    assert device.measured == 2
    assert "graph, while, 5 nodes, 125 us a step, 250 without it" in engine._runner.describe()
    engine, device = engine_on("ddim", 3, device={"graph_seconds": 3e-3, "bare_seconds": 2e-3})
    engine.sample(1, 1)
    assert "no graph: it takes 375 us a step, 250 without it" in engine._runner.describe()
    assert device.closed == 1
    before = device.launches
    engine.sample(1, 2)
    assert device.launches == before


def test_what_cannot_be_captured_runs_without_and_says_why(tiny_model: Any, engine_on: Any) -> None:
    refusal = "model: it cannot be captured (operation not permitted when stream is capturing)"
    engine, device = engine_on("ddim", 4, device={"refusal": refusal})
    got = engine.sample(2, 1)
    np.testing.assert_allclose(
        got.images, eager(tiny_model, "ddim", 4).sample(2, 1).images, rtol=0, atol=TOLERANCE
    )
    assert f"no graph: {refusal}" in engine._runner.describe()
    engine, device = engine_on("ddim", 4, device={"refusal": refusal}, graph="while")
    with pytest.raises(FastdiffError, match=r"^model: it cannot be captured \(operation"):
        engine.sample(2, 1)
    assert len(engine._runner.captures) == 0
    device.refusal = ""
    assert engine.sample(2, 1).complete


def test_many_threads_share_a_runner(tiny_model: Any, engine_on: Any) -> None:
    engine, _ = engine_on("ddim", 3, graph="while")
    want = {n: eager(tiny_model, "ddim", 3).sample(n, n).images for n in (1, 2, 3)}
    got: list[tuple[int, Any]] = []

    def work(n: int) -> None:
        got.append((n, engine.sample(n, n).images))

    threads = [threading.Thread(target=work, args=(1 + k % 3,)) for k in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 9
    for n, images in got:
        np.testing.assert_allclose(images, want[n], rtol=0, atol=TOLERANCE)


def test_evicted_sessions_are_closed(engine_on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastdiff.backends.cuda_runner.MAX_CAPTURES", 2)
    engine, device = engine_on("ddim", 3, graph="while")
    for n in (1, 2, 3, 1):
        engine.sample(n, 1)
    captures = engine._runner.captures
    assert (captures.evicted, captures.misses, device.closed) == (2, 4, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"graph": "yes"}, "^graph: expected one of auto, while, launches, off, got 'yes'$"),
        ({"dtype": "int8"}, "^dtype: expected one of float32, tf32, .*got 'int8'$"),
        ({"threads": 2}, "^threads: backend 'cuda' takes device, dtype, .* for this model$"),
        ({"device": "cpu"}, "^device: expected 'cuda' or 'cuda:K', got 'cpu'$"),
    ],
)
def test_wrong_options_are_named(tiny_model: Any, options: dict[str, Any], message: str) -> None:
    from fastdiff.backends.cuda import BACKEND

    with pytest.raises(FastdiffError, match=message):
        BACKEND.prepare(tiny_model, **options)
