"""Engine files: what a model needs to be sampled from, in one safetensors file without code.

The metadata key ``fastdiff_engine`` holds JSON: format, name, sample shape, context and labels, the
four programs by binding time, the sampler table's name and scale, the schedule. Its layout stands
in csrc/plan/engine_file.h, whose reader checks every promise of it; the one here trusts more and
checks what keeps Python from failing late. The tensors are the constants of the programs, float32
or int64 as folded, and ``table``, float64 [K, 19]. Nothing in the file depends on the machine that
wrote it, and the same input makes the same bytes. Needs NumPy and safetensors alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from fastdiff.errors import FastdiffError
from fastdiff.files import write_bytes
from fastdiff.program.binding import TIMES, Split
from fastdiff.program.ir import OPS, Array, Node, Program, Value

FORMAT: Final = 1
METADATA: Final = "fastdiff_engine"
TABLE: Final = "table"
TABLE_WIDTH: Final = 19
# Ops that the passes of lower.py leave none of.
FOLDED: Final = frozenset(("batch_norm",))
DTYPES: Final = ("float32", "int64")


@dataclass(frozen=True)
class EngineFile:
    """What an engine file says. ``table``: float64 [K, 19], the rows of a SamplerTable.

    An autoregressive model has no rows and no schedule; ``levels`` is 0 for all others.
    """

    name: str
    sample_shape: tuple[int, int, int]
    context_width: int
    labels: tuple[str, ...]
    split: Split
    table: npt.NDArray[np.float64]
    table_name: str
    init_scale: float
    to_noise: bool
    schedule: Mapping[str, Any]
    x: str = "x"
    t: str = "t"
    context: str = "context"
    levels: int = 0
    input_scale: float = 1.0
    input_shift: float = 0.0


def engine_bytes(
    split: Split,
    *,
    name: str,
    sample_shape: Sequence[int],
    context_width: int,
    labels: Sequence[str],
    table: npt.ArrayLike,
    table_name: str,
    schedule: Mapping[str, Any],
    init_scale: float = 1.0,
    to_noise: bool = False,
    x: str = "x",
    t: str = "t",
    context: str = "context",
) -> bytes:
    """The engine file of a model, as bytes.

    ``split``: as ``lower`` gives it. ``table``: [K, 19], the rows of the default sampler's table.
    ``schedule``: its ``to_dict()``. ``x``, ``t``, ``context``: what the inputs are called in
    ``split``. Raises FastdiffError for a program that no engine can hold.
    """
    rows = np.ascontiguousarray(table, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != TABLE_WIDTH or not len(rows):
        raise FastdiffError(f"table: expected [K >= 1, {TABLE_WIDTH}], got {list(rows.shape)}")
    model = _model_json(name, sample_shape, context_width, labels, (x, t, context))
    sampler = {
        "table": {"name": table_name, "init_scale": float(init_scale), "to_noise": bool(to_noise)},
        "schedule": dict(schedule),
    }
    return _file_bytes(split, {TABLE: rows}, model, sampler)


def autoregressive_bytes(
    split: Split,
    *,
    name: str,
    sample_shape: Sequence[int],
    levels: int,
    input_scale: float,
    input_shift: float,
    context_width: int,
    labels: Sequence[str],
    x: str = "x",
    t: str = "t",
    context: str = "context",
) -> bytes:
    """The engine file of an autoregressive model, as bytes: it has levels in place of a table.

    The step's output are logits [B, levels, C, H, W]; the network sees level * ``input_scale`` +
    ``input_shift``. ``t`` names an input that no part may have. Raises FastdiffError as
    ``engine_bytes`` does.
    """
    model = _model_json(name, sample_shape, context_width, labels, (x, t, context))
    sampler = {
        "autoregressive": {
            "levels": int(levels),
            "input_scale": float(input_scale),
            "input_shift": float(input_shift),
        }
    }
    return _file_bytes(split, {}, model, sampler)


def _model_json(
    name: str,
    sample_shape: Sequence[int],
    context_width: int,
    labels: Sequence[str],
    inputs: tuple[str, str, str],
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": name,
        "sample_shape": [int(size) for size in sample_shape],
        "context_width": int(context_width),
        "labels": list(labels),
        "inputs": dict(zip(("x", "t", "context"), inputs, strict=True)),
    }


def _file_bytes(
    split: Split, tensors: dict[str, Array], model: dict[str, Any], sampler: dict[str, Any]
) -> bytes:
    keys: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    programs = {
        time: _program_json(program, tensors, keys) for time, program in split.parts().items()
    }
    meta = {**model, "programs": programs, **sampler}
    try:
        text = json.dumps(meta, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        data: bytes = save_tensors(tensors, {METADATA: text})
    except (TypeError, ValueError) as error:
        raise FastdiffError(
            f"engine file: expected plain values, got some that JSON has not ({error})"
        ) from error
    return data


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes an engine file, whole or not at all."""
    write_bytes(Path(path), data)


def read(path: str | os.PathLike[str]) -> EngineFile:
    """The engine file at ``path``; FastdiffError naming it where it is none."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FastdiffError(
            f"{os.fspath(path)}: expected an engine file, got {error.strerror}"
        ) from error
    return read_bytes(data, os.fspath(path))


def read_bytes(data: bytes, source: str = "engine file") -> EngineFile:
    """The engine file with this content; ``source`` begins the message where it is none."""
    try:
        tensors = load_tensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        text = (header.get("__metadata__") or {}).get(METADATA)
    except (SafetensorError, ValueError, KeyError, RecursionError) as error:
        raise FastdiffError(
            f"{source}: expected a whole safetensors file, got another ({error})"
        ) from error
    if text is None:
        raise FastdiffError(
            f"{source}: expected an engine file, got a safetensors file of something else"
        )
    try:
        meta = json.loads(text)
        newer = meta["format"] != FORMAT
        file = None if newer else _engine_file(meta, tensors)
    except FastdiffError as error:
        raise FastdiffError(f"{source}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise FastdiffError(f"{source}: expected whole metadata, got {error!r}") from error
    if file is None:
        raise FastdiffError(
            f"{source}: expected engine file format {FORMAT}, got {meta['format']} "
            "(written by a newer fastdiff)"
        )
    return file


def _program_json(
    program: Program,
    tensors: dict[str, Array],
    keys: dict[tuple[str, tuple[int, ...], bytes], str],
) -> dict[str, Any]:
    """The program as JSON values; its constants go to ``tensors``, equal ones once."""
    program.check()
    values = []
    for value_name, value in program.values.items():
        entry: dict[str, Any] = {
            "name": value_name,
            "dtype": value.dtype,
            "shape": list(value.shape),
        }
        if value.dtype not in DTYPES:
            raise FastdiffError(
                f"program: expected float32 or int64 values, got {value_name!r} as {value.dtype}"
            )
        if value_name in program.constants:
            entry["tensor"] = _add(value_name, program.constants[value_name], tensors, keys)
        values.append(entry)
    return {
        "name": program.name,
        "inputs": list(program.inputs),
        "outputs": list(program.outputs),
        "values": values,
        "nodes": [_node_json(node) for node in program.nodes],
    }


def _add(
    name: str,
    array: Array,
    tensors: dict[str, Array],
    keys: dict[tuple[str, tuple[int, ...], bytes], str],
) -> str:
    """The tensor that holds ``array``: one that is there, or a new one after its first name."""
    content = (str(array.dtype), array.shape, array.tobytes())
    if content not in keys:
        key, again = name, 1
        while key in tensors:
            again += 1
            key = f"{name}#{again}"
        keys[content] = key
        # reshape: ascontiguousarray makes [1] of an array without dimensions.
        tensors[key] = np.ascontiguousarray(array).reshape(array.shape)
    return keys[content]


def _node_json(node: Node) -> dict[str, Any]:
    if node.op in FOLDED:
        raise FastdiffError(
            f"program: expected ops that an engine file holds, got {node.op} at {node.output!r} "
            "(lower folds it)"
        )
    told = (*OPS[node.op], *(key for key in ("padding_end", "pool") if key in node.attributes))
    attributes = {key: node.attributes[key] for key in told}
    return {
        "op": node.op,
        "inputs": list(node.inputs),
        "output": node.output,
        "attributes": attributes,
        "epilogue": [list(step) for step in node.attributes.get("epilogue", ())],
        "path": node.path,
    }


def _engine_file(meta: Mapping[str, Any], tensors: Mapping[str, Array]) -> EngineFile:
    channels, height, width = (int(size) for size in meta["sample_shape"])
    parts = {time: _program(meta["programs"][time], tensors) for time in TIMES}
    return EngineFile(
        name=str(meta["name"]),
        sample_shape=(channels, height, width),
        context_width=int(meta["context_width"]),
        labels=tuple(str(label) for label in meta["labels"]),
        split=Split(**parts),
        x=str(meta["inputs"]["x"]),
        t=str(meta["inputs"]["t"]),
        context=str(meta["inputs"]["context"]),
        **(_levels(meta) if "autoregressive" in meta else _sampler(meta, tensors)),
    )


def _sampler(meta: Mapping[str, Any], tensors: Mapping[str, Array]) -> dict[str, Any]:
    rows = tensors[TABLE]
    if rows.dtype != np.float64 or rows.ndim != 2 or rows.shape[1] != TABLE_WIDTH or not len(rows):
        raise FastdiffError(
            f"table: expected float64 [K >= 1, {TABLE_WIDTH}], got {rows.dtype} {list(rows.shape)}"
        )
    return {
        "table": rows,
        "table_name": str(meta["table"]["name"]),
        "init_scale": float(meta["table"]["init_scale"]),
        "to_noise": bool(meta["table"]["to_noise"]),
        "schedule": dict(meta["schedule"]),
    }


def _levels(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "table": np.empty((0, TABLE_WIDTH)),
        "table_name": "",
        "init_scale": 1.0,
        "to_noise": False,
        "schedule": {},
        "levels": int(meta["autoregressive"]["levels"]),
        "input_scale": float(meta["autoregressive"]["input_scale"]),
        "input_shift": float(meta["autoregressive"]["input_shift"]),
    }


def _program(json_: Mapping[str, Any], tensors: Mapping[str, Array]) -> Program:
    values, constants = {}, {}
    for entry in json_["values"]:
        values[entry["name"]] = Value(tuple(entry["shape"]), entry["dtype"])
        if "tensor" in entry:
            constants[entry["name"]] = tensors[entry["tensor"]]
    return Program(
        json_["name"],
        tuple(json_["inputs"]),
        tuple(json_["outputs"]),
        values,
        constants,
        tuple(_node(node) for node in json_["nodes"]),
    ).check()


def _node(json_: Mapping[str, Any]) -> Node:
    attributes = {key: _tuples(value) for key, value in json_["attributes"].items()}
    if json_["epilogue"]:
        attributes["epilogue"] = _tuples(json_["epilogue"])
    return Node(json_["op"], tuple(json_["inputs"]), json_["output"], attributes, json_["path"])


def _tuples(value: Any) -> Any:
    """JSON's arrays as the tuples that programs hold."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
