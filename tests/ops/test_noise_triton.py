"""kernels/noise.py in Triton's interpreter against the golden vectors and fastdiff.noise.

Run by test_interpreted.py, or by itself: TRITON_INTERPRET=1 pytest tests/ops/test_noise_triton.py
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("needs TRITON_INTERPRET=1", allow_module_level=True)

import torch
import triton
import triton.language as tl

from fastdiff import FastdiffError, noise
from fastdiff.kernels import noise as kernels
from fastdiff.kernels.philox import box_muller, philox4x32
from tests.conftest import golden_lines

SEEDS = [0, 2**64 - 1, 0x0123456789ABCDEF]
STEPS = np.array([0, 2**32 - 1, 17], dtype=np.uint32)
COUNTS = (0, 1, 3, 4, 5, 768, 1000, 4 * kernels.BLOCK + 4)
FILLS = (kernels.words, kernels.uniform, kernels.normal)


def tensor(values: np.ndarray[Any, Any]) -> torch.Tensor:
    """Unsigned integers as a signed tensor of the same bits."""
    return torch.from_numpy(values.view(f"i{values.itemsize}").copy())


def seeds(n: int = 3) -> torch.Tensor:
    return tensor(np.array(SEEDS[:n], dtype=np.uint64))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("n", [0, 1, 3])
@pytest.mark.parametrize("step", [0, 1, 2**31, 2**32 - 1, STEPS], ids=str)
def test_equals_the_reference(n: int, count: int, step: Any) -> None:
    one_each = isinstance(step, np.ndarray)
    where = (noise.as_seeds(SEEDS[:n]), step[:n] if one_each else step, 1, count)
    got_step = tensor(step[:n]) if one_each else step
    got = kernels.words(seeds(n), got_step, 1, count)
    assert got.dtype == torch.uint32
    np.testing.assert_array_equal(got.numpy(), noise.words(*where))
    got = kernels.uniform(seeds(n), got_step, 1, count)
    np.testing.assert_array_equal(got.numpy(), noise.uniform(*where))
    got = kernels.normal(seeds(n), got_step, 1, count)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(
        got.numpy(), noise.normal(*where), rtol=0, atol=noise.NORMAL_TOLERANCE
    )


def test_equals_the_golden_vectors() -> None:
    table: dict[tuple[int, int, int], list[tuple[int, int, int, float]]] = {}
    for seed, step, stream, element, word, bits, normal in golden_lines("noise.txt"):
        if int(element) < 1000:  # the wrapper starts at element 0
            rows = table.setdefault((int(seed, 16), int(step), int(stream)), [])
            rows.append((int(element), int(word, 16), int(bits, 16), float(normal)))
    assert len(table) == 54
    for (seed, step, stream), rows in table.items():
        elements, words, bits, normals = (np.array(column) for column in zip(*rows, strict=True))
        where = (tensor(np.array([seed], np.uint64)), step, stream, 768)
        got_words, got_u, got_z = (fill(*where).numpy()[0, elements] for fill in FILLS)
        np.testing.assert_array_equal(got_words, words)
        np.testing.assert_array_equal(got_u.view(np.uint32), bits)
        np.testing.assert_allclose(got_z, normals, rtol=0, atol=noise.NORMAL_TOLERANCE)


@triton.jit
def philox_rows(counters, keys, out):
    row = tl.program_id(0)
    c = counters + row * 4
    a, b, c, d = philox4x32(
        tl.load(c), tl.load(c + 1), tl.load(c + 2), tl.load(c + 3),
        tl.load(keys + row * 2), tl.load(keys + row * 2 + 1),
    )  # fmt: skip
    tl.store(out + row * 4, a)
    tl.store(out + row * 4 + 1, b)
    tl.store(out + row * 4 + 2, c)
    tl.store(out + row * 4 + 3, d)


def test_philox_gives_the_published_random123_vectors() -> None:
    rows = [[int(v, 16) for v in line] for line in golden_lines("philox4x32_10.txt")]
    table = torch.from_numpy(np.array(rows, dtype=np.uint32))
    out = torch.zeros(len(rows), 4, dtype=torch.uint32)
    philox_rows[(len(rows),)](table[:, :4].contiguous(), table[:, 4:6].contiguous(), out)
    np.testing.assert_array_equal(out.numpy(), table[:, 6:].numpy())


@triton.jit
def box_muller_rows(u0, u1, z0, z1, N: tl.constexpr):
    i = tl.program_id(0) * N + tl.arange(0, N)
    a, b = box_muller(tl.load(u0 + i), tl.load(u1 + i))
    tl.store(z0 + i, a)
    tl.store(z1 + i, b)


def test_box_muller_stays_within_the_bound_over_all_of_u() -> None:
    n = 2**20
    rng = np.random.default_rng(0)
    w = rng.integers(0, 2**32, (2, n), dtype=np.uint64) >> rng.integers(0, 33, (2, n), np.uint64)
    edges = np.array([0, 1, 2**29, 2**30, 3 * 2**29, 2**31, 3 * 2**30, 2**32 - 1], np.uint64)
    near = np.clip(edges[:, None].astype(np.int64) + np.arange(-512, 512), 0, 2**32 - 1).ravel()
    w[0, : near.size], w[1, -near.size :] = near, near
    u = noise.uniform_from_words(w.astype(np.uint32))
    expected = noise.normal_from_uniform(u.T.copy()).astype(np.float64)
    z = torch.empty(2, n)
    box_muller_rows[(n // 2**16,)](*torch.from_numpy(u), z[0], z[1], N=2**16)
    error = np.abs(z.numpy().T - expected).max(axis=1)
    # What is left for sqrt.approx.f32, 2**-23 of the radius: the interpreter's sqrt is exact.
    radius = np.sqrt(-2 * np.log(u[0].astype(np.float64)))
    assert (error + radius * 2**-23).max() <= noise.NORMAL_TOLERANCE


def test_a_sample_does_not_depend_on_its_neighbours_or_on_count() -> None:
    whole = kernels.normal(seeds(), tensor(STEPS), 2, 1000)
    alone = kernels.normal(seeds()[2:], 17, 2, 13)
    torch.testing.assert_close(alone[0], whole[2, :13], rtol=0, atol=0)


def test_out_is_written_and_strided_inputs_are_taken() -> None:
    expected = kernels.normal(seeds(), tensor(STEPS), 1, 9)
    out = torch.full((5, 9), 7.0)
    wide_seeds, wide_steps = (
        torch.stack([t, t], 1)[:, 0] for t in (seeds(), tensor(STEPS).to(torch.int64))
    )
    assert not wide_seeds.is_contiguous()
    got = kernels.normal(wide_seeds, wide_steps, 1, 9, out=out[1:4])
    assert got.data_ptr() == out[1:4].data_ptr()
    torch.testing.assert_close(out[1:4], expected, rtol=0, atol=0)
    assert (out[[0, 4]] == 7).all()


WRONG = [
    ({"seeds": [1, 2, 3]}, r"^seeds: expected a tensor of int64 \[n\], got \[1, 2, 3\]$"),
    ({"seeds": torch.zeros(3)}, r"^seeds: .*got float32 \[3\]$"),
    ({"seeds": torch.zeros(3, 1, dtype=torch.int64)}, r"^seeds: .*got int64 \[3, 1\]$"),
    ({"step": -1}, "^step: expected an integer from 0 to 4294967295, got -1$"),
    ({"step": 2**32}, "^step: .*got 4294967296$"),
    ({"step": True}, "^step: .*got True$"),
    ({"step": 1.0}, "^step: .*got 1.0$"),
    (
        {"step": torch.zeros(2, dtype=torch.int32)},
        r"^step: .*int32 or int64 \[3\], got int32 \[2\]$",
    ),
    ({"step": torch.zeros(3)}, r"^step: .*got float32 \[3\]$"),
    ({"step": torch.zeros(3, dtype=torch.int32, device="meta")}, "^step: expected a tensor on cpu"),
    ({"stream": -1}, "^stream: .*got -1$"),
    ({"stream": 2**32}, "^stream: .*got 4294967296$"),
    ({"count": -1}, "^count: expected an integer from 0 to 17179869184, got -1$"),
    ({"count": "8"}, "^count: .*got '8'$"),
    (
        {"out": torch.zeros(3, 7)},
        r"^out: expected a tensor of float32 \[3, 8\], got float32 \[3, 7\]",
    ),
    ({"out": torch.zeros(3, 8, dtype=torch.float64)}, r"^out: .*got float64 \[3, 8\]$"),
    ({"out": torch.zeros(8, 3).T}, r"^out: expected a contiguous tensor, got strides \(1, 3\)$"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[next(iter(c)) for c, _ in WRONG])
def test_a_wrong_argument_is_named(change: dict[str, Any], message: str) -> None:
    good = {"seeds": seeds(), "step": 0, "stream": 0, "count": 8}
    with pytest.raises(FastdiffError, match=message):
        kernels.normal(**{**good, **change})


def test_without_interpreter_or_gpu_the_call_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "INTERPRETED", False)
    with pytest.raises(
        FastdiffError, match=r"^seeds: expected a tensor on a CUDA device .* on cpu$"
    ):
        kernels.normal(seeds(), 0, 0, 8)


@pytest.mark.parametrize("kind", list(kernels.KINDS))
@pytest.mark.parametrize("steps", [None, tensor(STEPS)], ids=["step", "steps"])
def test_the_ops_pass_opcheck(kind: str, steps: torch.Tensor | None) -> None:
    make, fill = kernels.OPS[kind]
    torch.library.opcheck(make, (seeds(), steps, 3, 1, 8))
    out = torch.zeros(3, 8, dtype=kernels.KINDS[kind])
    torch.library.opcheck(fill, (out, seeds(), steps, 3, 1))


class Noisy(torch.nn.Module):
    def forward(self, x: torch.Tensor, seeds: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        return x + kernels.normal(seeds, steps, 1, x.shape[1])


def test_export_keeps_the_op_whole_for_any_batch() -> None:
    inputs = (torch.zeros(3, 12), seeds(), tensor(STEPS))
    batch = torch.export.Dim("batch")
    exported = torch.export.export(Noisy(), inputs, dynamic_shapes=[{0: batch}] * 3)
    calls = [node for node in exported.graph.nodes if node.op == "call_function"]
    assert [str(node.target) for node in calls if "fastdiff" in str(node.target)] == [
        "fastdiff.noise_normal.default"
    ]
    other = (torch.ones(2, 12), seeds(2), tensor(STEPS[:2]))
    torch.testing.assert_close(exported.module()(*other), Noisy()(*other), rtol=0, atol=0)


def test_compiled_modules_call_the_op() -> None:
    inputs = (torch.zeros(3, 12), seeds(), tensor(STEPS))
    compiled = torch.compile(Noisy(), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*inputs), Noisy()(*inputs), rtol=0, atol=0)
