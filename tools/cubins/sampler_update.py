"""The main variants of kernels/sampler_update.py, as one model's engine launches them."""

from __future__ import annotations

from fastdiff.kernels import sampler_tile, sampler_update

from .kernel import Kernel

POINTERS = {
    "x": "*fp32",
    "m": "*fp32",
    "table": "*fp32",
    "rows": "*i32",
    "count": "*i32",
    "seeds": "*i64",
    "x_past": "*fp32",
    "m_past": "*fp32",
    "model_in": "*fp32",
}
GUIDANCE = {"guidance": "*fp32", "factor": "*fp32", "guided_rows": "*i32"}
KEPT = {"image": "*fp32", "mask": "*fp32"}
OPTIONAL = ("uncond", *GUIDANCE, *KEPT, "x0")
STRIDES = [f"{name}_{axis}" for name in ("m", "uncond", "in") for axis in "bchw"]


def _update(
    name: str,
    dtype: str = "fp32",
    guided: bool = False,
    depth: int = 0,
    kept: bool = False,
    x0: bool = False,
    dense: bool = True,
    wide: bool = True,
    big: bool = False,
) -> Kernel:
    types = {**POINTERS, "m": f"*{dtype}", "model_in": f"*{dtype}"}
    if guided:
        types |= {"uncond": f"*{dtype}", **GUIDANCE}
    types |= KEPT if kept else {}
    types |= {"x0": "*fp32"} if x0 else {}
    aligned = tuple(types)
    missing = dict.fromkeys(name for name in OPTIONAL if name not in types)
    return Kernel(
        f"sampler_update, {name}",
        sampler_update.sampler_update_kernel,
        {**types, **dict.fromkeys(["batch", "size", *STRIDES], "i32")},
        {
            **missing,
            "X_PAST": depth,
            "M_PAST": depth,
            "TWICE": guided,
            "M_DENSE": dense,
            "UNCOND_DENSE": dense,
            "IN_DENSE": dense,
            "PIXELS": 256 if kept or not dense else 1,
            "ROW": 1 if dense else 16,
            "WIDE": wide,
            "BIG": big,
            "BLOCK": sampler_tile.BLOCK,
        },
        aligned,
        {"num_warps": sampler_tile.NUM_WARPS, "enable_fp_fusion": False},
    )


CASES = [
    _update("plain"),
    _update("any size", wide=False),
    _update("guided bf16", "bf16", guided=True),
    _update("guided bf16, channels-last", "bf16", guided=True, dense=False),
    _update("history 4/4", depth=3),
    _update("mask and image", kept=True),
    _update(
        "all of it, big, channels-last fp16", "fp16", True, 3, True, True, dense=False, big=True
    ),
]
