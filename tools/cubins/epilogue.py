"""The variants of kernels/epilogue.py: dtypes, memory formats, chains, any width."""

from __future__ import annotations

from typing import Any

from fastdiff.kernels import epilogue
from fastdiff.kernels.steps import MAX_OPERANDS, STEP_BITS, encode

from .kernel import Kernel
from .slot import Slot, slot_of

# Along instance, row and column: a bias a channel, FiLM's vectors, a residual.
PER_INSTANCE, PER_COLUMN, BOTH_SIDES = 1, 4, 5


def chain(
    steps: list[Any], forms: tuple[int, ...], types: tuple[str, ...]
) -> tuple[dict[str, str], dict[str, Any], tuple[str, ...]]:
    """Types, constants and aligned arguments of a chain with operands of those forms and types."""
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {
        "CHAIN": sum(code << (STEP_BITS * i) for i, code in enumerate(encode(steps))),
        "FORMS": sum(form << (3 * i) for i, form in enumerate(forms)),
    }
    aligned = []
    for i in range(MAX_OPERANDS):
        for name in (f"s{i}", f"g{i}", f"r{i}", f"c{i}"):
            signature[name] = "i32"
            aligned.append(name)
        if i >= len(forms):
            constants[f"o{i}"] = None
            continue
        signature[f"o{i}"] = f"*{types[i]}"
        aligned.append(f"o{i}")
        if forms[i] & PER_COLUMN:
            del signature[f"c{i}"]
            aligned.remove(f"c{i}")
            constants[f"c{i}"] = 1
    return signature, constants, tuple(aligned)


def _epilogue(
    name: str,
    dtype: str,
    rows_columns: tuple[int, int],
    alignment: int,
    bias: int,
    steps: list[Any],
    forms: tuple[int, ...] = (),
    slot: Slot | None = None,
) -> Kernel:
    signature, constants, aligned = chain(steps, forms, (dtype,) * len(forms))
    slot_signature, slot_constants, slot_aligned = slot_of(slot, dtype, ("sample", "group"))
    outputs = {} if slot is not None and not slot.dense else {"out": f"*{dtype}"}
    rows, columns = rows_columns
    return Kernel(
        f"epilogue, {dtype}, {name}",
        epilogue.epilogue_kernel,
        {
            "x": f"*{dtype}",
            **outputs,
            **slot_signature,
            "bias": f"*{dtype}",
            **dict.fromkeys(("rows", "groups", "width"), "i32"),
            **signature,
        },
        {
            **constants,
            **slot_constants,
            **({} if outputs else {"out": None}),
            "BIAS": bias,
            "ALIGNMENT": alignment,
            "ROWS": rows,
            "COLUMNS": columns,
        },
        ("x", *outputs, *slot_aligned, "bias", *aligned),
        {"num_warps": epilogue.NUM_WARPS, "enable_fp_fusion": True},
    )


CASES = [
    _epilogue("bias > gelu, 16 x 16", "bf16", (4, 256), 16, 1, ["gelu"]),
    _epilogue("bias > gelu, channels last 64", "bf16", (16, 64), 16, 2, ["gelu"]),
    _epilogue("bias > gelu, 7 x 7", "bf16", (16, 64), 1, 1, ["gelu"]),
    _epilogue(
        "bias > add residual > mul, 32 x 32", "fp32", (1, 1024), 16, 1, [("add", 0), ("mul", 1)],
        (BOTH_SIDES, 0),
    ),
    _epilogue(
        "bias > gelu > mul > add, channels last 320", "fp16", (2, 512), 16, 2,
        ["gelu", ("mul", 0), ("add", 1)], (BOTH_SIDES, BOTH_SIDES),
    ),
    _epilogue(
        "eight steps, four operands", "bf16", (1, 1024), 16, 1,
        ["gelu", ("mul", 0), ("add", 1), "tanh", ("scale", 2), "exp", ("add", 3), "log"],
        (PER_INSTANCE, PER_INSTANCE, BOTH_SIDES, BOTH_SIDES),
    ),
    _epilogue(
        "bias > gelu, channels last 64 into 128", "bf16", (16, 64), 16, 2, ["gelu"],
        slot=Slot(16, aligned=True, dense=False),
    ),
    _epilogue(
        "bias > add residual, channels last 128 and into 256", "bf16", (8, 128), 16, 2,
        [("add", 0)], (BOTH_SIDES,), slot=Slot(16, aligned=True, dense=True),
    ),
    _epilogue(
        "bias > gelu, channels last 24 and into 33 from 9", "fp16", (32, 32), 8, 2, ["gelu"],
        slot=Slot(1, aligned=False, dense=True),
    ),
    _epilogue(
        "bias > add residual, 32 x 32, and into others", "fp32", (1, 1024), 16, 1, [("add", 0)],
        (BOTH_SIDES,), slot=Slot(16, aligned=True, dense=True),
    ),
]  # fmt: skip
