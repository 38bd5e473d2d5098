"""The main variants of kernels/sampler_start.py."""

from __future__ import annotations

from fastdiff.kernels import sampler_start, sampler_tile

from .kernel import Kernel


def _start(name: str, dtype: str = "fp32", kept: bool = False, dense: bool = True) -> Kernel:
    types = {
        "x": "*fp32",
        "table": "*fp32",
        "seeds": "*i64",
        "init_scale": "*fp32",
        "model_in": f"*{dtype}",
    }
    types |= {"image": "*fp32", "mask": "*fp32"} if kept else {}
    aligned = tuple(types)
    missing = dict.fromkeys(name for name in ("image", "mask") if name not in types)
    integers = ["batch", "size", *(f"in_{axis}" for axis in "bchw")]
    return Kernel(
        f"sampler_start, {name}",
        sampler_start.sampler_start_kernel,
        {**types, **dict.fromkeys(integers, "i32")},
        {
            **missing,
            "FROM_IMAGE": False,
            "NOISE": True,
            "TWICE": not dense,
            "IN_DENSE": dense,
            "PIXELS": 256 if kept or not dense else 1,
            "ROW": 1 if dense else 16,
            "WIDE": True,
            "BIG": False,
            "BLOCK": sampler_tile.BLOCK,
        },
        aligned,
        {"num_warps": sampler_tile.NUM_WARPS, "enable_fp_fusion": False},
    )


CASES = [
    _start("plain"),
    _start("bf16, channels-last", "bf16", dense=False),
    _start("mask and image", kept=True),
]
