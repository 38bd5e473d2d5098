"""kernels/epilogue.py and the step chains in Triton's interpreter, against torch in float64."""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("needs TRITON_INTERPRET=1", allow_module_level=True)

import torch
from torch import Tensor

from fastdiff import FastdiffError
from fastdiff.kernels import epilogue as kernels
from fastdiff.kernels.activations import KINDS
from fastdiff.kernels.epilogue import epilogue, epilogue_
from fastdiff.kernels.steps import fits
from fastdiff.program.ir import UNARY
from fastdiff.program.reference import REFERENCE
from tests.ops.accuracy import assert_accurate

# NumPy, which the interpreter runs on, warns of what a GPU does in silence.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.*")

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
LAST = torch.channels_last


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def transcribed(
    x: Tensor, bias: Tensor | None, steps: Any, operands: list[Tensor], channel_dim: int = 1
) -> Tensor:
    """The op in torch, in x's dtype throughout."""
    y = x
    if bias is not None:
        y = (y.movedim(channel_dim, -1) + bias.to(x.dtype)).movedim(-1, channel_dim)
    for step in steps:
        name, what = ("unary", step) if isinstance(step, str) else step
        if name == "unary":
            y = REFERENCE["unary"](y, what)
            continue
        o = operands[what].to(x.dtype)
        y = {
            "add": lambda y, o: y + o,
            "mul": lambda y, o: y * o,
            "scale": lambda y, o: y * (1 + o),
        }[name](y, o)
    return y


def check(
    x: Tensor,
    bias: Tensor | None,
    steps: Any,
    operands: Any = (),
    channel_dim: int = 1,
    ulps: float = 2.0,
) -> Tensor:
    got = epilogue(x, bias, steps, operands, channel_dim)
    wide = [o.double() for o in operands]
    exact = transcribed(x.double(), bias, steps, wide, channel_dim)
    assert_accurate(got, transcribed(x, bias, steps, list(operands), channel_dim), exact, ulps)
    return got


def test_the_kinds_are_the_programs_own() -> None:
    assert KINDS == UNARY


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", UNARY)
def test_every_kind(kind: str, dtype: torch.dtype) -> None:
    grid = torch.cat([torch.linspace(-10, 10, 1000), torch.linspace(-0.7, 0.7, 530)])
    x = grid.reshape(2, 3, 5, 51).to(dtype)
    if kind in ("log", "sqrt", "rsqrt"):
        x = x.abs() + 2**-6
    check(x, None, [("unary", kind)])


@pytest.mark.parametrize("kind", ["tanh", "elu", "gelu_tanh", "sigmoid", "silu", "exp"])
def test_kinds_are_relatively_accurate_near_zero_and_far_from_it(kind: str) -> None:
    x = torch.cat([torch.logspace(-30, 0.3, 400), torch.linspace(1, 80, 400)])
    x = torch.cat([-x, x]).reshape(1, 1, 40, 40)
    got, exact = epilogue(x, None, [kind]), REFERENCE["unary"](x.double(), kind)
    normal = exact.abs() >= torch.finfo(torch.float32).tiny
    # The tail of exp(-x) in the sigmoids is NumPy's here; on a GPU it is |x| 2^-24 off.
    if kind == "gelu_tanh":  # 1 + tanh(u) as torch has it loses all there
        normal &= x > -3
    error = ((got.double() - exact) / exact).abs()[normal]
    assert float(error.max()) <= 4e-7


@pytest.mark.parametrize("kind", UNARY)
def test_edges_of_float32_are_as_in_torch(kind: str) -> None:
    inf = float("inf")
    x = torch.tensor([-inf, -1e38, -200.0, -104.5, -90.0, 0.0, 88.7, 88.75, 200.0, 1e38, inf])
    x = torch.cat([x, torch.tensor([float("nan")])]).reshape(1, 1, 1, 12)
    if kind in ("sin", "cos"):
        x = x.clamp(-200, 200)
    if kind == "gelu":  # torch's own has nan for inf on some processors
        x = x.clamp(-1e38, 1e38)
    expected = REFERENCE["unary"](x, kind)
    torch.testing.assert_close(
        epilogue(x, None, [kind]), expected, rtol=1e-6, atol=1e-37, equal_nan=True
    )


# Of [B, C, H, W]: one element, per channel, per sample and channel, per pixel, per sample, full.
FORMS = {
    "one element": [(), (1,), (1, 1, 1, 1)],
    "channel": [(1, 5, 1, 1), (5, 1, 1)],
    "sample and channel": [(3, 5, 1, 1)],
    "sample": [(3, 1, 1, 1)],
    "pixel": [(1, 1, 4, 7), (4, 7)],
    "sample and pixel": [(3, 1, 4, 7)],
    "full": [(3, 5, 4, 7)],
}


@pytest.mark.parametrize("memory", [torch.contiguous_format, LAST], ids=str)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", ["add", "mul", "scale"])
def test_operands_broadcast(step: str, form: str, memory: torch.memory_format) -> None:
    x = random(3, 5, 4, 7).to(memory_format=memory)
    for shape in FORMS[form]:
        got = check(x, random(5, seed=1), [(step, 0)], [random(*shape, seed=2)])
        assert got.stride() == x.stride()


@pytest.mark.parametrize("memory", [torch.contiguous_format, LAST], ids=str)
def test_operands_lie_in_memory_as_they_like(memory: torch.memory_format) -> None:
    x = random(2, 6, 4, 5).to(memory_format=memory)
    whole = random(2, 12, 8, 5, seed=1)
    for operand in (
        random(2, 6, 4, 5, seed=1).to(memory_format=LAST),
        whole[:, ::2, :4],
        whole[:, 3:9, ::2],  # rows that one stride does not run through: copied
        random(2, 6, 5, 4, seed=1).transpose(2, 3),
        random(1, 1, 5, 4, seed=1).transpose(2, 3),
        random(1, seed=1).expand(2, 6, 4, 5),
        random(6, 2, seed=1).T.reshape(2, 6, 1, 1),
    ):
        check(x, None, [("add", 0), ("mul", 0)], [operand])


EIGHT = ["gelu", ("mul", 0), ("add", 1), "tanh", ("scale", 2), "silu", ("add", 3), ("unary", "elu")]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("memory", [torch.contiguous_format, LAST], ids=str)
def test_a_chain_of_eight_steps_and_four_operands(
    memory: torch.memory_format, dtype: torch.dtype
) -> None:
    x = random(3, 10, 5, 7, dtype=dtype).to(memory_format=memory)
    operands = [
        random(3, 10, 1, 1, seed=1, dtype=dtype),
        random(1, 10, 1, 1, seed=2, dtype=dtype),
        random(3, 10, 5, 7, seed=3, dtype=dtype),
        random(1, seed=4, dtype=dtype),
    ]
    check(x, random(10, seed=5, dtype=dtype), EIGHT, operands, ulps=4)


def test_one_operand_may_be_used_twice_and_another_not_at_all() -> None:
    operands = [random(5, 1, 1, seed=1), random(2, 5, 3, 3, seed=2)]
    check(random(2, 5, 3, 3), None, [("mul", 1), "relu", ("add", 1)], operands)


SHAPES = [
    (1, 1, 1, 1), (2, 3, 1, 1), (1, 5, 3, 3), (3, 4, 1, 2), (2, 2, 8, 8), (1, 3, 31, 33),
    (1, 1, 32, 32), (1, 2, 25, 41), (2, 1030, 1, 1), (1, 1030, 1, 2), (5, 7, 16, 2),
]  # fmt: skip


@pytest.mark.parametrize("memory", [torch.contiguous_format, LAST], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sizes_below_at_and_above_a_block(
    shape: tuple[int, ...], memory: torch.memory_format
) -> None:
    x = random(*shape).to(memory_format=memory)
    operands = [random(shape[0], shape[1], 1, 1, seed=2), random(*shape, seed=3)]
    check(x, random(shape[1], seed=1), ["silu", ("mul", 0), ("add", 1)], operands)


def test_other_ranks_and_channel_dims() -> None:
    steps = ["gelu", ("mul", 0), ("add", 1)]
    for shape, channel_dim in (
        ((3, 7, 10), -1),
        ((3, 7, 10), 2),
        ((3, 7, 10), 1),
        ((3, 10), -1),
        ((3, 10), 1),
        ((2, 3, 4, 10), -1),
        ((2, 6, 3, 2, 4), 1),
    ):
        x = random(*shape)
        operands = [random(shape[0], *[1] * (len(shape) - 1), seed=2), random(*shape, seed=3)]
        got = check(x, random(shape[channel_dim], seed=1), steps, operands, channel_dim)
        assert got.is_contiguous()
    seen = random(3, 10, 7).transpose(1, 2)  # [3, 7, 10] with pixels inside
    got = check(seen, random(10, seed=1), steps, [random(10, seed=2), random(3, 1, 10, seed=3)], -1)
    assert got.stride() == seen.stride()


def test_dtypes_may_differ_and_are_rounded_once() -> None:
    x = random(2, 4, 3, 5, dtype=torch.bfloat16)
    operands = [random(2, 4, 1, 1, seed=1), random(2, 4, 3, 5, seed=2, dtype=torch.float16)]
    steps = ["silu", ("mul", 0), ("add", 1)]
    got = epilogue(x, random(4, seed=3), steps, operands)
    wide = transcribed(x.double(), random(4, seed=3), steps, [o.double() for o in operands])
    assert got.dtype == torch.bfloat16
    differs = got != wide.to(torch.bfloat16)
    assert int(differs.sum()) <= 1  # but for a tie that float32 sees from the other side


def test_an_input_with_gaps_is_taken() -> None:
    x = random(4, 6, 4, 5)[::2, :, :, ::2]
    got = check(x, random(6, seed=1), ["relu"])
    assert got.is_contiguous()
    turned = random(2, 3, 5, 4).transpose(2, 3)  # dense, but in no order that the kernel knows
    assert check(turned, None, ["relu"]).is_contiguous()


@pytest.mark.parametrize("memory", [torch.contiguous_format, LAST], ids=str)
def test_in_place(memory: torch.memory_format) -> None:
    x = random(2, 6, 5, 7).to(memory_format=memory)
    operands = [random(2, 6, 1, 1, seed=1)]
    expected = epilogue(x, random(6), ["gelu", ("mul", 0)], operands)
    at = x.data_ptr()
    got = epilogue_(x, random(6), ["gelu", ("mul", 0)], operands)
    assert got is x
    assert x.data_ptr() == at
    torch.testing.assert_close(x, expected, rtol=0, atol=0)


def test_in_place_needs_an_input_without_gaps() -> None:
    with pytest.raises(
        FastdiffError, match=r"^x: expected a contiguous .* got strides \(12, 6, 2\)"
    ):
        epilogue_(random(2, 2, 6)[:, :, ::2], None, ["relu"])


def test_nothing_of_no_samples() -> None:
    x = random(0, 3, 4, 4)
    assert epilogue(x, random(3), ["gelu", ("add", 0)], [random(0, 3, 1, 1)]).shape == x.shape
    assert epilogue_(x, random(3), ["gelu"]) is x


def test_without_steps_or_bias_it_is_a_copy() -> None:
    x = random(2, 3, 4, 5)
    got = epilogue(x, None)
    torch.testing.assert_close(got, x, rtol=0, atol=0)
    assert got.data_ptr() != x.data_ptr()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"x": [1.0]}, r"^x: expected a tensor of float32 or bfloat16 or float16 .*got \[1.0\]$"),
    ({"x": random(2, 3, 4, 5).double()}, r"^x: .* got float64 \[2, 3, 4, 5\]$"),
    ({"x": random(3)}, r"^x: .* got float32 \[3\]$"),
    ({"bias": random(4)}, r"^bias: expected a tensor .* \[3\], got float32 \[4\]$"),
    ({"bias": random(3).to("meta")}, "^bias: expected a tensor on cpu, as x, got one on meta$"),
    ({"channel_dim": 0}, r"^channel_dim: expected a dimension .* got 0$"),
    ({"channel_dim": 4}, r"^channel_dim: .* got 4$"),
    ({"channel_dim": -4}, r"^channel_dim: .* got -4$"),
    ({"steps": ["gelu"] * 9}, "^steps: expected at most 8, got 9$"),
    ({"steps": ["softplus"]}, "^steps: expected a kind among .* got 'softplus'$"),
    ({"steps": [("sub", 0)]}, r"^steps: .* got \('sub', 0\)$"),
    ({"steps": [("add", 1)]}, r"^steps: .* one of 1 operands, got \('add', 1\)$"),
    ({"steps": [("add", True)]}, r"^steps: .* got \('add', True\)$"),
    ({"operands": [random(1)] * 5}, "^operands: expected at most 4 tensors, got 5$"),
    ({"operands": [random(2)]}, r"^operands\[0\]: .*broadcasts to \[2, 3, 4, 5\], got \[2\]$"),
    ({"operands": [random(1, 1, 2, 3, 4, 5)]}, r"^operands\[0\]: .* got \[1, 1, 2, 3, 4, 5\]$"),
    ({"operands": [random(5)]}, r"^operands\[0\]: .*all or none of dimensions 2, 3 .* got \[5\]$"),
    ({"operands": [2.0]}, r"^operands\[0\]: expected a tensor of float32.* got 2.0$"),
    ({"operands": [random(1).long()]}, r"^operands\[0\]: .* got torch.int64$"),
    ({"operands": [random(1).to("meta")]}, r"^operands\[0\]: expected a tensor on cpu"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[next(iter(c)) for c, _ in WRONG])
def test_a_wrong_argument_is_named(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "x": random(2, 3, 4, 5),
        "bias": random(3),
        "steps": [("add", 0)],
        "operands": [random(1)],
    }
    for op in (epilogue, epilogue_):
        with pytest.raises(FastdiffError, match=message):
            op(**{**good, **change})


def test_fits_says_what_is_accepted() -> None:
    assert fits(EIGHT, [random(1)] * 4, (2, 3, 4, 4)) is None
    assert fits([], [], (2, 3)) is None
    assert fits(["gelu"] * 9, [], (2, 3)) == "steps: expected at most 8, got 9"
    assert "at most 4 tensors" in (fits([], [random(1)] * 5, (2, 3)) or "")


@pytest.mark.parametrize("memory", [torch.contiguous_format, LAST], ids=str)
def test_the_ops_pass_opcheck(memory: torch.memory_format) -> None:
    x = random(2, 3, 4, 5).to(memory_format=memory)
    codes, operands = [2, 16, 21], [random(2, 3, 1, 1), random(1)]
    torch.library.opcheck(kernels.OP, (x, random(3), codes, operands, 1))
    torch.library.opcheck(kernels.OP, (x[:, :, ::2], None, codes, operands, 1))
    torch.library.opcheck(kernels.OP_IN_PLACE, (x, random(3), codes, operands, 1))


class Ended(torch.nn.Module):
    def forward(self, x: Tensor, residual: Tensor, bias: Tensor) -> Tensor:
        return epilogue(x, bias, ["gelu", ("add", 0)], [residual])


@pytest.mark.parametrize("memory", [torch.contiguous_format, LAST], ids=str)
def test_export_keeps_the_op_whole_for_any_batch(memory: torch.memory_format) -> None:
    inputs = (random(3, 4, 5, 5).to(memory_format=memory), random(3, 4, 5, 5, seed=1), random(4))
    batch = torch.export.Dim("batch")
    exported = torch.export.export(Ended(), inputs, dynamic_shapes=[{0: batch}, {0: batch}, None])
    calls = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
    assert calls == ["fastdiff.epilogue.default"]
    other = tuple(t[:2] for t in inputs[:2]) + inputs[2:]
    torch.testing.assert_close(exported.module()(*other), Ended()(*other), rtol=0, atol=0)


def test_compiled_modules_call_the_op() -> None:
    inputs = (random(2, 4, 5, 5), random(2, 4, 5, 5, seed=1), random(4))
    compiled = torch.compile(Ended(), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*inputs), Ended()(*inputs), rtol=0, atol=0)


def test_samples_do_not_depend_on_their_neighbours() -> None:
    x, operand = random(4, 3, 5, 5), random(4, 3, 1, 1, seed=1)
    whole = epilogue(x, None, ["gelu", ("mul", 0)], [operand])
    for i, j in itertools.pairwise(range(5)):
        alone = epilogue(x[i:j], None, ["gelu", ("mul", 0)], [operand[i:j]])
        torch.testing.assert_close(alone, whole[i:j], rtol=0, atol=0)
