"""Every wrong input to fastdiff._native: a ValueError that names it, and says what came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

native = pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")

SEEDS = np.arange(3, dtype=np.uint64)
FILLS = (native.noise_words, native.noise_uniform, native.noise_normal)
GOOD: dict[str, Any] = {"seeds": SEEDS, "step": 0, "stream": 0, "count": 8}
WRONG: list[tuple[str, Any, str]] = [
    ("seeds", [1, 2, 3], "expected a uint64 array [n], got [1, 2, 3] (list)"),
    ("seeds", 7, "got 7 (int)"),
    ("seeds", SEEDS.astype(np.int64), "got an array of int64 with shape [3]"),
    ("seeds", SEEDS.astype(np.float64), "got an array of float64 with shape [3]"),
    ("seeds", SEEDS.reshape(3, 1), "got an array of uint64 with shape [3, 1]"),
    ("step", -1, "expected a whole number from 0 to 4294967295, got -1 (int)"),
    ("step", 2**32, "got 4294967296 (int)"),
    ("step", 2**70, "got 1180591620717411303424 (int)"),
    ("step", 1.5, "got 1.5 (float)"),
    ("step", True, "got True (bool)"),
    ("step", None, "got None (NoneType)"),
    ("step", np.zeros(2, np.uint32), "expected an int or a uint32 array [3], got an array of"),
    ("step", np.zeros(3, np.int32), "got an array of int32 with shape [3]"),
    ("stream", -1, "expected a whole number"),
    ("stream", "0", "got '0' (str)"),
    ("count", -1, "got -1 (int)"),
    ("count", 2**34 + 1, "from 0 to 17179869184"),
    ("first_element", 6, "expected a multiple of 4, got 6"),
    ("first_element", -4, "got -4 (int)"),
    ("threads", -1, "from 0 to 1024, got -1 (int)"),
    ("threads", 10**6, "got 1000000 (int)"),
]


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_wrong_argument_is_named(fill: Any, name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected") as error:
        fill(**{**GOOD, name: value})
    assert message in str(error.value)


def test_end_of_the_element_range_is_named() -> None:
    with pytest.raises(ValueError, match="count: expected first_element"):
        native.noise_words(**{**GOOD, "first_element": 2**34 - 4})


def test_integers_of_numpy_and_arrays_not_contiguous_are_taken() -> None:
    wide = np.arange(6, dtype=np.uint64)
    got = native.noise_words(wide[::2], np.int64(2), np.uint8(1), np.array(8))
    expected = native.noise_words(wide[::2].copy(), 2, 1, 8)
    np.testing.assert_array_equal(got, expected)
    steps = np.arange(6, dtype=np.uint32)
    got = native.noise_words(SEEDS, steps[::2], 1, 8)
    np.testing.assert_array_equal(got[2], native.noise_words(SEEDS[2:], 4, 1, 8)[0])


@pytest.mark.parametrize("fill", FILLS)
def test_empty_requests(fill: Any) -> None:
    assert fill(SEEDS[:0], 0, 0, 5).shape == (0, 5)
    assert fill(SEEDS, 0, 0, 0).shape == (3, 0)


def test_philox_shapes_are_checked() -> None:
    counter, key = np.zeros((2, 4), np.uint32), np.zeros((2, 2), np.uint32)
    assert native.philox4x32_10(counter, key)[0].tolist() == [
        0x6627E8D5,
        0xE169C58D,
        0xBC57AC4C,
        0x9B00DBD8,
    ]
    with pytest.raises(ValueError, match=r"^counter: expected a uint32 array \[m, 4\]"):
        native.philox4x32_10(counter[:, :3], key)
    with pytest.raises(ValueError, match=r"^key: expected a uint32 array \[2, 2\]"):
        native.philox4x32_10(counter, key[:1])
    with pytest.raises(ValueError, match=r"^key: expected a uint32 array \[m, 2\]"):
        native.philox4x32_10(counter, key.astype(np.int64))


CUDA_FILLS = (native.cuda_noise_words, native.cuda_noise_uniform, native.cuda_noise_normal)
# The addresses are never read where the test that uses them runs: CUDA is not usable there.
CUDA_GOOD: dict[str, Any] = {
    "seeds_ptr": 4096,
    "steps_ptr": 0,
    "n": 3,
    "stream": 0,
    "count": 8,
    "first_element": 0,
    "out_ptr": 8192,
    "cuda_stream": 0,
}
CUDA_WRONG: list[tuple[str, Any, str]] = [
    *((name, -1, "got -1 (int)") for name in CUDA_GOOD),
    *((name, None, "got None (NoneType)") for name in CUDA_GOOD),
    *((name, 2**64, "got 18446744073709551616 (int)") for name in CUDA_GOOD),
    ("seeds_ptr", 0, "expected the address of n seeds, got 0"),
    ("out_ptr", 0, "expected the address of n * count values, got 0"),
    ("stream", 2**32, "from 0 to 4294967295"),
    ("count", 2**34 + 1, "from 0 to 17179869184"),
    ("first_element", 6, "expected a multiple of 4, got 6"),
]


@pytest.mark.parametrize("fill", CUDA_FILLS)
@pytest.mark.parametrize(("name", "value", "message"), CUDA_WRONG)
def test_wrong_argument_of_a_cuda_fill_is_named(
    fill: Any, name: str, value: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected") as error:
        fill(**{**CUDA_GOOD, name: value})
    assert message in str(error.value)


@pytest.mark.parametrize("fill", CUDA_FILLS)
def test_cuda_fills_say_why_cuda_is_unusable(fill: Any) -> None:
    reason = native.cuda_status()
    if reason is None:
        pytest.skip("CUDA is usable here: tests/gpu runs the fills themselves")
    with pytest.raises(RuntimeError) as error:
        fill(**CUDA_GOOD)
    assert str(error.value) == reason
