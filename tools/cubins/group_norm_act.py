"""The variants of kernels/normalise.py: group and layer norm, one tile, loop and split."""

from __future__ import annotations

from typing import Any

from fastdiff.kernels import normalise, normalise_launch
from fastdiff.kernels.blocks import alignment
from fastdiff.kernels.steps import form

from .epilogue import chain
from .kernel import Kernel
from .slot import Slot, slot_of

_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
PER_CHANNEL_OF_PIXELS, PER_CHANNEL_OF_CHANNELS = 3, 5


def _shape(
    samples: int, channels: int, pixels: int, groups: int, last: bool
) -> normalise_launch.Shape:
    own = channels // groups
    if last:
        strides, weight = (channels * pixels, own, channels, 1), (0, own, 0, 1)
        return normalise_launch.Shape(samples, groups, pixels, own, strides, weight)
    strides, weight = (channels * pixels, own * pixels, pixels, 1), (0, own, 1, 0)
    return normalise_launch.Shape(samples, groups, own, pixels, strides, weight)


def _kernels(
    name: str,
    dtype: str,
    shape: normalise_launch.Shape,
    steps: list[Any],
    forms: tuple[int, ...] = (),
    slot: Slot | None = None,
) -> list[Kernel]:
    cut = normalise_launch.plan(shape, _BYTES[dtype])
    unit = alignment(shape.columns, *shape.strides[:3])
    signature, constants, aligned = chain(steps, forms, (dtype,) * len(forms))
    integers = (
        *("instances", "groups", "rows", "width", "x_sample", "x_group", "x_row"),
        *("w_group", "w_row", "w_column"),
    )
    slot_signature, slot_constants, slot_aligned = slot_of(slot, dtype, ("sample", "group", "row"))
    outputs = () if slot is not None and not slot.dense else ("out",)
    types = {
        **dict.fromkeys(("x", *outputs, "weight", "bias"), f"*{dtype}"),
        **slot_signature,
        **dict.fromkeys(integers, "i32"),
        **dict.fromkeys(("inverse_count", "eps"), "fp32"),
        **signature,
    }
    constants |= slot_constants | ({} if outputs else {"out": None})
    constants |= {
        "WEIGHT_FORM": form(shape.weight_strides),
        "WEIGHT_ALIGNMENT": alignment(shape.weight_strides[1]),
        "ALIGNMENT": unit,
        "INSTANCES": cut.instances,
        "ROWS": cut.rows,
        "COLUMNS": cut.columns,
    }
    for axis, stride in zip(("group", "row", "column"), shape.weight_strides[1:], strict=True):
        if stride == 1:
            del types[f"w_{axis}"]
            constants[f"w_{axis}"] = 1
    aligned = ("x", *outputs, *slot_aligned, "weight", "bias", *aligned)
    options = {"num_warps": cut.warps, "enable_fp_fusion": True}
    way = "one tile" if not cut.parts else "loop" if cut.parts == 1 else "split"
    full_name = f"{name}, {dtype}, {way} {cut.instances} x {cut.rows} x {cut.columns}"
    if not cut.parts:
        return [Kernel(full_name, normalise.whole_kernel, types, constants, aligned, options)]
    kernels = []
    for stage in [0] if cut.parts == 1 else [1, 2]:
        kernels.append(
            Kernel(
                f"{full_name}{(', statistics', ', normalise')[stage - 1] if stage else ''}",
                normalise.loop_kernel,
                {**types, **({"scratch": "*fp32"} if stage else {})},
                {
                    **constants,
                    "PARTS": cut.parts,
                    "STAGE": stage,
                    **({} if stage else {"scratch": None}),
                },
                aligned + (("scratch",) if stage else ()),
                options,
            )
        )
    return kernels


FILM = [("scale", 0), ("add", 1), "silu"]
CASES = [
    *_kernels("group_norm > relu", "bf16", _shape(64, 64, 256, 8, False), ["relu"]),
    *_kernels("group_norm > relu, channels last", "bf16", _shape(64, 64, 256, 8, True), ["relu"]),
    *_kernels(
        "group_norm > FiLM > silu", "fp32", _shape(64, 64, 2048, 8, False), FILM,
        (PER_CHANNEL_OF_PIXELS,) * 2,
    ),
    *_kernels(
        "group_norm > FiLM > silu, channels last 320", "fp16", _shape(64, 320, 1024, 32, True),
        FILM, (PER_CHANNEL_OF_CHANNELS,) * 2,
    ),
    *_kernels(
        "group_norm > gelu", "fp32", _shape(64, 64, 16384, 8, False), ["gelu"],
    ),
    *_kernels("group_norm > silu", "bf16", _shape(2, 128, 65536, 8, False), ["silu"]),
    *_kernels("group_norm > silu, channels last", "fp32", _shape(2, 128, 65536, 8, True), ["silu"]),
    *_kernels(
        "group_norm > FiLM > silu, channels last 128 into 256", "bf16",
        _shape(64, 128, 16, 8, True), FILM, (PER_CHANNEL_OF_CHANNELS,) * 2,
        Slot(16, aligned=True, dense=False),
    ),
    *_kernels(
        "group_norm > silu, channels last 128 and into 131 from 3", "fp32",
        _shape(64, 128, 1024, 32, True), ["silu"], slot=Slot(1, aligned=False, dense=True),
    ),
    *_kernels(
        "group_norm > silu, and into others", "bf16", _shape(2, 128, 65536, 8, False), ["silu"],
        slot=Slot(16, aligned=True, dense=True),
    ),
    *_kernels(
        "layer_norm", "bf16",
        normalise_launch.Shape(64, 256, 1, 768, (256 * 768, 768, 0, 1), (0, 0, 0, 1)), [],
    ),
    *_kernels(
        "layer_norm", "fp32",
        normalise_launch.Shape(64, 256, 1, 64, (256 * 64, 64, 0, 1), (0, 0, 0, 1)), [],
    ),
]  # fmt: skip
