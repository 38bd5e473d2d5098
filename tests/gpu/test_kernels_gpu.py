"""The Triton kernels on a GPU against float64: every dtype, memory format and many sizes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gpu.conftest import require_gpu

require_gpu()

import torch

from fastdiff.kernels.attention import attention
from fastdiff.kernels.epilogue import epilogue, epilogue_
from fastdiff.kernels.epilogue_into import epilogue_into
from fastdiff.kernels.group_norm_act import group_norm_act
from fastdiff.kernels.layer_norm_act import layer_norm_act

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
FORMATS = [torch.contiguous_format, torch.channels_last]
EPSILON = {torch.float32: 1e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}
SIZES = [(1, 8, 1, 1), (2, 64, 16, 16), (3, 96, 7, 5), (2, 128, 64, 64), (1, 32, 256, 256)]


def near(got: Any, exact: Any, dtype: torch.dtype) -> None:
    """Within twice the dtype's own rounding, in rms; and no element far off."""
    error = (got.double() - exact).abs()
    scale = float(exact.square().mean().sqrt()) + 1e-12
    assert float(error.square().mean().sqrt()) <= 2 * EPSILON[dtype] * scale
    assert float(error.max()) <= 16 * EPSILON[dtype] * max(scale, float(exact.abs().max()))


def images(size: tuple[int, ...], dtype: torch.dtype, form: Any) -> Any:
    generator = torch.Generator("cuda").manual_seed(0)
    x = torch.randn(size, device="cuda", generator=generator)
    return x.to(dtype).contiguous(memory_format=form)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("form", FORMATS, ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("groups", [1, 8])
def test_group_norm_act(groups: int, dtype: torch.dtype, form: Any, size: Any) -> None:
    x = images(size, dtype, form)
    gamma, beta = (torch.randn(size[1], device="cuda") for _ in range(2))
    got = group_norm_act(x, groups, gamma, beta, 1e-5, ("silu",))
    exact = torch.nn.functional.group_norm(x.double(), groups, gamma.double(), beta.double())
    near(got, torch.nn.functional.silu(exact), dtype)
    assert got.is_contiguous(memory_format=form)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_layer_norm_act(dtype: torch.dtype) -> None:
    for shape in ((1, 1, 3), (2, 65, 384), (3, 17, 1000)):
        x = images(shape, dtype, torch.contiguous_format)
        gamma, beta = (torch.randn(shape[-1], device="cuda") for _ in range(2))
        got = layer_norm_act(x, gamma, beta, 1e-5)
        exact = torch.nn.functional.layer_norm(
            x.double(), shape[-1:], gamma.double(), beta.double()
        )
        near(got, exact, dtype)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("form", FORMATS, ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_epilogue(dtype: torch.dtype, form: Any, size: Any) -> None:
    x, residual = (images(size, dtype, form) for _ in range(2))
    bias = torch.randn(size[1], device="cuda")
    gain = torch.randn(size[0], size[1], 1, 1, device="cuda")
    steps = (("unary", "gelu"), ("mul", 0), ("add", 1))
    got = epilogue(x, bias, steps, [gain, residual])
    exact = torch.nn.functional.gelu(x.double() + bias.double()[:, None, None])
    near(got, exact * gain.double() + residual.double(), dtype)


@pytest.mark.parametrize("size", SIZES[1:], ids=str)
@pytest.mark.parametrize("before", [0, 3, 8])  # of 16 bytes, or not
@pytest.mark.parametrize("form", FORMATS, ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_outputs_within_a_concatenation(
    dtype: torch.dtype, form: Any, before: int, size: Any
) -> None:
    x, residual = (images(size, dtype, form) for _ in range(2))
    bias = torch.randn(size[1], device="cuda")
    chain = (bias, (("unary", "silu"), ("add", 0)), [residual])
    batch, channels, *pixels = size
    whole = torch.ones(batch, before + channels + 5, *pixels, dtype=dtype, device="cuda")
    whole = whole.contiguous(memory_format=form)
    slot = whole[:, before : before + channels]

    def check(got: Any, want: Any) -> None:
        assert torch.equal(got, want)
        assert torch.equal(slot, want)
        assert bool((whole[:, :before] == 1).all())
        assert bool((whole[:, before + channels :] == 1).all())
        slot.fill_(1)

    want = epilogue(x, *chain)
    check(epilogue_into(x, slot, *chain), want)
    check(epilogue_into(x, slot, *chain, dense=True), want)
    want = group_norm_act(x, 8, bias, bias, 1e-5, ("silu",))
    for dense in (False, True):
        check(group_norm_act(x, 8, bias, bias, 1e-5, ("silu",), slot=slot, dense=dense), want)
    want = epilogue(x, *chain)
    check(epilogue_(x, *chain, slot=slot), want)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 8), (2, 3, 33, 17, 40), (2, 4, 256, 256, 64),
                                   (1, 2, 1024, 77, 128)], ids=str)  # fmt: skip
def test_attention(dtype: torch.dtype, sizes: tuple[int, ...]) -> None:
    batch, heads, n, m, d = sizes
    q = images((batch, heads, d, n), dtype, torch.contiguous_format).transpose(2, 3)
    k, v = (images((batch, m, heads, d), dtype, torch.contiguous_format).transpose(1, 2)
            for _ in range(2))  # fmt: skip
    got = attention(q, k, v, d**-0.5)
    scores = q.double() @ k.double().transpose(2, 3) * d**-0.5
    near(got, scores.softmax(-1) @ v.double(), dtype)


@pytest.mark.parametrize("form", FORMATS, ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m_sde", "unipc"])
@pytest.mark.parametrize("size", [(3, 8, 8), (1, 28, 28), (3, 64, 64), (2, 5, 7)], ids=str)
def test_sampler_update_is_its_reference(
    size: tuple[int, int, int], sampler: str, dtype: torch.dtype, form: Any
) -> None:
    """Whole runs of both, the reference on the CPU; samples at different rows, one finished."""
    from fastdiff import schedules
    from fastdiff.kernels.reference_update import sampler_update_reference
    from fastdiff.kernels.sampler_update import sampler_update
    from fastdiff.requests.tables import table_of

    table = table_of(sampler, schedules.course(), 6, {})
    count, batch = len(table), 4
    generator = torch.Generator().manual_seed(0)

    def random(*sizes: int) -> torch.Tensor:
        return torch.randn(*sizes, generator=generator)

    state = {
        "x": random(batch, *size),
        "table": torch.tensor(table.rows, dtype=torch.float32),
        "rows": torch.tensor([0, 2, 0, count], dtype=torch.int32),
        "count": torch.tensor([count], dtype=torch.int32),
        "seeds": torch.tensor([1, -7, 2**40, 5]),
        "x_past": random(3, batch, *size),
        "m_past": random(3, batch, *size),
        "guidance": torch.tensor([1.0, 2.0, 0.0, 7.5]),
        "mask": torch.rand(batch, 1, *size[1:], generator=generator),
        "image": random(batch, *size),
        "x0": random(batch, *size),
    }
    # Rows before the first are never read: a kernel that did would spread the nan.
    state["x_past"][:, [0, 2]] = float("nan")
    state["m_past"][:, [0, 2]] = float("nan")
    model_in = torch.zeros(2 * batch, *size, dtype=dtype).contiguous(memory_format=form)
    places = [
        {name: value.clone().to(device) for name, value in state.items()}
        | {"model_in": model_in.clone().to(device)}
        for device in ("cpu", "cuda")
    ]
    for _ in range(count):
        both = random(2 * batch, *size).to(dtype).contiguous(memory_format=form)
        for update, held in zip((sampler_update_reference, sampler_update), places, strict=True):
            uncond, m = both.to(held["x"].device).chunk(2)
            update(m=m, uncond=uncond, **held)
            held["rows"].add_(1)
    for name in ("x", "x0", "model_in"):
        want, got = (held[name].float().cpu() for held in places)
        tolerance = 1e-4 if name != "model_in" or dtype == torch.float32 else 0.05
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)
