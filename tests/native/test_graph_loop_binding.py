"""fastdiff._native.GraphLoop without a GPU: wrong arguments are named, and CUDA's absence told."""

from __future__ import annotations

from typing import Any

import pytest

native = pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")

# The addresses are never read where the tests that use them run: something else is wrong first.
GOOD: dict[str, Any] = {
    "step": 4096,
    "start": 8192,
    "rows": 4096,
    "batch": 3,
    "count": 4096,
    "x": 4096,
    "elements": 12,
    "x0": 4096,
    "previews": 4096,
    "x0_previews": 4096,
    "schedule": 4096,
    "mode": "auto",
}
NUMBERS = [name for name in GOOD if name != "mode"]
NEEDED = ("step", "rows", "batch", "count", "x", "elements")
WRONG: list[tuple[dict[str, Any], str]] = [
    *(({name: -1}, f"{name}: expected a whole number from ") for name in NUMBERS),
    *(({name: "7"}, f"{name}: expected a whole number from ") for name in NUMBERS),
    *(({name: True}, f"{name}: expected a whole number from ") for name in NUMBERS),
    *(({name: 2**63}, f"{name}: expected a whole number from ") for name in NUMBERS),
    *(({name: None}, f"{name}: expected a whole number from ") for name in NEEDED),
    *(
        ({name: 4098}, f"{name}: expected a multiple of 4, got 4098")
        for name in ("rows", "count", "x", "x0", "previews", "x0_previews", "schedule")
    ),
    ({"step": 0}, "step: expected a captured graph, got 0"),
    ({"rows": 0}, "rows: expected a device address, got 0"),
    ({"count": 0}, "count: expected a device address, got 0"),
    ({"x": 0}, "x: expected a device address, got 0"),
    ({"batch": 0}, "batch: expected a whole number from 1 to 9223372036854775807, got 0 (int)"),
    ({"batch": 2**30}, "batch: expected 1 to 1073741823, got 1073741824"),
    ({"elements": 2**50}, "elements: expected 1 to 366503875925, got 1125899906842624"),
    ({"x0": None}, "x0: expected a device address, got 0"),
    ({"x0_previews": None}, "x0_previews: expected a device address, got 0"),
    ({"schedule": None}, "schedule: expected a device address, got 0"),
    (
        {"x0": None, "previews": None, "x0_previews": None},
        "schedule: expected none without previews or x0_previews, got 4096",
    ),
    ({"mode": "graph"}, "mode: expected 'auto', 'while' or 'launches', got 'graph'"),
    ({"mode": ""}, "mode: expected 'auto', 'while' or 'launches', got ''"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_wrong_argument_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        native.GraphLoop(**{**GOOD, **change})
    assert str(error.value).startswith(message)


def test_an_argument_of_another_type_or_name_is_refused() -> None:
    with pytest.raises(TypeError, match="incompatible constructor arguments"):
        native.GraphLoop(**{**GOOD, "mode": None})
    with pytest.raises(TypeError, match="incompatible constructor arguments"):
        native.GraphLoop(**GOOD, stream=0)


@pytest.mark.parametrize("mode", ["auto", "while", "launches"])
def test_without_cuda_the_constructor_says_why(mode: str) -> None:
    reason = native.cuda_status()
    if reason is None:
        pytest.skip("CUDA is usable here: tests/gpu runs the loop itself")
    with pytest.raises(ValueError, match=r"^[^.\n]") as error:
        native.GraphLoop(**{**GOOD, "mode": mode})
    assert str(error.value) == reason
    assert reason.endswith(".")
    assert "\n" not in reason


def test_the_arguments_that_may_be_left_out() -> None:
    reason = native.cuda_status()
    if reason is None:
        pytest.skip("CUDA is usable here: the addresses would be read")
    with pytest.raises(ValueError, match=r"^[^.\n]") as error:
        native.GraphLoop(step=4096, start=None, rows=4, batch=1, count=4, x=4, elements=1)
    assert str(error.value) == reason  # and no complaint about an argument


def test_the_docstrings_say_who_keeps_what_alive() -> None:
    doc = native.GraphLoop.__doc__
    assert "The caller keeps the tensors and the captured graphs" in doc
    for name in ("launch", "wait", "cancel", "close", "rows_done", "mode", "node_count"):
        assert getattr(native.GraphLoop, name).__doc__
