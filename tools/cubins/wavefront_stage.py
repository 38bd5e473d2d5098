"""The variants of kernels/wavefront_stage.py: the reference PixelCNN's stages, 7 cells each."""

from __future__ import annotations

import torch

from fastdiff.kernels import wavefront_stage as stage
from fastdiff.kernels.activations import KINDS

from .kernel import Kernel

CELLS = 7  # of a 28x28 image at slope 4
NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16"}
SHAPES = ((256, 128, 256), (640, 128, 128), (128, 256, 128))  # K, N, run


def _stage(
    n: int, count: int, outputs: int, run: int, dtype: torch.dtype, tf32: bool = False
) -> Kernel:
    """relu before a convolution; its output plus what is in the cache, as at a block's end."""
    options = stage.launch_options(n * CELLS, count, outputs, run, dtype)
    constants = {k: v for k, v in options.items() if k.startswith("BLOCK")}
    operand = {"v0": "*i32", "g0": "*i32", "o0": "*i32", "c0": "i32"}
    nothing = {f"{letter}{i}": None for i in (1, 2, 3) for letter in "vgo"}
    tables = ("subtime", "reads", "groups", "offsets", "writes", "out_offsets")
    name = f"wavefront_stage {NAMES[dtype]}{' tf32' if tf32 else ''} K={count} N={outputs} n={n}"
    return Kernel(
        name if run else f"{name}, any columns",
        stage.wavefront_stage_kernel,
        {
            **dict.fromkeys(tables, "*i32"),
            "cache": f"*{NAMES[dtype]}",
            "weight": f"*{NAMES[dtype]}",
            "bias": "*fp32",
            **operand,
            **{f"c{i}": "i32" for i in (1, 2, 3)},
            **dict.fromkeys(("samples", "cells", "subtimes", "elements"), "i32"),
        },
        {
            **nothing,
            **constants,
            "K": count,
            "N": outputs,
            "GROUPS": count // run if run else count,
            "RUN": run,
            "ALIGNED": 16 if run else 1,
            "BEFORE": KINDS.index("relu"),
            "MOVES_ZERO": False,
            "CHAIN": 16,  # add operand 0
            "SORTS": stage.RING.value,
            "PRECISION": "tf32" if tf32 else "ieee",
            "WIDEN": False,
        },
        ("cache", "weight", "bias", "elements", *tables, "v0", "g0", "o0"),
        {k: v for k, v in options.items() if not k.startswith("BLOCK")},
    )


def _every_operand(n: int, count: int, dtype: torch.dtype) -> Kernel:
    """An operand of each sort, each of the steps that take one, and a ``before`` that moves 0."""
    plain = _stage(n, count, 128, count, dtype)
    sorts = (stage.RING, stage.RINGS, stage.FIXED, stage.FIXED_FOR_ALL)
    rings = {f"{letter}{i}": "*i32" for i in (0, 1) for letter in "vgo"}
    given = {**rings, "v2": "*fp32", "v3": "*fp32"}
    steps = [stage._code((name, i), 4) for i, name in enumerate(stage.WITH_OPERAND)]
    steps += [stage._code(("unary", kind), 4) for kind in ("tanh", "sigmoid", "elu", "exp")]
    constants = {name: value for name, value in plain.constants.items() if name not in given}
    return Kernel(
        f"{plain.name}, every operand",
        plain.function,
        {**{name: kind for name, kind in plain.types.items() if name != "bias"}, **given},
        {
            **constants,
            "bias": None,
            "BEFORE": KINDS.index("sigmoid"),
            "MOVES_ZERO": True,
            "SORTS": sum(sort.value << (3 * i) for i, sort in enumerate(sorts)),
            "CHAIN": sum(code << (5 * i) for i, code in enumerate(steps)),
        },
        (*(name for name in plain.aligned if name != "bias"), *(given.keys() - {"v0", "g0", "o0"})),
        plain.options,
    )


CASES = [
    *(_stage(n, *shape, dtype) for dtype in NAMES for shape in SHAPES for n in (1, 64)),
    *(_stage(1024, *shape, dtype) for dtype in NAMES for shape in SHAPES[1:2]),
    _stage(64, *SHAPES[1], torch.float32, tf32=True),
    *(_stage(n, 24, 128, 0, dtype) for dtype in NAMES for n in (1, 64)),  # the first 7x7
    *(_every_operand(64, count, dtype) for dtype in NAMES for count in (0, 128)),
]
