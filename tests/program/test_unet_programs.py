"""U-Nets as programs: the checked-in dump, batches that the trace never saw, binding times."""

import pytest

torch = pytest.importorskip("torch")

from fastdiff.program.lower import lower, program_of
from fastdiff.program.reference import run
from tests.conftest import GOLDEN
from tests.golden.make_programs import UNTRAINED, untrained
from tests.models.unets import inputs, small


@pytest.fixture(scope="module", params=UNTRAINED)
def parts(request):
    return request.param, lower(untrained(request.param))


def test_the_program_is_the_one_that_is_checked_in(parts):
    architecture, program = parts
    text = f"{program}\n"
    golden = GOLDEN / f"{architecture}.program.txt"
    assert golden.read_text() == text, "changed on purpose? tests/golden/make_programs.py"


@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [
        ("two_res_unet", {}),
        ("two_res_unet", {"n_context": 3, "gated_skips": True}),
        ("ddpm_unet", {}),
        ("ddpm_unet", {"n_context": 3, "scale_shift": True, "down_padding": 1, "head_width": 8}),
        ("ddpm_unet", {"attention": (False, False), "mid_attention": False, "width": 24}),
    ],
)
def test_the_program_gives_the_modules_output(architecture, sizes):
    model = small(architecture, **sizes)
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
    architecture, program = parts
    ops = {time: {n.op for n in part.nodes} for time, part in program.parts().items()}
    assert "conv2d" not in ops["row"] | ops["request"] | ops["row_request"]
    sines = [n for n in program.row.nodes if n.op == "unary" and n.attributes["kind"] == "sin"]
    assert len(sines) == 1
    assert "upsample" in ops["step"]
    if architecture == "two_res_unet":
        assert "linear" not in ops["step"]
        # Space-to-depth is an op of its own, not reshapes and copies.
        assert "pixel_unshuffle" in ops["step"]
        assert not {"reshape", "permute", "broadcast"} & ops["step"]
    else:
        # Padding at one side is the strided convolution's own, not a copy.
        uneven = [n for n in program.step.nodes if "padding_end" in n.attributes]
        assert [n.attributes["padding_end"] for n in uneven] == [(1, 1)]
        assert "broadcast" not in ops["step"]
        linears = [n for n in program.step.nodes if n.op == "linear"]
        assert linears
        assert all(".attentions." in n.path for n in linears), "the time's features are tables"
