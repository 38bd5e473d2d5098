"""Rooms import downwards only: read from the imports and includes themselves."""

import ast
import re

import pytest

from tests.conftest import ROOT

# Python rooms: what each may import of fastdiff. A new room is added here on purpose.
PYTHON = {
    "_version": set(),
    "errors": set(),
    "schedules": {"errors"},
    "noise": {"errors"},
    "noise_torch": {"noise"},
    "files": {"errors"},
    "samplers": {"errors", "schedules"},
    "testing": {"samplers", "schedules"},
    "data": {"errors"},
    "program": {"errors", "files", "models", "samplers"},
    "pixelcnn": {"errors", "models", "noise", "program"},
    "requests": {"backends", "data", "errors", "noise", "samplers", "schedules"},
    "models": {"errors", "schedules"},
    "zoo": set(),
    "kernels": {"errors", "noise", "samplers"},
    "cuda": {
        "_native", "errors", "kernels", "models", "noise", "pixelcnn", "program", "samplers",
    },
    "pickled": {"errors", "models", "schedules"},
    "checkpoint": {"errors", "files", "models", "pickled", "schedules"},
    "metrics": {
        "checkpoint", "data", "engine", "errors", "files", "models", "noise", "samplers",
        "schedules",
    },
    "backends": {
        "_native", "_version", "cuda", "errors", "models", "noise", "noise_torch", "pixelcnn",
        "program", "samplers",
    },
    "pixel_engine": {
        "backends", "errors", "models", "noise", "pixelcnn", "program", "requests",
    },
    "engine": {
        "backends", "checkpoint", "errors", "models", "noise", "pixel_engine", "program",
        "requests", "samplers", "schedules",
    },
    "runtime": {
        "_native", "backends", "errors", "noise", "pixel_engine", "requests", "samplers",
        "schedules",
    },
    "train": {
        "checkpoint", "data", "engine", "errors", "files", "metrics", "models", "noise",
        "pixelcnn", "schedules",
    },
    "export": {"checkpoint", "engine", "errors", "models", "samplers", "schedules"},
    "cli": {
        "_native", "_version", "backends", "checkpoint", "data", "engine", "errors", "metrics",
        "models", "pixel_engine", "pixelcnn", "program", "requests", "samplers", "schedules",
        "train",
    },
    "__main__": {"cli"},
}  # fmt: skip
# Rooms that are useful without torch must not import it when they are imported.
NO_TORCH = [
    *("errors", "schedules", "noise", "files", "samplers", "testing", "data", "requests", "engine"),
    *("runtime", "cli", "__init__", "pixel_engine"),
    *("backends/base", "backends/native", "backends/native_runner", "backends/native_pixels"),
    "backends/registry",
    "backends/row_view",
]

# C++ rooms: what each may include of csrc.
CPP = {
    "include": set(),
    "core": set(),
    "ops": {"core"},
    "plan": {"core", "ops", "cpu"},
    "sampling": {"core", "ops", "cpu", "plan"},
    "cpu": {"core", "ops"},
    "pixelcnn": {"core", "cpu", "ops", "plan"},
    "cuda": {"core", "ops"},
    "capi": {"include", "core", "ops", "cpu", "plan", "sampling", "pixelcnn"},
    "bindings": {"core", "ops", "cpu", "cuda", "plan", "sampling", "pixelcnn"},
    "tools": {"include"},
}


def python_files():
    for folder, room in (("fastdiff", None), ("kernels", "kernels"), ("export", "export")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield path, room or parts[0]


def imports(tree, top_level_only=False):
    """Module names imported by a parsed file; with top_level_only what runs at import."""
    stack = list(ast.iter_child_nodes(tree))
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif top_level_only and _runs_later(node):
            continue
        else:
            stack.extend(ast.iter_child_nodes(node))


def _runs_later(node):
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.dump(node.test)
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def test_python_rooms_import_downwards_only():
    wrong, seen = [], 0
    for path, room in python_files():
        if room == "__init__":
            continue  # the package itself: lazy names only, checked by test_import
        assert room in PYTHON, f"{path}: a room that this test does not know"
        for name in imports(ast.parse(path.read_text())):
            parts = name.split(".")
            if parts[0] != "fastdiff" or len(parts) < 2:
                continue
            seen += 1
            if parts[1] != room and parts[1] in {*PYTHON, "_native"} - PYTHON[room]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong
    assert seen > 50


def test_the_allowed_imports_have_no_cycle():
    for table in (PYTHON, CPP):
        order, left = [], dict(table)
        while left:
            free = [r for r in left if left[r] - {"_native"} <= {*order, r}]
            assert free, f"a cycle among {sorted(left)}"
            order += free
            for room in free:
                del left[room]


@pytest.mark.parametrize("room", NO_TORCH)
def test_rooms_for_people_without_torch_do_not_import_it(room):
    base = ROOT / "fastdiff" / room
    paths = sorted(base.rglob("*.py")) if base.is_dir() else [base.with_suffix(".py")]
    for path in paths:
        loaded = set(imports(ast.parse(path.read_text()), top_level_only=True))
        assert not [n for n in loaded if n.split(".")[0] == "torch"], path


def test_cpp_rooms_include_downwards_only():
    wrong, seen = [], 0
    for path in sorted((ROOT / "csrc").rglob("*")):
        if path.suffix not in {".h", ".cpp", ".cu", ".c"}:
            continue
        room = path.relative_to(ROOT / "csrc").parts[0]
        assert room in CPP, f"{path}: a room that this test does not know"
        for include in re.findall(r'#include\s+"([^"]+)"', path.read_text()):
            target = include.split("/")[0] if "/" in include else room
            target = "include" if target == "fastdiff" else target
            seen += 1
            if target != room and target in CPP and target not in CPP[room]:
                wrong.append(f"{path.relative_to(ROOT)} includes {include}")
        if room != "bindings" and "pybind11" in path.read_text():
            wrong.append(f"{path.relative_to(ROOT)} mentions pybind11")
    assert not wrong
    assert seen > 10


def test_core_includes_the_standard_library_alone():
    for path in (ROOT / "csrc" / "core").glob("*"):
        for include in re.findall(r"#include\s+<([^>]+)>", path.read_text()):
            platform = include.startswith(
                ("sys/", "sched", "pthread", "unistd", "cpuid", "immintrin")
            )
            assert "/" not in include or platform, f"{path} includes <{include}>"
