"""The figures of docs/pixelcnn.md and of the README are those of the committed measurement."""

import importlib.util
import json
import re

import pytest

from tests.conftest import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "pixelcnn-amd-epyc.json"


@pytest.fixture(scope="module")
def table():
    path = ROOT / "benchmarks" / "pixelcnn_table.py"
    spec = importlib.util.spec_from_file_location("pixelcnn_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run():
    return json.loads(RESULTS.read_text())


@pytest.mark.parametrize(("mark", "function"), [("runs", "table"), ("memory", "memory")])
def test_the_page_shows_what_was_measured(table, run, mark, function):
    text = (ROOT / "docs" / "pixelcnn.md").read_text()
    shown = re.search(rf"<!-- {mark} -->\n(.*?)\n<!-- end -->", text, re.DOTALL)[1]
    assert shown == getattr(table, function)(run)


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_what_the_other_pages_say(table, run, page):
    words = " ".join((ROOT / page).read_text().split())
    many, one = (table.ratio(run, "native float32", n) for n in (64, 1))
    assert f"{many:,.0f} times" in words
    assert f"{one:,.0f} times" in words
