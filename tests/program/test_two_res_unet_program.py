"""TwoResUNet as a program: the checked-in dump, batches that the trace never saw, binding times."""

import pytest

torch = pytest.importorskip("torch")

from fastdiff.program.lower import lower, program_of
from fastdiff.program.reference import run
from tests.conftest import GOLDEN
from tests.golden.make_programs import untrained
from tests.models.two_res import inputs, small


@pytest.fixture(scope="module")
def parts():
    return lower(untrained("two_res_unet"))


def test_the_program_is_the_one_that_is_checked_in(parts):
    text = f"{parts}\n"
    golden = GOLDEN / "two_res_unet.program.txt"
    assert golden.read_text() == text, "changed on purpose? tests/golden/make_programs.py"


@pytest.mark.parametrize("sizes", [{}, {"n_context": 3, "gated_skips": True}])
def test_the_program_gives_the_modules_output(sizes):
    model = small(**sizes)
    program = program_of(model)
    module = model.module.double()
    for batch in (1, 3, 70):
        # Early times: later ones show the constants of the time embedding as float32.
        given = [value.double() for value in inputs(model, batch, most=9)]
        with torch.inference_mode():
            expected = module(*given)
        got = run(program, dict(zip(program.inputs, given, strict=True)), torch.float64)[0]
        assert (got - expected).abs().max() < 1e-6 * expected.abs().max()


def test_what_x_does_not_decide_is_not_in_the_step(parts):
    ops = {time: {n.op for n in part.nodes} for time, part in parts.parts().items()}
    assert "linear" not in ops["step"]
    assert "conv2d" not in ops["row"] | ops["request"] | ops["row_request"]
    sines = [n for n in parts.row.nodes if n.op == "unary" and n.attributes["kind"] == "sin"]
    assert len(sines) == 1
    # Space-to-depth and nearest upsampling are ops of their own, not reshapes and copies.
    assert {"pixel_unshuffle", "upsample"} <= ops["step"]
    assert not {"reshape", "permute", "broadcast"} & ops["step"]
