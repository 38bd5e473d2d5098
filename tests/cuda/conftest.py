"""Models for the cuda backend, run on a device that is none."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

if any(importlib.util.find_spec(name) is None for name in ("torch", "triton")):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def traced() -> Any:
    """``lower``, but each model only once: tracing is what takes the time here."""
    from fastdiff.program.lower import lower

    known: dict[int, Any] = {}

    def once(model: Any) -> Any:
        if id(model) not in known:
            known[id(model)] = (model, lower(model))  # the model too: its id is then its own
        return known[id(model)][1]

    return once


@pytest.fixture
def runner_of(tiny_model: Any, traced: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function: options of the backend and of the fake device -> (runner, device)."""
    from fastdiff.backends.cuda import runner_of as make
    from tests.cuda.fake_device import FakeDevice

    monkeypatch.setattr("fastdiff.cuda.network.lower", traced)

    def build(model: Any = None, device: dict[str, Any] | None = None, **options: Any) -> Any:
        fake = FakeDevice(**(device or {}))
        return make(tiny_model if model is None else model, fake, **options), fake

    return build


@pytest.fixture
def engine_on(runner_of: Any, tiny_model: Any) -> Any:
    """A function: an engine of the tiny model whose runner is on a fake device."""
    import fastdiff

    def build(sampler: str = "ddim", steps: int = 5, **options: Any) -> Any:
        engine = fastdiff.compile(tiny_model, sampler, steps, backend="eager")
        engine._runner, device = runner_of(**options)
        return engine, device

    return build
