"""Normals per second: fastdiff on the CPU and the GPU, NumPy and torch, and what memory allows.

    python benchmarks/noise.py --out benchmarks/results [--seconds 0.3] [--rounds 9]

On the CPU a call returns a new array; on the GPU it fills one that is there. How the contestants
take turns and how the table reads: turns.py.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from turns import ALL, CUDA, ONE, Calls, installed, run

SIZES = ((64, 3072), (4096, 3072))


def cpu_calls(n: int, count: int) -> Calls:
    """What runs on the CPU, by name."""
    calls: Calls = {}
    if installed("fastdiff._native"):
        from fastdiff import _native

        seeds = np.arange(n, dtype=np.uint64)
        for threads, where in ((1, ONE), (0, ALL)):
            calls[f"fastdiff native {_native.isa()}", where, "ours", 4] = partial(
                _native.noise_normal, seeds, 3, 1, count, threads=threads
            )
    for bits in (np.random.PCG64, np.random.SFC64, np.random.Philox):
        draw = np.random.Generator(bits(0)).standard_normal
        calls[f"numpy {bits.__name__}", ONE, "peer", 4] = partial(draw, (n, count), np.float32)
    a, b = np.zeros((2, n, count), np.float32)
    calls["memset (numpy fill)", ONE, "roofline", 4] = partial(a.fill, 1.0)
    calls["memcpy (numpy copyto)", ONE, "roofline", 8] = partial(np.copyto, b, a)
    if installed("torch"):
        import torch

        c, d = torch.zeros(2, n, count)
        # One thread makes torch's normals, however many there are.
        calls["torch.randn", ONE, "peer", 4] = partial(torch.randn, n, count)
        calls["memset (torch fill_)", ALL, "roofline", 4] = partial(c.fill_, 1.0)
        calls["memcpy (torch copy_)", ALL, "roofline", 8] = partial(d.copy_, c)
    return calls


def cuda_calls(n: int, count: int) -> Calls:
    """What runs on the GPU, by name."""
    import torch

    calls: Calls = {}
    seeds = torch.arange(n, device="cuda")
    steps = torch.full((n,), 3, dtype=torch.int32, device="cuda")
    out, source = torch.zeros(2, n, count, device="cuda")
    if installed("fastdiff._native"):
        from fastdiff import _native

        def native() -> None:
            stream = torch.cuda.current_stream().cuda_stream
            rows = (seeds.data_ptr(), steps.data_ptr(), n)
            _native.cuda_noise_normal(*rows, 1, count, 0, out.data_ptr(), stream)

        if _native.cuda_status() is None:
            calls["fastdiff CUDA", CUDA, "ours", 4] = native
    if installed("triton"):
        from fastdiff.kernels import noise

        calls["fastdiff Triton", CUDA, "ours", 4] = partial(
            noise.normal, seeds, steps, 1, count, out=out
        )
    calls["torch.randn", CUDA, "peer", 4] = partial(torch.randn, n, count, out=out)
    calls["device fill", CUDA, "roofline", 4] = partial(out.fill_, 1.0)
    calls["device copy", CUDA, "roofline", 8] = partial(out.copy_, source)
    return calls


def calls(size: tuple[int, ...], device: str) -> Calls:
    return cpu_calls(*size) if device == "cpu" else cuda_calls(*size)


if __name__ == "__main__":
    run("noise", "M normals/s", SIZES, calls)
