"""The variants of kernels/noise.py."""

from __future__ import annotations

from fastdiff.kernels import noise

from .kernel import Kernel


def _noise(kind: str, steps: str | None, wide: bool) -> Kernel:
    name = f"noise_{kind}{', steps ' + steps if steps else ''}{'' if wide else ', any count'}"
    return Kernel(
        name,
        noise.noise_kernel,
        {
            "out": "*u32" if kind == "words" else "*fp32",
            "seeds": "*i64",
            "steps": f"*{steps or 'i64'}",
            "step": "i32",
            "stream": "i32",
            "count": "i32",
        },
        {
            "KIND": list(noise.KINDS).index(kind),
            "HAS_STEPS": steps is not None,
            "WIDE": wide,
            "BLOCK": noise.BLOCK,
        },
        ("out", "seeds", "steps"),
        {"num_warps": noise.NUM_WARPS, "enable_fp_fusion": False},
    )


CASES = [
    *(_noise(kind, None, True) for kind in noise.KINDS),
    _noise("normal", "i32", True),
    _noise("normal", "i64", True),
    _noise("normal", None, False),
]
