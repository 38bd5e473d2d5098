"""The noise on a GPU, by the CUDA kernel and by Triton's: golden vectors, fastdiff.noise, capture,
memory; and the images of the eager engine there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdiff import noise
from tests.conftest import ROOT, golden_lines
from tests.gpu.conftest import require_gpu

require_gpu()

from tests.gpu import fills

SEEDS = np.array([0, 2**64 - 1, 0x0123456789ABCDEF], dtype=np.uint64)
STEPS = np.array([0, 2**32 - 1, 17], dtype=np.uint32)
COUNTS = (0, 1, 3, 4, 5, 768, 1000, 1028, 12_288)
KINDS = ("words", "uniform", "normal")
REFERENCE = {"words": noise.words, "uniform": noise.uniform, "normal": noise.normal}

each_fill = pytest.mark.parametrize("fill", [fills.cuda, fills.triton])
each_kind = pytest.mark.parametrize("kind", KINDS)


def check(kind: str, got: Any, expected: np.ndarray[Any, Any]) -> None:
    """Words and uniforms equal bit for bit, normals to the contract's tolerance."""
    values = got.cpu().numpy()
    if kind == "normal":
        np.testing.assert_allclose(values, expected, rtol=0, atol=noise.NORMAL_TOLERANCE)
    else:
        np.testing.assert_array_equal(values, expected)


@each_fill
@each_kind
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("n", [0, 1, 3])
def test_equals_the_reference(fill: fills.Fill, kind: str, n: int, count: int) -> None:
    got = fill(kind, SEEDS[:n], STEPS[:n], 1, count)
    check(kind, got, REFERENCE[kind](SEEDS[:n], STEPS[:n], 1, count))


@each_fill
def test_equals_the_golden_vectors(fill: fills.Fill) -> None:
    by_stream: dict[int, list[list[str]]] = {}
    for line in golden_lines("noise.txt"):
        if int(line[3]) < 1000:  # the farther blocks: test_far_elements
            by_stream.setdefault(int(line[2]), []).append(line)
    for stream, lines in by_stream.items():
        seeds = np.array([int(line[0], 16) for line in lines], dtype=np.uint64)
        steps = np.array([int(line[1]) for line in lines], dtype=np.uint32)
        element = np.array([int(line[3]) for line in lines])
        rows = np.arange(len(lines))
        words, u, z = (fill(kind, seeds, steps, stream, 768).cpu().numpy() for kind in KINDS)
        bits = u[rows, element].view(np.uint32)
        np.testing.assert_array_equal(words[rows, element], [int(line[4], 16) for line in lines])
        np.testing.assert_array_equal(bits, [int(line[5], 16) for line in lines])
        normals = np.array([float(line[6]) for line in lines])
        np.testing.assert_allclose(z[rows, element], normals, rtol=0, atol=noise.NORMAL_TOLERANCE)


@each_fill
def test_far_elements(fill: fills.Fill) -> None:
    # Beyond both kernels' largest grid in this direction: 2^26 elements.
    count = 2**26 + 2**16 + 4
    got = fill("words", SEEDS[:1], STEPS[2:], 2, count)
    for first in (0, 2**22, 2**26 - 1024, count - 1024):
        expected = noise.words(SEEDS[:1], STEPS[2:], 2, 1024, first)
        np.testing.assert_array_equal(got[:, first : first + 1024].cpu().numpy(), expected)


def test_first_element_of_the_cuda_kernel() -> None:
    for first in (4, 764, 2**22, 2**34 - 8):
        got = fills.cuda("normal", SEEDS, STEPS, 1, 8, first)
        check("normal", got, noise.normal(SEEDS, STEPS, 1, 8, first))


@each_kind
def test_both_kernels_agree_on_a_whole_batch(kind: str) -> None:
    seeds, steps = noise.as_seeds(5, 257), np.arange(257, dtype=np.uint32)
    ours, theirs = (fill(kind, seeds, steps, 1, 3072) for fill in (fills.cuda, fills.triton))
    check(kind, ours, theirs.cpu().numpy())
    check(kind, ours, REFERENCE[kind](seeds, steps, 1, 3072))


@each_fill
def test_captured_in_a_graph_the_steps_are_read_anew(fill: fills.Fill) -> None:
    import torch

    seeds, steps = fills.on_gpu(SEEDS), fills.on_gpu(STEPS)
    out = torch.empty(3, 768, device="cuda")
    fill.into("normal", out, seeds, steps, 1)  # compiles, so that the capture does not
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        fill.into("normal", out, seeds, steps, 1)
        steps.add_(1)
    for step in range(3):
        steps.copy_(fills.on_gpu(STEPS + np.uint32(step)))
        graph.replay()
        torch.cuda.synchronize()
        check("normal", out, noise.normal(SEEDS, STEPS + np.uint32(step), 1, 768))


@each_fill
def test_repeated_launches_take_no_more_memory(fill: fills.Fill) -> None:
    import torch

    seeds, steps = fills.on_gpu(SEEDS), fills.on_gpu(STEPS)
    out = torch.empty(3, 100_000, device="cuda")

    def launch() -> None:
        for kind in ("uniform", "normal"):
            fill.into(kind, out, seeds, steps, 1)

    launch()
    torch.cuda.synchronize()
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    free_bytes, _ = torch.cuda.mem_get_info()
    for _ in range(200):
        launch()
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == allocated
    assert torch.cuda.memory_reserved() == reserved
    # Others may use the GPU too; 200 launches that kept even 0.1 MB each would show.
    assert free_bytes - torch.cuda.mem_get_info()[0] < 16 * 2**20


@pytest.fixture
def full_float32() -> Iterator[None]:
    """Convolutions and products in float32 itself, not in TF32."""
    import torch

    places = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "ieee"
    yield
    for place, precision in zip(places, before, strict=True):
        place.fp32_precision = precision


@pytest.mark.usefixtures("full_float32")
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_eager_images_equal_those_of_the_cpu(tiny_model: Any, sampler: str) -> None:
    import fastdiff

    images = []
    for device in ("cpu", "cuda"):
        engine = fastdiff.compile(tiny_model, sampler, 10, backend="eager", device=device)
        images.append(engine.sample(n=5, seed=3, context="a", guidance=2.0).images)
    np.testing.assert_allclose(images[1], images[0], rtol=0, atol=1e-4)


def test_memcheck_finds_nothing() -> None:
    tool = shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path="/usr/local/cuda/bin"
    )
    if tool is None:
        pytest.skip("compute-sanitizer is not on PATH")
    run = subprocess.run(
        [
            tool,
            "--tool",
            "memcheck",
            "--error-exitcode",
            "9",
            sys.executable,
            "-m",
            "tests.gpu.fills",
        ],
        check=False,  # told by the assertion, with the tool's own words
        cwd=ROOT,
        # Each tensor in an allocation of its own: a store past its end is then seen.
        env={**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    assert f"{Path(fills.__file__).name}: done" in run.stdout
