"""All passes in their order: the program that a backend gets."""

import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff.program.ir import BATCH, OPS
from fastdiff.program.lower import lower, program_of
from tests.conftest import GOLDEN


def test_sprites16s_program_is_the_one_that_is_checked_in():
    model = fastdiff.load("sprites16")
    text = str(lower(model)) + "\n"
    golden = GOLDEN / "sprites16.program.txt"
    assert golden.read_text() == text, "changed on purpose? tests/golden/make_programs.py"
    program = program_of(model)
    assert {n.op for n in program.nodes} <= set(OPS)
    assert all(BATCH not in v.shape[1:] for v in program.values.values())
    assert model.module.training is False
