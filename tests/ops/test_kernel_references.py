"""On a CPU without Triton's interpreter the ops run their plain torch references."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from torch.nn import functional

from fastdiff import FastdiffError
from fastdiff.kernels import (
    attention,
    epilogue,
    epilogue_into,
    group_norm_act,
    launch,
    layer_norm_act,
)
from fastdiff.kernels.activations import KINDS
from fastdiff.program.reference import REFERENCE

pytestmark = pytest.mark.skipif(launch.INTERPRETED, reason="the interpreter runs the kernels")

LAST = torch.channels_last
DTYPES = {torch.float32: 2e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}
FORMATS = [torch.contiguous_format, LAST]


def random(*shape: int, seed: int = 0) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def close(got: Any, exact: Any) -> None:
    tolerance = DTYPES[got.dtype]
    torch.testing.assert_close(got.double(), exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(kind: str) -> None:
    x = random(2, 3, 4, 5).abs() + 0.1
    close(epilogue.epilogue(x, None, [kind]), REFERENCE["unary"](x.double(), kind))


@pytest.mark.parametrize("memory", FORMATS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_epilogue(dtype: Any, memory: Any) -> None:
    x = random(2, 6, 5, 7).to(dtype).to(memory_format=memory)
    bias, vector, full = random(6, seed=1), random(2, 6, 1, 1, seed=2), random(2, 6, 5, 7, seed=3)
    steps = ["gelu", ("mul", 0), ("add", 1), ("unary", "tanh"), ("scale", 0)]
    got = epilogue.epilogue(x, bias, steps, [vector, full])
    y = functional.gelu(x.double() + bias.double()[:, None, None]) * vector.double()
    close(got, torch.tanh(y + full.double()) * (1 + vector.double()))
    assert got.stride() == x.stride()
    again = epilogue.epilogue_(x, bias, steps, [vector, full])
    assert again is x
    torch.testing.assert_close(again, got, rtol=0, atol=0)


def test_epilogue_of_linear_layers() -> None:
    x, bias = random(3, 5, 8), random(8, seed=1)
    expected = functional.silu(x.double() + bias.double())
    close(epilogue.epilogue(x, bias, ["silu"], channel_dim=-1), expected)
    close(epilogue.epilogue(x[0], bias, ["silu"], channel_dim=1), expected[0])


@pytest.mark.parametrize("memory", FORMATS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_group_norm_act(dtype: Any, memory: Any) -> None:
    x = random(2, 6, 5, 7).to(dtype).to(memory_format=memory)
    weight, bias, scale, shift = (random(*s, seed=1) for s in ((6,), (6,), (2, 6), (2, 6)))
    got = group_norm_act.group_norm_act(
        x, 3, weight, bias, activation="silu", scale=scale, shift=shift
    )
    y = functional.group_norm(x.double().contiguous(), 3, weight.double(), bias.double())
    y = y * (1 + scale.double()[:, :, None, None]) + shift.double()[:, :, None, None]
    close(got, functional.silu(y))
    assert got.stride() == x.stride()


@pytest.mark.parametrize("memory", FORMATS, ids=str)
def test_group_norm_act_of_a_large_mean(memory: Any) -> None:
    x = (random(2, 6, 9, 9) + 1000).to(memory_format=memory)
    exact = functional.group_norm(x.double().contiguous(), 2)
    assert float((group_norm_act.group_norm_act(x, 2).double() - exact).abs().max()) < 2e-6 * 4


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_layer_norm_act(dtype: Any) -> None:
    x, weight, bias = random(2, 5, 40).to(dtype), random(40, seed=1), random(40, seed=2)
    got = layer_norm_act.layer_norm_act(x, weight, bias, steps=["gelu"])
    exact = functional.layer_norm(x.double(), (40,), weight.double(), bias.double())
    close(got, functional.gelu(exact))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_attention(dtype: Any) -> None:
    q, k, v = (random(2, 3, n, 8, seed=n).to(dtype) for n in (5, 7, 7))
    got = attention.attention(q, k, v, 0.3)
    exact = torch.softmax(0.3 * q.double() @ k.double().transpose(-1, -2), -1) @ v.double()
    close(got, exact)
    assert got.transpose(1, 2).is_contiguous()


X = random(2, 4, 5, 5)
CALLS = {
    epilogue: lambda: epilogue.epilogue(X, None, ["gelu"]),
    group_norm_act: lambda: group_norm_act.group_norm_act(X, 2),
    layer_norm_act: lambda: layer_norm_act.layer_norm_act(X),
    attention: lambda: attention.attention(X, X, X, 1.0),
}


@pytest.mark.parametrize("module", CALLS, ids=lambda module: module.__name__.split(".")[-1])
def test_where_neither_runs_the_call_says_so(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    CALLS[module]()
    monkeypatch.setattr(module, "runs_reference", lambda device: False)
    with pytest.raises(
        FastdiffError, match=r"^[xq]: expected a tensor on a CUDA device .* on cpu$"
    ):
        CALLS[module]()


@pytest.mark.parametrize("memory", FORMATS, ids=str)
def test_opcheck(memory: Any) -> None:
    x = X.to(memory_format=memory)
    torch.library.opcheck(epilogue.OP, (x, None, [2, 16], [random(4, 1, 1)], 1))
    torch.library.opcheck(epilogue.OP_IN_PLACE, (x, None, [2], [], 1))
    slot = random(2, 9, 5, 5).to(memory_format=memory)[:, 3:7]
    torch.library.opcheck(epilogue.OP_IN_PLACE, (x.clone(), None, [2], [], 1, slot))
    torch.library.opcheck(group_norm_act.OP, (x, 2, None, None, 1e-5, [], []))
    for out in (None, torch.empty_like(x)):
        torch.library.opcheck(epilogue_into.OP, (x, None, [2], [], 1, slot, out))
        norm = (x, 2, None, None, 1e-5, [], [], slot, out)
        torch.library.opcheck(group_norm_act.OP_INTO, norm)
    torch.library.opcheck(layer_norm_act.OP, (x, 1, None, None, 1e-5, [], []))
    torch.library.opcheck(attention.OP, (x, x, x, 1.0, False))
