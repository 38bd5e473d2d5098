"""docs/support.md says what the backends really do."""

import importlib.util
import shutil

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("support_table", ROOT / "tools/support_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(tool):
    """The cells by network and title, and the notes."""
    text = (ROOT / "docs/support.md").read_text().split(tool.BEGIN)[1].split(tool.END)[0]
    lines = text.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    notes = dict(line.split(". ", 1) for line in lines if line[:1].isdigit())
    cells = {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[2:]}
    return cells, notes


def check(tool, page, titles):
    cells, notes = page
    assert list(cells) == list(tool.NETWORKS)
    for network, row in zip(cells, tool.table(list(cells), titles), strict=True):
        for title, found in zip(titles, row, strict=True):
            said = cells[network][title]
            assert found == (said if said == "✓" else notes[said.strip("()")]), (network, title)


def test_eager_and_native_do_what_the_page_says(tool, page):
    check(tool, page, ["eager", "eager bf16", "native"])


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_inductor_does_what_the_page_says(tool, page):
    check(tool, page, ["inductor"])


def test_a_difference_is_no_tick(tool):
    model = tool.NETWORKS["`DDPMUnet`"]()
    expected = tool.draw(model, "eager", "float32")
    assert tool.verdict(model, expected, "native", "float32") == "✓"
    assert "differs from eager by" in tool.verdict(model, expected + 1e-3, "native", "float32")
