"""Concatenations that kernels write into: the same bits as with torch's, fewer launches, and why
not where it is not so."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from fastdiff.cuda.program_module import ProgramModule
from fastdiff.program.lower import parts_of, program_of
from fastdiff.program.reference import run
from tests.cuda.launches import Launches
from tests.native.test_models import model_of
from tests.program.writer import Writer

CPU = torch.device("cpu")
CONV = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
LAST = torch.channels_last
WAYS = [(torch.float32, False), (torch.float32, True), (torch.bfloat16, True)]


def values_of(program: Any, batch: int, last: bool) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name in program.inputs:
        sizes = [batch if size == -1 else size for size in program.values[name].shape]
        found[name] = torch.rand(sizes, generator=generator)
        if last and found[name].dim() == 4:
            found[name] = found[name].contiguous(memory_format=LAST)
    return found


def both(
    program: Any, dtype: torch.dtype = torch.float32, last: bool = False, tolerance: float = 0.0
) -> tuple[ProgramModule, list[dict[str, int]]]:
    """The module after checking that its bits are those without the rule, or, with a tolerance,
    near them; ops run with, without.
    """
    program = program.with_nodes(program.nodes)  # without what nobody reads
    modules = [ProgramModule(program, CPU, dtype, last, join=join) for join in (True, False)]
    given = values_of(program, 3, last)
    outputs, counts = [], []
    for module in modules:
        inputs = {name: value.to(module.dtype_of(name)) for name, value in given.items()}
        before = {name: value.clone() for name, value in inputs.items()}
        with torch.no_grad(), Launches() as launches:
            outputs.append(module(inputs, 3))
        counts.append(launches.counts)
        assert all(torch.equal(inputs[name], before[name]) for name in inputs)
    for got, want in zip(*outputs, strict=True):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)
    if dtype == torch.float32:
        for got, want in zip(outputs[0], run(program, given, torch.float64), strict=True):
            torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-5)
    return modules[0], counts


def reasons(module: ProgramModule, name: str) -> str:
    (found,) = (found for found in module.matches if found.node.output == name)
    return "; ".join(why for rule, why in found.refusals if rule == "join_concat")


def rule_of(module: ProgramModule, name: str) -> str:
    return next(found.rule for found in module.matches if found.node.output == name)


def conv(w: Writer, x: str, before: int, after: int, **options: Any) -> str:
    return str(w.op("conv2d", x, w.constant(after, before, 3, 3), w.constant(after), **CONV,
                    **options))  # fmt: skip


@pytest.mark.parametrize(("dtype", "last"), WAYS, ids=str)
def test_context_unet(tiny_model: Any, dtype: torch.dtype, last: bool) -> None:
    module, (joined, torchs) = both(parts_of(program_of(tiny_model)).step, dtype, last)
    assert torchs["aten.cat"] == 3
    assert "aten.cat" not in joined
    # Two of the skips pass through a pool, which is torch's: each is copied.
    assert joined["aten.copy_"] - torchs["aten.copy_"] == 2
    assert sum(joined.values()) == sum(torchs.values()) - 1
    assert module.describe().count("the pool behind conv2d is torch's") == 2


UNETS = [
    *(("attention", *way, 0.0) for way in WAYS[1:]),
    # Attention leaves images channels-last in a network that is not, and torch.cat keeps them so,
    # where the rule's are what the network is: convolutions sum in another order.
    ("attention", *WAYS[0], 1e-5),
    ("three levels, scale-shift", *WAYS[2], 0.0),
    *(("resnet sampling, fourier time", *way, 0.0) for way in WAYS),
]


@cache
def step_of(name: str) -> Any:
    model, _ = model_of(name)
    return parts_of(program_of(model)).step


@pytest.mark.parametrize(("name", "dtype", "last", "tolerance"), UNETS, ids=str)
def test_ddpm_unets_concatenate_without_a_launch(
    name: str, dtype: torch.dtype, last: bool, tolerance: float
) -> None:
    program = step_of(name)
    module, (joined, torchs) = both(program, dtype, last, tolerance)
    images = [
        node.output
        for node in program.nodes
        if node.op == "concat" and len(program.values[node.output].shape) == 4
    ]
    assert len(images) >= 4
    assert {rule_of(module, name) for name in images} == {"join_concat"}
    assert not any(reasons(module, name) for name in images)
    assert joined["aten.copy_"] == torchs["aten.copy_"]
    saved = sum(torchs.values()) - sum(joined.values())
    assert saved >= len(images) if tolerance else saved == len(images)


def test_skips_within_skips() -> None:
    w = Writer({"x": (3, 8, 8)})
    outer = conv(w, "x", 3, 5)
    inner = conv(w, outer, 5, 4)
    core = conv(w, inner, 4, 6, epilogue=(("unary", "silu"),))
    low = w.op("concat", core, inner, dim=1)
    top = conv(w, low, 10, 5)
    out = conv(w, w.op("concat", top, outer, dim=1), 10, 3)
    for dtype, last in WAYS:
        _, (joined, torchs) = both(w.program(out), dtype, last)
        assert sum(torchs.values()) - sum(joined.values()) == 2


def test_a_concatenation_of_nothing_but_another_one_is_one_piece_of_memory() -> None:
    w = Writer({"x": (3, 8, 8)})
    parts = [conv(w, "x", 3, 2), conv(w, "x", 3, 5), conv(w, "x", 3, 3)]
    inside = w.op("concat", parts[0], parts[1], dim=1)
    whole = w.op("concat", inside, parts[2], dim=1)
    out = conv(w, whole, 10, 3)
    _, (joined, torchs) = both(w.program(out))
    assert sum(torchs.values()) - sum(joined.values()) == 2
    _, (joined, torchs) = both(w.program(whole))  # as the program's output, too
    assert sum(torchs.values()) - sum(joined.values()) == 2
    module, _ = both(w.program(out, inside))  # which is wanted by itself
    assert rule_of(module, inside) == "join_concat"
    assert reasons(module, whole) == f"{inside} is copied: others read this concatenation, too"


def test_a_value_in_two_concatenations_or_twice_in_one_is_copied() -> None:
    w = Writer({"x": (3, 8, 8)})
    a, b, c = conv(w, "x", 3, 2), conv(w, "x", 3, 5), conv(w, "x", 3, 3)
    first, second = w.op("concat", a, b, dim=1), w.op("concat", c, a, dim=1)
    twice = w.op("concat", c, c, dim=1)
    module, _ = both(w.program(first, second))
    assert reasons(module, second) == f"{a} is copied: {first} has its channels already"
    module, _ = both(w.program(twice))
    assert reasons(module, twice) == f"{c} is copied: it is there twice"


def test_outputs_that_are_also_joined_stay_tensors_of_their_own() -> None:
    w = Writer({"x": (3, 8, 8)})
    a, b = conv(w, "x", 3, 2), conv(w, "x", 3, 5)
    program = w.program(w.op("concat", a, b, dim=1), a, b)
    module, _ = both(program, last=True)
    outputs = module(values_of(program, 3, True), 3)
    assert all(output.is_contiguous(memory_format=LAST) for output in outputs)
    assert len({output.untyped_storage().data_ptr() for output in outputs}) == 3


def test_where_it_does_not_pay_it_says_so() -> None:
    w = Writer({"x": (3, 8, 8), "y": (3, 8, 8), "row": (6,)})
    lone = w.op("concat", "x", "y", dim=1)
    a = conv(w, "x", 3, 2)
    bare = w.op("conv2d", "y", w.constant(2, 3, 3, 3), "", **CONV)
    copies = w.op("concat", a, bare, "y", dim=1)
    one = w.op("concat", a, bare, dim=1)
    lines = w.op("concat", a, a, dim=2)
    rows = w.op("concat", "row", "row", dim=1)
    module, (joined, torchs) = both(w.program(lone, copies, lines, rows))
    assert joined == torchs
    assert torchs["aten.cat"] == 4
    assert reasons(module, lone).startswith(
        "no kernel of ours makes any of it; x is copied: it is "
    )
    assert reasons(module, copies) == (
        f"2 copies instead of torch's one launch; {bare} is copied: conv2d by plain is written "
        f"densely; y is copied: it is made elsewhere"
    )
    assert "along dimension 2, not images by their channels" in reasons(module, lines)
    assert reasons(module, rows) == "[B,12] along dimension 1, not images by their channels"
    assert {rule_of(module, name) for name in (lone, copies, lines, rows)} == {"plain"}
    module, (joined, torchs) = both(w.program(one))
    assert rule_of(module, one) == "join_concat"
    assert joined["aten.copy_"] == torchs["aten.copy_"] + 1


def test_a_lone_sum_is_worth_a_kernel_where_it_saves_the_copy() -> None:
    w = Writer({"x": (3, 8, 8), "y": (3, 8, 8)})
    total = w.op("binary", "x", "y", kind="add")
    a = conv(w, total, 3, 2)
    for dtype, last in WAYS:
        module, (joined, torchs) = both(w.program(w.op("concat", a, total, dim=1)), dtype, last)
        assert rule_of(module, total) == "fuse_elementwise"
        assert sum(torchs.values()) - sum(joined.values()) == 1


def test_a_layer_norm_of_whole_images_and_a_group_norm_write_there() -> None:
    w = Writer({"x": (4, 6, 6)})
    first = w.op("layer_norm", "x", w.constant(4, 6, 6), w.constant(4, 6, 6), dims=3, eps=1e-5)
    second = w.op("group_norm", "x", w.constant(4), w.constant(4), groups=2, eps=1e-5)
    whole = w.op("concat", first, second, dim=1)
    for dtype, last in WAYS:
        _, (joined, torchs) = both(w.program(whole), dtype, last)
        assert sum(torchs.values()) - sum(joined.values()) == 1
