"""The variants of kernels/attention.py: dtypes, head sizes, memory orders, key counts."""

from __future__ import annotations

import torch
import triton

from fastdiff.kernels import attention

from .kernel import Kernel

_TYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def _attention(
    dtype: torch.dtype, d: int, channels_first: bool = False, keys: int = 256, tf32: bool = False
) -> Kernel:
    block_d = max(16, triton.next_power_of_2(d))
    cut = attention.tiles(dtype, block_d, 1024, 1024)
    name = f"attention, {_TYPES[dtype]}{' as tf32' if tf32 else ''}, D {d}"
    name += (
        f"{', channels first' if channels_first else ''}{', any keys' if keys % cut.keys else ''}"
    )
    names = [f"{t}_{axis}" for t in "qkv" for axis in ("batch", "head", "n", "d")]
    ones = [f"{t}_{'n' if channels_first else 'd'}" for t in "qkv"]
    integers = ["heads", "n_queries", "n_keys", *names]
    wide = [] if keys % cut.keys else ["n_keys"]
    return Kernel(
        name,
        attention.attention_kernel,
        {
            **dict.fromkeys(("q", "k", "v", "out"), f"*{_TYPES[dtype]}"),
            **{integer: "i32" for integer in integers if integer not in ones},
            "scale": "fp32",
        },
        {
            **dict.fromkeys(ones, 1),
            "D": d,
            "BLOCK_D": block_d,
            "BLOCK_M": cut.queries,
            "BLOCK_N": cut.keys,
            "WHOLE_KEYS": keys % cut.keys == 0,
            "PRECISION": "tf32" if tf32 else "ieee",
            "WIDEN": False,
        },
        ("q", "k", "v", "out", "n_queries", *wide, *(name for name in names if name not in ones)),
        {"num_warps": cut.warps, "num_stages": cut.stages, "enable_fp_fusion": True},
    )


CASES = [
    _attention(torch.bfloat16, 64),
    _attention(torch.bfloat16, 64, channels_first=True),
    _attention(torch.bfloat16, 128, keys=77),
    _attention(torch.float16, 40, keys=77),
    _attention(torch.float32, 16, channels_first=True, keys=77),
    _attention(torch.float32, 64),
    _attention(torch.float32, 128, channels_first=True, keys=77),
    _attention(torch.float32, 64, tf32=True),
    _attention(torch.float32, 128, keys=77, tf32=True),
]
