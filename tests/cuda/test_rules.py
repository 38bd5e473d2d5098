"""Rewriting: whole networks by the rules' calls against the program in float64; what each rule
takes, and why it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fastdiff.cuda.program_module import ProgramModule
from fastdiff.cuda.rules import RULES, match
from fastdiff.cuda.rules.plain import plain
from fastdiff.program.lower import parts_of, program_of
from fastdiff.program.passes.fuse_epilogue import fuse_epilogue
from fastdiff.program.reference import run
from tests.native.test_models import model_of
from tests.program.foreign import NETS
from tests.program.writer import Writer, random_program

CPU = torch.device("cpu")


def values_of(program: Any, batch: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(
            [batch if size == -1 else size for size in program.values[name].shape],
            generator=generator,
        )
        for name in program.inputs
    }


def check(program: Any, batch: int, dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    """The module's outputs against float64, as near as plain torch in the same dtype."""
    module = ProgramModule(program, CPU, dtype, **options)
    straight = ProgramModule(program, CPU, dtype, rules=(plain,))
    given = values_of(program, batch)
    exact = run(program, given, torch.float64)
    results = []
    for which in (module, straight):
        inputs = {name: value.to(which.dtype_of(name)) for name, value in given.items()}
        results.append(which(inputs, batch))
    for want, got, other in zip(exact, *results, strict=True):
        assert got.shape == want.shape
        error, allowed = (
            float((value.double() - want).square().mean().sqrt()) for value in (got, other)
        )
        floor = {torch.float32: 1e-6, torch.bfloat16: 4e-3}[dtype] * float(want.std() + 1e-3)
        assert error <= 2 * allowed + floor
    return module


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_foreign_networks(name: str, dtype: torch.dtype) -> None:
    model, _ = model_of(name)
    parts = parts_of(program_of(model))
    for batch in (1, 3):
        module = check(parts.step, batch, dtype, channels_last=dtype != torch.float32)
    rules = {found.rule for found in module.matches}
    assert {"fuse_norm", "fuse_epilogue"} <= rules
    if any(node.op == "attention" for node in parts.step.nodes):
        assert "fuse_attention" in rules


@pytest.mark.parametrize("seed", range(20))
def test_random_programs(seed: int) -> None:
    program = fuse_epilogue(random_program(seed))
    check(program, 2)


def test_sprites16_is_fused_but_for_concatenations(tiny_model: Any) -> None:
    parts = parts_of(program_of(tiny_model))
    module = check(parts.step, 2)
    left = {found.node.op for found in module.matches if found.rule == "plain"}
    assert left <= {"concat", "pool", "conv2d", "conv_transpose2d"}
    said = module.describe().splitlines()
    assert len(said) == len(parts.step.nodes)
    assert sum(line.startswith("fuse_epilogue") for line in said) > 15


def test_memory_of_what_nobody_reads_any_more_is_let_go() -> None:
    w = Writer({"x": (2, 4, 4)})
    name = "x"
    for _ in range(6):
        name = w.op("unary", name, kind="tanh")
    program = w.program(name)
    module = ProgramModule(program, CPU)
    alive = []
    calls = [found.call for found in module.matches]

    def counting(k: int) -> Any:
        def run(arguments: Any, batch: int) -> torch.Tensor:
            import gc
            import weakref

            out = calls[k].run(arguments, batch)
            alive.append(weakref.ref(out))
            del arguments
            gc.collect()
            assert sum(reference() is not None for reference in alive) <= 2
            return out

        return run

    from dataclasses import replace

    module.matches = [
        replace(found, call=replace(found.call, run=counting(k)))
        for k, found in enumerate(module.matches)
    ]
    module({"x": torch.ones(1, 2, 4, 4)}, 1)
    assert len(alive) == 6


def refusals(program: Any, **_: Any) -> dict[str, str]:
    return dict(match(program.nodes[-1], program, RULES).refusals)


def test_rules_say_why_not() -> None:
    conv = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    w = Writer({"x": (4, 6, 6), "y": (4, 6, 6)})
    bare = w.op("conv2d", "x", w.constant(4, 4, 3, 3), "", **conv)
    assert refusals(w.program(bare))["fuse_epilogue"] == "nothing follows it"
    lone = w.op("unary", "x", kind="relu")
    assert "one step alone" in refusals(w.program(lone))["fuse_elementwise"]
    less = w.op("binary", "x", "y", kind="sub", epilogue=(("unary", "relu"),))
    assert refusals(w.program(less))["fuse_elementwise"] == "sub is no step of an epilogue"
    norm = w.op("layer_norm", "x", "", "", dims=2, eps=1e-5)
    assert "over the last 2" in refusals(w.program(norm))["fuse_norm"]
    v = Writer({"q": (2, 5, 200), "k": (2, 7, 200)})
    wide = v.op("attention", "q", "k", "k", scale=0.1)
    assert refusals(v.program(wide))["fuse_attention"] == (
        "heads are 200 wide, the kernel takes at most 128"
    )
    five = Writer({"x": (4, 6, 6)})
    others = [five.constant(4, 1, 1) for _ in range(5)]
    steps = tuple(("add", k) for k in range(2, 7))
    many = five.op("unary", "x", kind="relu")
    many = five.op(
        "conv2d", many, five.constant(4, 4, 3, 3), *others,
        epilogue=steps, **conv,
    )  # fmt: skip
    reason = refusals(five.program(many)).get("fuse_epilogue", "")
    assert "operands" in reason


def test_constants_that_kernels_take_in_float32_stay_so() -> None:
    conv = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    w = Writer({"x": (4, 6, 6)})
    weight, bias, gain = w.constant(4, 4, 3, 3), w.constant(4), w.constant(4)
    shared = w.constant(4)
    first = w.op("conv2d", "x", weight, bias, **conv)
    normed = w.op("group_norm", first, gain, shared, groups=2, eps=1e-5)
    program = w.program(normed)
    module = ProgramModule(program, CPU, torch.bfloat16)
    assert module.dtype_of(bias) == module.dtype_of(gain) == torch.float32
    assert module.dtype_of(weight) == module.dtype_of("x") == torch.bfloat16
    x = torch.from_numpy(np.linspace(-1, 1, 288, dtype=np.float32)).reshape(2, 4, 6, 6)
    assert module({"x": x.bfloat16()}, 2)[0].dtype == torch.bfloat16


def test_an_operand_that_varies_along_a_part_of_the_rows_is_left_to_torch() -> None:
    w = Writer({"x": (5, 8)})
    gain, places = w.constant(8), w.constant(1, 5, 8)
    normed = w.op("layer_norm", "x", gain, "", places, dims=1, eps=1e-5, epilogue=(("add", 3),))
    check(w.program(normed), 3)
    product = w.op("linear", "x", w.constant(8, 8), gain, places, epilogue=(("add", 3),))
    check(w.program(product), 3)
