"""What sampler_start must do, whoever runs it: test_sampler_start_triton.py has these tests run by
the kernel in Triton's interpreter, test_update_reference.py by the plain torch that CPU tensors get
otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fastdiff import FastdiffError
from fastdiff.backends import eager
from fastdiff.kernels import sampler_start as start_module
from fastdiff.kernels.sampler_start import sampler_start
from fastdiff.samplers import SamplerTable
from fastdiff.samplers.table import WIDTH
from tests.ops.update_state import (
    NAN,
    SHAPES,
    State,
    assert_as_near_as_plain,
    is_rounded,
    laid_out,
    normal,
    same_bits,
)

TABLE = SamplerTable.build(
    "start",
    {"t": [1.0, 0.5], "in_scale": [0.7, 5.0], "alpha": [0.3, 9.0], "sigma": [0.8, 9.0]},
    init_scale=2.5,
)


def check_start(
    shape: tuple[int, ...],
    n: int = 3,
    kept: bool = False,
    from_image: bool = False,
    dtype: torch.dtype = torch.float32,
    layout: str = "contiguous",
    twice: int = 1,
) -> None:
    state = State.of(TABLE, n, shape)
    state.model_in = laid_out(torch.full((n * twice, *shape), NAN, dtype=dtype), layout)
    around = state.model_in._base
    random = torch.Generator().manual_seed(2)
    image = torch.randn(n, *shape, generator=random)
    mask = torch.rand(n, 1, *shape[1:], generator=random)
    options: dict[str, Any] = {"image": image} if kept or from_image else {}
    if kept:
        options["mask"] = mask
    state.start(TABLE.init_scale, **options, from_image=from_image)

    def expected(dtype: torch.dtype) -> torch.Tensor:
        eps = normal(n, 0, 0, shape).to(dtype)
        picture = image.to(dtype)
        x = eager._at_level(TABLE, 0, picture, eps) if from_image else TABLE.init_scale * eps
        return eager._Kept(TABLE, picture, mask.to(dtype), eps).mix(x, 0) if kept else x

    assert_as_near_as_plain(state.x, expected(torch.float64), expected(torch.float32), 2.5)
    for half in range(twice):
        asked = state.model_in[half * n : half * n + n]
        assert is_rounded(asked, state.table[0, 1] * state.x)
    if around is not None:
        assert int(around.isnan().sum()) == around.numel() - state.model_in.numel()


@pytest.mark.parametrize("shape", SHAPES, ids=[str(int(np.prod(s))) for s in SHAPES])
@pytest.mark.parametrize("kept", [False, True], ids=["", "mask"])
def test_start_makes_the_seeds_noise(shape: tuple[int, ...], kept: bool) -> None:
    check_start(shape, kept=kept)


@pytest.mark.parametrize("kept", [False, True], ids=["", "mask"])
def test_start_from_an_image(kept: bool) -> None:
    check_start((3, 5, 7), from_image=True, kept=kept)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "apart"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("twice", [1, 2])
def test_start_writes_the_networks_input(layout: str, dtype: torch.dtype, twice: int) -> None:
    check_start((3, 4, 5), n=1 + twice, layout=layout, dtype=dtype, twice=twice)


def test_start_leaves_a_given_x() -> None:
    state = State.of(TABLE, 2, (3, 4, 5))
    state.x.copy_(torch.randn(state.x.shape, generator=torch.Generator().manual_seed(1)))
    x = state.x.clone()
    state.start(noise=False)
    assert same_bits(state.x, x)
    assert same_bits(state.model_in, state.table[0, 1] * x)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4)], ids=str)
def test_start_of_nothing(shape: tuple[int, ...]) -> None:
    state = State.of(TABLE, shape[0], shape[1:])
    state.start()
    assert state.x.shape == shape


def start_arguments(**change: Any) -> dict[str, Any]:
    return {
        "x": torch.zeros(2, 3, 4, 4),
        "table": torch.zeros(2, WIDTH),
        "seeds": torch.zeros(2, dtype=torch.int64),
        "init_scale": torch.ones(1),
        "model_in": torch.zeros(2, 3, 4, 4),
        "image": torch.zeros(2, 3, 4, 4),
        "mask": torch.zeros(2, 1, 4, 4),
        "from_image": False,
        "noise": True,
        **change,
    }


START_WRONG = [
    ({"x": torch.zeros(2, 3, 4)}, r"^x: expected a tensor of float32 \[n, n, n, n\], got .*4\]$"),
    ({"table": torch.zeros(0, WIDTH)}, "^table: expected at least one row, got none$"),
    ({"table": torch.zeros(WIDTH)}, r"^table: .*\[n, 19\], got float32 \[19\]$"),
    ({"seeds": torch.zeros(2)}, r"^seeds: .*int64 \[2\], got float32 \[2\]$"),
    ({"init_scale": 1.0}, r"^init_scale: expected a tensor of float32 \[1\], got 1.0$"),
    ({"model_in": torch.zeros(3, 3, 4, 4)}, r"^model_in: .*got float32 \[3, 3, 4, 4\]$"),
    ({"image": torch.zeros(2, 1, 4, 4)}, r"^image: .*got float32 \[2, 1, 4, 4\]$"),
    ({"mask": torch.zeros(2, 4, 4)}, r"^mask: .*\[2, 1, 4, 4\], got float32 \[2, 4, 4\]$"),
    ({"image": None}, "^image: expected with mask, got None$"),
    ({"image": None, "mask": None, "from_image": True}, "^image: expected with from_image, got N"),
    ({"noise": False}, r"^image: expected None where x is given \(noise=False\)$"),
    ({"table": torch.zeros(2, WIDTH, device="meta")}, "^table: expected a tensor on cpu, as x"),
]


@pytest.mark.parametrize(
    ("change", "message"), START_WRONG, ids=[",".join(c) for c, _ in START_WRONG]
)
def test_start_names_a_wrong_argument(change: dict[str, Any], message: str) -> None:
    sampler_start(**start_arguments())
    with pytest.raises(FastdiffError, match=message):
        sampler_start(**start_arguments(**change))


def test_start_on_a_device_without_kernels_says_so() -> None:
    arguments = (
        a.to("meta") if isinstance(a, torch.Tensor) else a for a in start_arguments().values()
    )
    with pytest.raises(FastdiffError, match=r"^x: expected a tensor on a CUDA device .* meta$"):
        start_module._launch(*arguments)


@pytest.mark.parametrize("change", [{}, {"image": None, "mask": None}], ids=["mask", ""])
def test_start_passes_opcheck(change: dict[str, Any]) -> None:
    torch.library.opcheck(start_module.OP, tuple(start_arguments(**change).values()))


class First(torch.nn.Module):
    """What stands before the loop, and a network's first product."""

    def forward(self, seeds: torch.Tensor) -> torch.Tensor:
        x = torch.empty(seeds.shape[0], 3, 4, 4)
        model_in = torch.empty_like(x)
        sampler_start(x, torch.ones(2, WIDTH), seeds, torch.ones(1), model_in)
        return 2.0 * model_in


def test_start_stays_one_op_when_exported() -> None:
    batch = torch.export.Dim("batch", min=2, max=64)
    exported = torch.export.export(First(), (torch.arange(3),), dynamic_shapes=[{0: batch}])
    calls = [str(n.target) for n in exported.graph.nodes if n.op == "call_function"]
    assert [call for call in calls if "fastdiff" in call] == ["fastdiff.sampler_start.default"]
    other = torch.arange(5)
    torch.testing.assert_close(exported.module()(other), First()(other), rtol=0, atol=0)


def test_start_stays_one_op_when_compiled() -> None:
    compiled = torch.compile(First(), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(torch.arange(3)), First()(torch.arange(3)), rtol=0, atol=0)
