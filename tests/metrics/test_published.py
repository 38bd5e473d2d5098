"""The figures in the documents are those of the committed measurement."""

import re

from fastdiff.metrics.frontier_results import load_frontier, markdown
from fastdiff.samplers import DEFAULT_SAMPLER, SAMPLERS
from tests.conftest import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "frontier-sprites16.json"


def test_the_table_in_docs_is_the_measured_one():
    text = (ROOT / "docs" / "quality.md").read_text()
    shown = re.search(r"<!-- frontier -->\n(.*?)\n<!-- end -->", text, re.DOTALL)[1]
    table = markdown(load_frontier(RESULTS)).split("\n\n- ")[0].strip()
    assert shown == table


def test_what_the_readme_says_of_the_default():
    found = load_frontier(RESULTS)
    at = {(p.sampler, p.evaluations): found.quality(p) for p in found.points}
    assert {name for name, _ in at} | {"ddim_inverse"} == set(SAMPLERS)
    best = at[DEFAULT_SAMPLER, 15]
    assert found.best()[15].sampler == DEFAULT_SAMPLER
    floor = type(best)(found.settings.n, found.floor)
    readme = " ".join((ROOT / "README.md").read_text().split())
    for said in (
        f"`{DEFAULT_SAMPLER}` with 15 evaluations, is {best.mean:.1f} ± {best.half_width:.1f}",
        f"themselves are {floor.mean:.1f} ± {floor.half_width:.1f}",
        f"DDIM with 30 evaluations {at['ddim', 30].mean:.1f} ± {at['ddim', 30].half_width:.1f}",
    ):
        assert said in readme, said
