"""Pools go into the convolutions before them where they can, and the numbers stay the same."""

import dataclasses

import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff import FastdiffError
from fastdiff.program.ir import Program
from fastdiff.program.lower import lower
from fastdiff.program.passes.fuse_epilogue import fuse_epilogue
from fastdiff.program.passes.fuse_pool import fuse_pool
from fastdiff.program.passes.tidy import tidy
from fastdiff.program.reference import run
from fastdiff.program.trace import trace


class Net(torch.nn.Module):
    """``f`` of a convolution's output and of x."""

    def __init__(self, f, conv=None):
        super().__init__()
        self.f, self.conv = f, conv or torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x, t):
        return self.f(self.conv(x), x)


def programs(f, conv=None) -> tuple[Program, Program, dict]:
    """The program with epilogues, that with pools in convolutions, and inputs for both."""
    torch.manual_seed(0)
    example = {"x": torch.randn(2, 3, 8, 12), "t": torch.rand(2)}
    program = fuse_epilogue(tidy(trace(Net(f, conv).eval(), example)))
    return program, fuse_pool(program), {"x": torch.randn(5, 3, 8, 12), "t": torch.rand(5)}


def max2(x):
    return torch.nn.functional.max_pool2d(x, 2)


@pytest.mark.parametrize(
    ("f", "pool"),
    [
        (lambda y, x: max2(y.relu()), ("max", (2, 2))),
        (lambda y, x: max2(y.relu() * x + 1), ("max", (2, 2))),
        (lambda y, x: torch.nn.functional.avg_pool2d(y, (4, 3)), ("mean", (4, 3))),
        (lambda y, x: torch.nn.functional.max_pool2d(y, (1, 12)), ("max", (1, 12))),
    ],
)
def test_a_pool_that_alone_reads_a_convolution_goes_into_it(f, pool):
    before, fused, given = programs(f)
    (conv,) = (n for n in fused.nodes if n.op == "conv2d")
    assert conv.attributes["pool"] == pool
    assert "pool" not in {n.op for n in fused.nodes}
    assert len(fused.nodes) == len(before.nodes) - 1
    assert str(conv).endswith(f"> {pool[0]} pool [{pool[1][0]},{pool[1][1]}]")
    assert torch.equal(run(before, given)[0], run(fused, given)[0])


@pytest.mark.parametrize(
    ("f", "conv"),
    [
        (lambda y, x: max2(y).relu(), None),  # an epilogue behind it
        (lambda y, x: torch.nn.functional.max_pool2d(y, 3, 2), None),  # windows overlap
        (lambda y, x: torch.nn.functional.max_pool2d(y, 2, 2, 1), None),  # hang over the edge
        (lambda y, x: torch.nn.functional.max_pool2d(y, 5), None),  # do not divide the image
        (lambda y, x: max2(torch.nn.functional.pixel_shuffle(y, 2)), torch.nn.Conv2d(3, 4, 1)),
        (lambda y, x: max2(y), torch.nn.ConvTranspose2d(3, 5, 2, 2)),
        (lambda y, x: max2(x), None),  # of an input
    ],
)
def test_other_pools_stay_as_they_are(f, conv):
    before, fused, _ = programs(f, conv)
    assert "pool" in {n.op for n in fused.nodes}
    assert fused == before


def test_a_value_that_somebody_else_needs_is_still_made():
    def skip(y, x):
        return torch.cat([torch.nn.functional.interpolate(max2(y), scale_factor=2), y], 1)

    before, fused, _ = programs(skip)
    assert fused == before
    before, _, _ = programs(lambda y, x: max2(y.relu()))
    (conv,) = (n.output for n in before.nodes if n.op == "conv2d")
    both = dataclasses.replace(before, outputs=(*before.outputs, conv))
    assert fuse_pool(both) == both


def test_the_second_of_two_pools_has_no_convolution_left():
    before, fused, given = programs(lambda y, x: max2(max2(y)))
    assert [n.op for n in fused.nodes] == ["conv2d", "pool"]
    assert fuse_pool(fused) == fused
    assert torch.equal(run(before, given)[0], run(fused, given)[0])


def test_nothing_goes_into_an_epilogue_that_a_pool_follows():
    _, fused, given = programs(lambda y, x: max2(y))
    (conv,) = fused.nodes
    relu = dataclasses.replace(
        conv, op="unary", inputs=(conv.output,), output="r", attributes={"kind": "relu"}
    )
    program = fused.with_nodes(
        (*fused.nodes, relu), {"r": fused.values[conv.output]}, outputs=("r",)
    ).check()
    assert fuse_epilogue(program) == program
    assert torch.equal(run(program, given)[0], run(fused, given)[0].relu())


def test_sprites16_pools_where_its_convolutions_end():
    step = lower(fastdiff.load("sprites16")).step
    pooled = [n for n in step.nodes if "pool" in n.attributes]
    assert [n.attributes["pool"] for n in pooled] == [("max", (2, 2))] * 2
    assert [step.values[n.output].shape[1:] for n in pooled] == [(64, 8, 8), (128, 4, 4)]
    assert [n.op for n in step.nodes].count("pool") == 1  # of a pool, into one vector


@pytest.mark.parametrize("pool", [("min", (2, 2)), ("max", (2, 0)), ("max", 2), "max"])
def test_pools_without_sense_are_refused(pool):
    _, fused, _ = programs(lambda y, x: max2(y))
    (conv,) = fused.nodes
    broken = dataclasses.replace(conv, attributes={**conv.attributes, "pool": pool})
    with pytest.raises(FastdiffError, match=r"conv2d 'v2' expected a pool .*, got "):
        dataclasses.replace(fused, nodes=(broken,)).check()
