"""The figures of the native engine in the documents are those of the committed measurement."""

import importlib.util
import json
import re

import numpy as np
import pytest

from tests.conftest import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "native-amd-epyc.json"
STARTUP = RESULTS.with_name("startup-amd-epyc.json")
BATCHES = (1, 8, 32, 128)


@pytest.fixture(scope="module")
def table():
    path = ROOT / "benchmarks" / "native_table.py"
    spec = importlib.util.spec_from_file_location("native_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs():
    return json.loads(RESULTS.read_text())["runs"]


def words(path):
    return " ".join((ROOT / path).read_text().split())


@pytest.mark.parametrize("run", ["step", "step avx2"])
def test_the_tables_are_the_measured_ones(table, run):
    text = (ROOT / "docs" / "native.md").read_text()
    shown = re.search(rf"<!-- {run} -->\n(.*?)\n<!-- end -->", text, re.DOTALL)[1]
    assert shown == table.tables(RESULTS)[run]


def test_what_the_readme_says(table, runs):
    results = runs["step"]["results"]
    for precision in ("float32", "bfloat16"):
        a, b, c, d = (f"{table.ratio(results, n, precision):.2f}" for n in BATCHES)
        assert f"{a}, {b}, {c} and {d}" in words("README.md")


def test_what_the_changelog_says(table, runs):
    def span(run, precision):
        found = runs[run]["results"]
        batches = {r["batch"] for r in found}
        all_ = [table.ratio(found, n, precision) for n in batches]
        return f"{min(all_):.2f} to {max(all_):.2f}"

    text = words("CHANGELOG.md")
    assert f"{span('step', 'float32')} of the best of eager" in text
    assert f"bf16 {span('step', 'bfloat16')} of the best in bf16" in text
    assert f"without AVX-512 {span('step avx2', 'float32')}" in text


def test_errors_in_bf16_are_no_larger_than_openvinos(runs):
    found = runs["step"]["results"]
    for batch in BATCHES:
        error = {r["name"]: r.get("rms_error") for r in found if r["batch"] == batch}
        assert error["native bf16"] < error["OpenVINO bf16"]
        assert error["native float32"] < 1.0e-6


def test_what_native_md_says_of_whole_runs(runs):
    def ms(batch, name):
        return next(
            1e3 * np.median(r["seconds_per_call"])
            for r in runs["whole"]["results"]
            if (r["batch"], r["name"]) == (batch, name)
        )

    text = words("docs/native.md")
    one = f"one image in {ms(1, 'native float32'):.1f} ms where the eager loop takes "
    assert one + f"{ms(1, 'eager loop float32'):.0f}, 32 images" in text
    many = f"in {ms(32, 'native float32') / 1e3:.2f} s where it takes "
    assert many + f"{ms(32, 'eager loop float32') / 1e3:.2f} (bf16" in text


def test_what_native_md_says_of_starting(table):
    """What was measured, or nothing where nothing was."""
    text = (ROOT / "docs" / "native.md").read_text()
    shown = [
        " ".join(t.split())
        for t in re.findall(r"<!-- startup -->(.*?)<!-- end -->", text, re.DOTALL)
    ]
    assert shown == ([table.startup(STARTUP)] if STARTUP.exists() else [])


def test_the_sentence_on_starting_is_that_of_the_medians(table, tmp_path):
    runs = [
        {"total": t, "load": 0.02, "sampling": s, "writing": 0.001}
        for t, s in ((0.4, 0.3), (0.5, 0.4), (9.0, 8.0))
    ]
    results = {"process": [0.003, 0.002, 0.5], "first": {}, "runs": runs}
    file = tmp_path / "startup.json"
    file.write_text(json.dumps({"images": 32, "rows": 25, "results": results}))
    said = table.startup(file)
    assert "ready 23 ms after" in said
    assert "20 of them for reading" in said
    assert "32 images of 25 DDIM rows after 500 ms, 400 of them for sampling" in said
