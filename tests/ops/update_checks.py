"""What sampler_update must do, whoever runs it: test_sampler_update_triton.py has these tests run
by the kernel in Triton's interpreter, test_update_reference.py by the plain torch that CPU tensors
get otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fastdiff import FastdiffError
from fastdiff.kernels import sampler_update as module
from fastdiff.kernels.sampler_tile import BLOCK
from fastdiff.kernels.sampler_update import sampler_update
from fastdiff.samplers import SamplerTable
from fastdiff.samplers.table import COLUMNS, INDEX, WIDTH
from tests.ops.update_runs import TABLES, check_whole_runs
from tests.ops.update_state import NAN, SHAPES, State, same_bits
from tests.ops.update_steps import STEPS, Case, Step, check_step

INF = float("inf")


def test_the_shapes_pass_a_block() -> None:
    sizes = [int(np.prod(shape)) for shape in SHAPES]
    assert sizes == [1, 3, 5, 768, BLOCK + 4, BLOCK + 1]


def test_the_tables_use_every_column() -> None:
    neutral = {"in_scale": 1.0, "x0_lo": -INF, "x0_hi": INF}
    for column in COLUMNS:
        assert any((t[column] != neutral.get(column, 0.0)).any() for t in TABLES.values()), column


@pytest.mark.parametrize("name", TABLES)
def test_whole_runs_equal_the_reference(name: str) -> None:
    check_whole_runs(name, (1, 2, 5))


def test_a_whole_run_of_several_blocks_equals_the_reference() -> None:
    check_whole_runs("dpmpp_2m_sde", (3, 16, 16))


@pytest.mark.parametrize("name", STEPS)
def test_a_step_equals_the_eager_formulas(name: str) -> None:
    check_step(STEPS[name])


def one_row(columns: dict[str, float], rows: int = 1, **also: Any) -> State:
    """A batch of two over a table whose rows are all alike."""
    columns = {"t": 0.5, **columns}
    table = SamplerTable.build("rows", {c: np.full(rows, v) for c, v in columns.items()}, **also)
    state = State.of(table, 2, (1, 2, 2))
    state.x.fill_(2.0)
    return state


def test_a_row_without_x0_does_not_see_an_infinite_one() -> None:
    state = one_row({"x[0]": 0.5, "m[0]": 1.0, "x0_from_x": 3e38, "x0_from_m": 1.0})
    state.update(torch.ones(2, 1, 2, 2))
    assert (state.x == 2.0).all()


def test_a_slot_that_no_row_has_filled_is_not_read() -> None:
    """Even where a row weighs it: tables from SamplerTable do not."""
    state = State.of(TABLES["unipc"], 2, (1, 2, 2))
    state.x.fill_(2.0)
    state.table[:] = 0.0
    state.table[:, [INDEX[f"x[{back}]"] for back in range(4)]] = 1.0
    state.rows.copy_(torch.tensor([0, 2]))
    state.x_past[:2, 1] = 5.0
    state.update(torch.zeros(2, 1, 2, 2))
    assert (state.x[0] == 2.0).all()
    assert (state.x[1] == 12.0).all()


def test_an_output_that_is_nan_shows() -> None:
    state = one_row({"x0": 1.0, "x0_from_m": 1.0, "x0_lo": -1.0, "x0_hi": 1.0})
    x0 = torch.zeros(2, 1, 2, 2)
    state.update(torch.tensor([NAN, 3.0])[:, None, None, None].expand(2, 1, 2, 2), x0=x0)
    assert state.x[0].isnan().all()
    assert x0[0].isnan().all()
    assert (state.x[1] == 1.0).all()
    assert (x0[1] == 1.0).all()


def test_noise_belongs_to_seed_and_row_alone() -> None:
    """The same samples in another batch, at other places and of other neighbours."""
    whole, part = Case(Step(m_layout="channels_last")), Case(Step(m_layout="channels_last"))
    whole.run()
    state = part.state
    order = [2, 0]
    for name in ("x", "rows", "seeds", "model_in"):
        setattr(state, name, getattr(state, name)[order].contiguous())
    for name in ("x_past", "m_past"):
        setattr(state, name, getattr(state, name)[:, order].contiguous())
    part.state.update(part.m[order])
    assert same_bits(state.x, whole.state.x[order])
    assert same_bits(state.m_past, whole.state.m_past[:, order])


def test_finished_samples_keep_every_bit() -> None:
    case = Case(STEPS["everything"])
    state = case.state
    state.rows.copy_(torch.tensor([7, 3, 2**31 - 1]))
    before = [a.clone() for a in (*state.written()[:-1], state.model_in[:3], case.x0)]
    second_half = state.model_in[3:].clone()
    case.run()
    after = (*state.written()[:-1], state.model_in[:3], case.x0)
    for old, new in zip(before, after, strict=True):
        assert same_bits(old[[0, 2]], new[[0, 2]])
    assert same_bits(second_half[[0, 2]], state.model_in[3:][[0, 2]])
    assert not same_bits(before[0][1], state.x[1])


def test_a_batch_all_of_whose_samples_are_finished_is_left_alone() -> None:
    state = one_row({"x[0]": 0.5})
    state.rows.fill_(1)
    state.update(torch.full((2, 1, 2, 2), NAN))
    assert (state.x == 2.0).all()
    assert state.model_in.isnan().all()


def test_count_cuts_the_table() -> None:
    """Fewer rows in use than there are: the last of them is followed by the image."""
    state = one_row({"x[0]": 0.5, "in_scale": 3.0}, rows=4)
    state.count.fill_(2)
    image, mask = torch.full((2, 1, 2, 2), 9.0), torch.zeros(2, 1, 2, 2)
    m = torch.zeros(2, 1, 2, 2)
    state.update(m)
    assert (state.model_in == 3.0).all()
    state.rows.fill_(1)
    state.update(m, image=image, mask=mask)
    assert (state.x == 9.0).all()
    assert (state.model_in == 9.0).all()
    state.rows.fill_(2)
    state.update(m)
    assert (state.x == 9.0).all()


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 4, 0)], ids=str)
@pytest.mark.parametrize("twice", [1, 2])
def test_nothing_to_do(shape: tuple[int, ...], twice: int) -> None:
    state = State.of(TABLES["unipc"], shape[0], shape[1:])
    state.model_in = torch.zeros(twice * shape[0], *shape[1:])
    state.update(torch.zeros(shape))
    assert state.x.shape == shape


def test_surroundings_of_x_are_left_alone() -> None:
    state = one_row({"x[0]": 0.5})
    wide = torch.full((4, 1, 2, 2), 7.0)
    state.x = wide[1:3]
    state.update(torch.zeros(2, 1, 2, 2))
    assert (wide[1:3] == 3.5).all()
    assert (wide[[0, 3]] == 7.0).all()


def arguments(**change: Any) -> dict[str, Any]:
    """Right ones, of every option, but for ``change``."""
    n, sample = 2, (3, 4, 4)
    return {
        "x": torch.zeros(n, *sample),
        "m": torch.zeros(n, *sample),
        "table": torch.zeros(5, WIDTH),
        "rows": torch.zeros(n, dtype=torch.int32),
        "count": torch.ones(1, dtype=torch.int32),
        "seeds": torch.zeros(n, dtype=torch.int64),
        "x_past": torch.zeros(3, n, *sample),
        "m_past": torch.zeros(1, n, *sample),
        "model_in": torch.zeros(2 * n, *sample),
        "uncond": torch.zeros(n, *sample),
        "guidance": torch.zeros(n),
        "factor": torch.zeros(n),
        "guided_rows": torch.ones(1, dtype=torch.int32),
        "image": torch.zeros(n, *sample),
        "mask": torch.zeros(n, 1, 4, 4),
        "x0": torch.zeros(n, *sample),
        **change,
    }


ZEROS = torch.zeros
WRONG = [
    ({"x": [1.0]}, r"^x: expected a tensor of float32 \[n, n, n, n\], got \[1.0\]$"),
    ({"x": ZEROS(2, 3, 4, 4).double()}, r"^x: .*got float64 \[2, 3, 4, 4\]$"),
    ({"x": ZEROS(2, 4, 4, 3).permute(0, 3, 1, 2)}, "^x: expected a contiguous tensor, got str"),
    ({"m": ZEROS(2, 3, 4, 5)}, r"^m: .*float32 or bfloat16 or float16 \[2, 3, 4, 4\], got float32"),
    ({"m": ZEROS(2, 3, 4, 4).double()}, r"^m: .*got float64 \[2, 3, 4, 4\]$"),
    ({"table": ZEROS(5, 18)}, r"^table: expected a tensor of float32 \[n, 19\], got .*18\]$"),
    ({"table": ZEROS(5, 19).double()}, "^table: .*got float64"),
    ({"rows": ZEROS(2, dtype=torch.int64)}, r"^rows: .*int32 \[2\], got int64 \[2\]$"),
    ({"rows": ZEROS(3, dtype=torch.int32)}, r"^rows: .*got int32 \[3\]$"),
    ({"rows": ZEROS(4, dtype=torch.int32)[::2]}, "^rows: expected a contiguous tensor"),
    ({"count": 3}, r"^count: expected a tensor of int32 \[1\], got 3$"),
    ({"seeds": ZEROS(2, dtype=torch.int32)}, "^seeds: .*got int32"),
    ({"x_past": ZEROS(4, 2, 3, 4, 4)}, "^x_past: expected at most 3 slots, got 4$"),
    ({"x_past": ZEROS(2, 3, 4, 4)}, r"^x_past: .*float32 \[n, 2, 3, 4, 4\], got"),
    ({"m_past": ZEROS(1, 3, 3, 4, 4)}, r"^m_past: .*got float32 \[1, 3, 3, 4, 4\]$"),
    ({"model_in": ZEROS(3, 3, 4, 4)}, r"^model_in: .*\[2, 3, 4, 4\], got float32 \[3, 3, 4, 4\]$"),
    ({"model_in": ZEROS(4, 3, 4, 5)}, r"^model_in: .*\[4, 3, 4, 4\], got float32 \[4, 3, 4, 5\]$"),
    ({"model_in": None}, "^model_in: .*got None$"),
    ({"uncond": None}, "^uncond: expected with guidance, got None$"),
    ({"guidance": None}, "^guidance: expected with uncond, got None$"),
    ({"uncond": None, "guidance": None}, "^factor: expected only with uncond and guidance$"),
    (
        {"uncond": None, "guidance": None, "factor": None},
        "^guided_rows: expected only with uncond and guidance$",
    ),
    ({"uncond": ZEROS(4, 3, 4, 4)}, r"^uncond: .*got float32 \[4, 3, 4, 4\]$"),
    ({"guidance": ZEROS(1)}, r"^guidance: .*float32 \[2\], got float32 \[1\]$"),
    ({"factor": ZEROS(2).double()}, "^factor: .*got float64"),
    ({"guided_rows": 3}, r"^guided_rows: expected a tensor of int32 \[1\], got 3$"),
    ({"image": None}, "^image: expected with mask, got None$"),
    ({"mask": None}, "^mask: expected with image, got None$"),
    ({"mask": ZEROS(2, 3, 4, 4)}, r"^mask: .*\[2, 1, 4, 4\], got float32 \[2, 3, 4, 4\]$"),
    ({"image": ZEROS(2, 3, 4, 4).half()}, "^image: .*got float16"),
    ({"x0": ZEROS(2, 3, 4, 8)[..., ::2]}, "^x0: expected a contiguous tensor"),
    ({"seeds": ZEROS(2, dtype=torch.int64, device="meta")}, "^seeds: .*on cpu, as x, got .*meta$"),
    ({"x0": ZEROS(2, 3, 4, 4, device="meta")}, "^x0: expected a tensor on cpu, as x"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[",".join(c) for c, _ in WRONG])
def test_a_wrong_argument_is_named(change: dict[str, Any], message: str) -> None:
    sampler_update(**arguments())
    with pytest.raises(FastdiffError, match=message):
        sampler_update(**arguments(**change))


def test_on_a_device_without_kernels_the_call_says_so() -> None:
    with pytest.raises(
        FastdiffError, match=r"^x: expected a tensor on a CUDA device .*TRITON_INTERPRET=1.* meta$"
    ):
        module._launch(*(a.to("meta") for a in arguments().values()))


OPTIONS = ("uncond", "guidance", "factor", "guided_rows", "image", "mask", "x0")


@pytest.mark.parametrize("given", [OPTIONS, (), ("x0",)], ids=["all", "none", "x0"])
def test_the_op_passes_opcheck(given: tuple[str, ...]) -> None:
    left_out = {name: None for name in OPTIONS if name not in given}
    torch.library.opcheck(module.OP, tuple(arguments(**left_out).values()))


class Last(torch.nn.Module):
    """A network's last product and the update of what it has answered."""

    def forward(
        self, x: torch.Tensor, m: torch.Tensor, seeds: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        x, model_in, none = x.clone(), torch.empty_like(x), x.new_zeros(0, *x.shape)
        table, count = x.new_ones(2, WIDTH), rows.new_full((1,), 2)
        sampler_update(x, m * 2.0, table, rows, count, seeds, none, none, model_in)
        return x + model_in


def inputs(n: int) -> tuple[torch.Tensor, ...]:
    return (
        torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(n)),
        torch.ones(n, 3, 4, 4),
        torch.arange(n),
        torch.zeros(n, dtype=torch.int32),
    )


def test_export_keeps_the_op_whole_for_any_batch() -> None:
    batch = torch.export.Dim("batch", min=2, max=64)
    exported = torch.export.export(Last(), inputs(3), dynamic_shapes=[{0: batch}] * 4)
    calls = [str(n.target) for n in exported.graph.nodes if n.op == "call_function"]
    assert [call for call in calls if "fastdiff" in call] == ["fastdiff.sampler_update.default"]
    torch.testing.assert_close(
        exported.module()(*inputs(5)), Last()(*inputs(5)), rtol=1e-6, atol=1e-6
    )


def test_compiled_modules_call_the_op() -> None:
    compiled = torch.compile(Last(), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*inputs(3)), Last()(*inputs(3)), rtol=0, atol=0)
