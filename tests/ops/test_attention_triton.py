"""kernels/attention.py in Triton's interpreter, against softmax(scale q k^T) v in float64."""

from __future__ import annotations

import os
from typing import Any

import pytest

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("needs TRITON_INTERPRET=1", allow_module_level=True)

import torch
from torch import Tensor

from fastdiff import FastdiffError
from fastdiff.kernels import attention as kernels
from fastdiff.kernels.attention import attention
from tests.ops.accuracy import assert_accurate

# NumPy, which the interpreter runs on, warns of what a GPU does in silence.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.*")

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
# Sums of products: float32 shows them, the others their one rounding of p and of the answer.
ULPS = {torch.float32: 8.0, torch.bfloat16: 4.0, torch.float16: 4.0}


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def inputs(
    n: int, m: int, d: int, heads: int = 2, batch: int = 2, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    q, k = random(batch, heads, n, d), random(batch, heads, m, d, seed=1)
    v = random(batch, heads, m, d, seed=2)
    return q.to(dtype), k.to(dtype), v.to(dtype)


def definition(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    return torch.softmax(scale * q @ k.transpose(-1, -2), -1) @ v


def check(q: Tensor, k: Tensor, v: Tensor, scale: float, ulps: float = 8.0) -> Tensor:
    got = attention(q, k, v, scale)
    exact = definition(q.double(), k.double(), v.double(), scale)
    assert_accurate(got, definition(q, k, v, scale), exact, ulps)
    assert got.transpose(1, 2).is_contiguous()
    return got


@pytest.mark.parametrize("d", [1, 8, 40, 64, 128])
@pytest.mark.parametrize("m", [1, 5, 16, 33])
@pytest.mark.parametrize("n", [1, 5, 16, 33])
def test_queries_keys_and_head_sizes(n: int, m: int, d: int) -> None:
    check(*inputs(n, m, d, heads=1 + n % 3, batch=1 + m % 2), d**-0.5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sizes", [(33, 33, 64), (5, 70, 40), (70, 16, 128)], ids=str)
def test_dtypes(sizes: tuple[int, int, int], dtype: torch.dtype) -> None:
    check(*inputs(*sizes, heads=3, dtype=dtype), sizes[2] ** -0.5, ULPS[dtype])


def test_many_blocks_of_queries_and_keys() -> None:
    check(*inputs(150, 200, 16, heads=1, batch=1), 0.25)
    check(*inputs(150, 192, 16, heads=1, batch=1, dtype=torch.bfloat16), 0.25, ulps=4)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_large_logits_neither_overflow_nor_lose_a_row(dtype: torch.dtype) -> None:
    q, k, v = inputs(20, 70, 32, dtype=dtype)
    q = q * 20  # logits of some hundreds, their largest in any block
    plain = definition(q.float(), k.float(), v.float(), 1.0).to(dtype)
    exact = definition(q.double(), k.double(), v.double(), 1.0)
    assert_accurate(attention(q, k, v, 1.0), plain, exact, ulps=400 if dtype == DTYPES[0] else 4)


def test_logits_beyond_float16_and_exp() -> None:
    q = torch.full((1, 1, 3, 16), 200.0)
    k = torch.stack([torch.full((40, 16), s) for s in (200.0, -200.0)], 0)[:, None][:1]
    k = torch.cat([k, -k, k], 2)  # logits 160000 and -160000 times sixteen
    v = random(1, 1, 120, 16)
    got = attention(q, k, v, 16.0)
    expected = torch.cat([v[:, :, :40], v[:, :, 80:]], 2).mean(2, keepdim=True).expand(1, 1, 3, 16)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [-0.5, 0.0, 3.0])
def test_any_scale(scale: float) -> None:
    check(*inputs(9, 40, 8), scale)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_channels_first_maps_need_no_transpose(dtype: torch.dtype) -> None:
    maps = [random(2, 3 * 24, 5, 7, seed=i).to(dtype) for i in range(3)]
    q, k, v = (t.view(2, 3, 24, 35).transpose(2, 3) for t in maps)
    assert q.stride(2) == 1
    got = check(q, k, v, 24**-0.5, ULPS[dtype])
    expected = attention(q.contiguous(), k.contiguous(), v.contiguous(), 24**-0.5)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_any_strides() -> None:
    qkv = random(2, 33, 3, 4, 16)  # one projection: [B, N, 3, heads, D]
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    expected = attention(q.contiguous(), k.contiguous(), v.contiguous(), 0.25)
    torch.testing.assert_close(attention(q, k, v, 0.25), expected, rtol=0, atol=0)
    wide = random(2, 4, 66, 32, seed=1)[:, :, ::2, ::2]
    one_head = random(2, 1, 33, 16, seed=2).expand(2, 4, 33, 16)
    check(wide, one_head, v, 0.25)
    back = attention(q, k, v, 0.25).permute(0, 2, 1, 3).reshape(2, 33, 64)
    assert back.is_contiguous()


def test_the_layout_of_heads_and_tokens_is_a_view() -> None:
    got = attention(*inputs(5, 7, 8, heads=3), 1.0)
    joined = got.permute(0, 2, 1, 3).reshape(2, 5, 24)
    assert joined.data_ptr() == got.data_ptr()
    assert got.shape == (2, 3, 5, 8)


class Recorder:
    """Stands for a kernel and keeps what it is launched with."""

    def __init__(self) -> None:
        self.launched: list[dict[str, Any]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda *arguments, **options: self.launched.append(options)


# The interpreter multiplies float32 in any case: what can be shown is what is asked for.
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tf32_is_allowed_only_where_asked(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(kernels, "attention_kernel", recorder)
    q, k, v = inputs(3, 4, 8, dtype=dtype)
    attention(q, k, v, 0.2)
    attention(q, k, v, 0.2, allow_tf32=True)
    asked = [options["PRECISION"] for options in recorder.launched]
    assert asked == ["ieee", "tf32" if dtype == torch.float32 else "ieee"]


def test_nothing_of_no_samples_or_no_queries() -> None:
    assert attention(*inputs(5, 6, 8, batch=0), 1.0).shape == (0, 2, 5, 8)
    assert attention(*inputs(0, 6, 8), 1.0).shape == (2, 2, 0, 8)


def test_samples_and_queries_do_not_depend_on_their_neighbours() -> None:
    q, k, v = inputs(40, 33, 16, batch=3)
    whole = attention(q, k, v, 0.25)
    alone = attention(q[1:2, 1:, 35:], k[1:2, 1:], v[1:2, 1:], 0.25)
    torch.testing.assert_close(alone, whole[1:2, 1:, 35:], rtol=1e-6, atol=1e-6)


Q = random(2, 3, 5, 8)
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"q": None}, "^q: expected a tensor of float32 or bfloat16 or float16 .* got None$"),
    ({"q": Q[0]}, r"^q: .* \[n, n, n, n\], got float32 \[3, 5, 8\]$"),
    ({"q": Q.double()}, r"^q: .* got float64 \[2, 3, 5, 8\]$"),
    ({"q": random(2, 3, 5, 129)}, r"^q: expected from 1 to 128 .* got \[2, 3, 5, 129\]$"),
    ({"q": random(2, 3, 5, 0)}, r"^q: expected from 1 to 128 .* got \[2, 3, 5, 0\]$"),
    ({"k": Q[:1]}, r"^k: expected .* \[2, 3, n, 8\], got float32 \[1, 3, 5, 8\]$"),
    ({"k": Q.half()}, r"^k: expected a tensor of float32 .* got float16 \[2, 3, 5, 8\]$"),
    ({"k": Q[:, :, :0]}, r"^k: expected at least one key, got \[2, 3, 0, 8\]$"),
    ({"v": Q[:, :, :4]}, r"^v: expected .* \[2, 3, 5, 8\], got float32 \[2, 3, 4, 8\]$"),
    ({"v": Q.to("meta")}, "^v: expected a tensor on cpu, as q, got one on meta$"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[next(iter(c)) for c, _ in WRONG])
def test_a_wrong_argument_is_named(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"q": Q, "k": Q, "v": Q, "scale": 1.0}
    with pytest.raises(FastdiffError, match=message):
        attention(**{**good, **change})


def test_the_op_passes_opcheck() -> None:
    q, k, v = inputs(5, 7, 8)
    torch.library.opcheck(kernels.OP, (q, k, v, 0.3, False))
    torch.library.opcheck(
        kernels.OP, (q.transpose(1, 2).contiguous().transpose(1, 2), k, v, 1.0, True)
    )


class Attending(torch.nn.Module):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention(q, k, v, 0.5).permute(0, 2, 1, 3).flatten(2)


def test_export_keeps_the_op_whole_for_any_batch() -> None:
    given = inputs(6, 9, 8, batch=3)
    batch = torch.export.Dim("batch")
    exported = torch.export.export(Attending(), given, dynamic_shapes=[{0: batch}] * 3)
    calls = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
    assert [call for call in calls if "fastdiff" in call] == ["fastdiff.attention.default"]
    assert not [call for call in calls if "clone" in call or "contiguous" in call]
    other = tuple(t[:2] for t in given)
    torch.testing.assert_close(exported.module()(*other), Attending()(*other), rtol=0, atol=0)


def test_compiled_modules_call_the_op() -> None:
    given = inputs(6, 9, 8)
    compiled = torch.compile(Attending(), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*given), Attending()(*given), rtol=0, atol=0)
