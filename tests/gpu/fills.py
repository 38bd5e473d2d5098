"""The two noise kernels under one signature. Run as a program: every size and kind of both, for
compute-sanitizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


def on_gpu(values: np.ndarray[Any, Any]) -> Any:
    """Unsigned integers as a signed tensor of the same bits on the GPU."""
    import torch

    return torch.from_numpy(values.view(f"i{values.itemsize}").copy()).cuda()


def _into_cuda(kind: str, out: Any, seeds: Any, steps: Any, stream: int, first: int = 0) -> None:
    import torch

    from fastdiff import _native

    getattr(_native, f"cuda_noise_{kind}")(
        seeds.data_ptr(),
        steps.data_ptr(),
        seeds.shape[0],
        stream,
        out.shape[1],
        first,
        out.data_ptr(),
        torch.cuda.current_stream().cuda_stream,
    )


def _into_triton(kind: str, out: Any, seeds: Any, steps: Any, stream: int) -> None:
    from fastdiff.kernels import noise

    getattr(noise, kind)(seeds, steps, stream, out.shape[1], out=out)


@dataclass(frozen=True)
class Fill:
    """``into`` fills a tensor from tensors on the GPU; calling it makes one from NumPy arrays."""

    name: str
    into: Any

    def __repr__(self) -> str:
        return self.name

    def __call__(
        self,
        kind: str,
        seeds: np.ndarray[Any, Any],
        steps: np.ndarray[Any, Any],
        stream: int,
        count: int,
        *first: int,
    ) -> Any:
        import torch

        dtype = torch.uint32 if kind == "words" else torch.float32
        out = torch.empty(len(seeds), count, dtype=dtype, device="cuda")
        self.into(kind, out, on_gpu(seeds), on_gpu(steps), stream, *first)
        return out


cuda = Fill("cuda", _into_cuda)
triton = Fill("triton", _into_triton)


def main() -> None:
    import torch

    seeds = np.array([1, 2**40, 2**64 - 1], dtype=np.uint64)
    steps = np.array([0, 1, 2**32 - 1], dtype=np.uint32)
    for fill in (cuda, triton):
        for kind in ("words", "uniform", "normal"):
            for n in (1, 3):
                for count in (1, 3, 4, 5, 768, 1000, 1028):
                    fill(kind, seeds[:n], steps[:n], 1, count)
    torch.cuda.synchronize()
    print(f"{Path(__file__).name}: done")


if __name__ == "__main__":
    main()
