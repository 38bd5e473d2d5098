"""What is written is what is read, byte for byte the same each time; what is damaged is refused."""

import dataclasses
import json
import struct
import subprocess
import sys

import numpy as np
import pytest

from fastdiff.errors import FastdiffError
from fastdiff.program import engine_file
from fastdiff.program.binding import Split, split
from fastdiff.program.engine_file import METADATA, engine_bytes, read, read_bytes, write
from fastdiff.program.ir import BATCH, Node, Program, Value
from fastdiff.samplers import build_table
from fastdiff.schedules import course
from tests.conftest import GOLDEN, ROOT
from tests.golden.make_engine import network, small, tiny

TABLE = build_table("dpmpp_2m", course(), 7)
FACTS = {
    "name": "some net",
    "sample_shape": (3, 16, 16),
    "context_width": 0,
    "labels": (),
    "table": TABLE.rows,
    "table_name": TABLE.name,
    "init_scale": 1.5,
    "to_noise": True,
    "schedule": course().to_dict(),
}


def assert_same(got: Split, expected: Split):
    for time, program in expected.parts().items():
        other = got.parts()[time]
        for field in ("name", "inputs", "outputs", "values", "nodes"):
            assert getattr(other, field) == getattr(program, field), (time, field)
        assert str(other) == str(program)
        assert other.constants.keys() == program.constants.keys()
        for name, array in program.constants.items():
            assert other.constants[name].dtype == array.dtype
            np.testing.assert_array_equal(other.constants[name], array)


def taken_apart(data):
    """(the engine's JSON, the header's other entries, the tensors' bytes)."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    return json.loads(header.pop("__metadata__")[METADATA]), header, data[8 + length :]


def put_together(meta, header, tensors):
    text = json.dumps({"__metadata__": {METADATA: json.dumps(meta)}, **header}).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + tensors


def test_the_golden_files_are_what_the_writer_writes():
    assert (GOLDEN / "tiny.fdiff").read_bytes() == tiny(), "on purpose? tests/golden/make_engine.py"
    corpus = ROOT / "tests" / "fuzz" / "corpus"
    assert (corpus / "tiny.fdiff").read_bytes() == tiny()
    assert (corpus / "small.fdiff").read_bytes() == small()


def test_reading_back_gives_every_field(tmp_path):
    data = engine_bytes(network(), **FACTS, x="x", t="t", context="context")
    assert data == engine_bytes(network(), **FACTS)
    path = tmp_path / "some.fdiff"
    write(path, data)
    write(path, data)
    assert [p.name for p in tmp_path.iterdir()] == ["some.fdiff"]
    file = read(path)
    assert_same(file.split, network())
    for name in ("name", "sample_shape", "labels", "table_name", "init_scale", "to_noise"):
        assert getattr(file, name) == FACTS[name]
    assert file.schedule == FACTS["schedule"]
    assert (file.x, file.t, file.context) == ("x", "t", "context")
    assert file.table.dtype == np.float64
    np.testing.assert_array_equal(file.table, TABLE.rows)


def test_a_file_that_was_read_can_be_written_again():
    facts = {
        f.name: getattr(read_bytes(tiny()), f.name)
        for f in dataclasses.fields(engine_file.EngineFile)
    }
    for name in ("levels", "input_scale", "input_shift"):
        del facts[name]
    assert engine_bytes(facts.pop("split"), **facts) == tiny()


def test_sprites16_and_foreign_networks_come_back_as_they_were():
    pytest.importorskip("torch")
    import fastdiff
    from fastdiff.program.lower import PASSES, lower
    from fastdiff.program.trace import trace
    from tests.program.foreign import net

    model = fastdiff.load("sprites16")
    splits = {"sprites16": lower(model)}
    for name in ("layer norm", "transformer", "attention"):
        module, example = net(name)
        program = trace(module, example, name)
        splits[f"{name}, as traced"] = split(program)
        for improve in PASSES:
            program = improve(program)
        splits[name] = split(program)
    sizes = {}
    for name, parts in splits.items():
        data = engine_bytes(parts, **{**FACTS, "name": name})
        assert_same(read_bytes(data).split, parts)
        sizes[name] = len(data)
    constants = sum(
        array.nbytes
        for part in splits["sprites16"].parts().values()
        for array in part.constants.values()
    )
    assert sizes["sprites16"] < constants + 40_000  # float32, and some text


def test_equal_constants_are_stored_once_and_others_of_the_same_name_apart():
    def part(array, name):
        values = {"x": Value((BATCH, 2)), "c": Value((2,)), "y": Value((BATCH, 2))}
        node = Node("binary", ("x", "c"), "y", {"kind": "add"})
        return Program(name, ("x",), ("y",), values, {"c": array}, (node,))

    one, other = np.float32([1, 2]), np.float32([1, 3])
    parts = Split(*(part(a, f"p{k}") for k, a in enumerate((one, other, one.copy(), other))))
    data = engine_bytes(parts, **FACTS)
    _, header, tensors = taken_apart(data)
    assert set(header) == {"table", "c", "c#2"}
    assert len(tensors) == TABLE.rows.nbytes + 2 * one.nbytes
    assert_same(read_bytes(data).split, parts)


def test_a_scalar_a_view_and_integers_keep_their_shape():
    arrays = {
        "scalar": np.asarray(np.float32(0.25)),
        "view": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "whole": np.array([[3, 1]], dtype=np.int64),
    }
    values = {
        "x": Value((BATCH, 3, 2)),
        **{k: Value(a.shape, str(a.dtype)) for k, a in arrays.items()},
        "y": Value((BATCH, 3, 2)), "z": Value((BATCH, 3, 2)), "i": Value((1, 2)),
        "end": Value((BATCH, 3, 2)),
    }  # fmt: skip
    nodes = (
        Node("binary", ("x", "scalar"), "y", {"kind": "mul"}),
        Node("binary", ("y", "view"), "z", {"kind": "add"}),
        Node("cast", ("whole",), "i", {"dtype": "float32"}),
        Node("binary", ("z", "i"), "end", {"kind": "add"}),
    )
    step = Program("odd", ("x",), ("end",), values, arrays, nodes)
    empty = Program("none", (), (), {}, {}, ())
    parts = Split(empty, empty, empty, step)
    assert_same(read_bytes(engine_bytes(parts, **FACTS)).split, parts)


def test_what_no_engine_file_can_hold_is_refused():
    empty = Program("none", (), (), {}, {}, ())
    values = {"x": Value((BATCH, 2)), "g": Value((2,)), "y": Value((BATCH, 2))}
    node = Node("batch_norm", ("x", "g", "g", "g", "g"), "y", {"eps": 1e-5})
    step = Program("p", ("x",), ("y",), values, {"g": np.ones(2, np.float32)}, (node,))
    with pytest.raises(FastdiffError, match="got batch_norm at 'y' \\(lower folds it\\)"):
        engine_bytes(Split(empty, empty, empty, step), **FACTS)
    wide = dataclasses.replace(
        step, nodes=(Node("cast", ("x",), "y", {"dtype": "float64"}),), constants={},
        values={"x": Value((BATCH, 2)), "y": Value((BATCH, 2), "float64")},
    )  # fmt: skip
    with pytest.raises(FastdiffError, match="float32 or int64 values, got 'y' as float64"):
        engine_bytes(Split(empty, empty, empty, wide), **FACTS)
    for change, message in (
        ({"table": np.zeros((0, 19))}, "table: expected .*, got \\[0, 19\\]"),
        ({"table": np.zeros((3, 18))}, "table: expected .*, got \\[3, 18\\]"),
        ({"init_scale": float("nan")}, "expected plain values"),
        ({"schedule": {"T": np.ones(2)}}, "expected plain values"),
    ):
        with pytest.raises(FastdiffError, match=message):
            engine_bytes(network(), **{**FACTS, **change})


def test_damaged_files_are_refused_in_one_sentence(tmp_path):
    data = tiny()
    with pytest.raises(FastdiffError, match=r"nofile\.fdiff: expected an engine file, got No such"):
        read(tmp_path / "nofile.fdiff")
    with pytest.raises(FastdiffError, match="cannot write"):
        write(tmp_path / "no folder" / "x.fdiff", data)
    for length in [*range(40), *range(40, len(data), 997), len(data) - 1]:
        with pytest.raises(FastdiffError, match=r"^cut: expected a whole safetensors file"):
            read_bytes(data[:length], "cut")
    meta, header, tensors = taken_apart(data)
    assert read_bytes(put_together(meta, header, tensors)).name == "tiny"

    def refused(message, **changes):
        with pytest.raises(FastdiffError, match=message) as error:
            read_bytes(put_together({**meta, **changes}, header, tensors), "f")
        assert str(error.value).startswith("f: ")

    newer = "^f: expected engine file format 1, got 2 \\(written by a newer fastdiff\\)$"
    refused(newer, format=2, programs=None)
    refused("expected whole metadata", programs=None)
    refused("expected whole metadata", sample_shape=[1, 2])
    programs = json.loads(json.dumps(meta["programs"]))
    programs["step"]["nodes"].reverse()
    refused("before it is made", programs=programs)
    for key in meta:
        less = put_together({k: v for k, v in meta.items() if k != key}, header, tensors)
        with pytest.raises(FastdiffError, match=r"^f: expected whole metadata, got KeyError"):
            read_bytes(less, "f")
    foreign = struct.pack("<Q", 8) + b"{}      "
    with pytest.raises(FastdiffError, match="a safetensors file of something else"):
        read_bytes(foreign)


def test_reading_needs_no_torch():
    code = (
        "import sys; from fastdiff.program.engine_file import read; "
        f"read({str(GOLDEN / 'tiny.fdiff')!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
