"""The variants of kernels/choose_levels.py."""

from __future__ import annotations

from fastdiff.kernels import choose_levels as choice

from .kernel import Kernel

INTS = ("subtime", "logits", "logit_offsets", "places", "given", "inputs", "levels", "top_k")


def _choice(levels: int, dtype: str) -> Kernel:
    return Kernel(
        f"choose_levels {dtype} L={levels}",
        choice.choose_levels_kernel,
        {
            **dict.fromkeys(INTS, "*i32"),
            "cache": f"*{dtype}",
            "uniforms": "*fp32",
            "temperature": "*fp32",
            **dict.fromkeys(("cells", "subtimes", "elements", "values", "input_offset"), "i32"),
        },
        {"SCALE": 2 / 255, "SHIFT": -1.0, "LEVELS": levels, "BLOCK": levels, "CHUNK": choice.CHUNK},
        ("cache", "uniforms", "temperature", *INTS),
        {"num_warps": choice.num_warps(levels), "enable_fp_fusion": False},
    )


CASES = [_choice(256, "fp32"), _choice(256, "bf16"), _choice(2, "fp32")]
