"""Random causal networks on the C++ engine: levels, slopes and refusals against Python's."""

import re

import numpy as np
import pytest
from hypothesis import given, settings

torch = pytest.importorskip("torch")
native = pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")

from fastdiff import FastdiffError, noise
from fastdiff.pixelcnn.dependencies import analyse
from fastdiff.program.binding import split
from fastdiff.program.ir import BATCH
from tests.pixelcnn.agreement import check_naive
from tests.pixelcnn.engine_bytes import (
    bytes_of,
    context_of,
    subtimes_of,
    with_context,
)
from tests.pixelcnn.nets import Net, dependence, fixed_of, gated, model_of, plain
from tests.pixelcnn.random_nets import networks

FEW = settings(max_examples=40, deadline=None, derandomize=True, database=None)
MANY = settings(max_examples=1000, deadline=None, derandomize=True, database=None)
KEYS = noise.as_seeds([3, 2**63 + 5, 4])
PIXEL = r"row (\d+), column (\d+)(?:, colour (\d+))?"
REFUSED = re.compile(
    "model: expected a network that sees only pixels before the one it predicts, got one whose "
    f"output at {PIXEL} depends on its input at {PIXEL}"
)
FAR = "got one that sees others through layers that reach far"
PLAN = re.compile(r"; slope (\d+) \(smallest (\d+)\): (\d+) steps for (\d+) choices, ")


def engine_of(program, threads=1):
    return native.PixelEngine(bytes_of(program), threads=threads, autotune=False)


def check_network(program):
    """Levels at every slope, and what the engine says of its plan."""
    fixed = {name: values.float().double() for name, values in fixed_of(program, len(KEYS)).items()}
    context = context_of(program, fixed)
    engine = engine_of(program)
    levels, done = engine.sample(KEYS, context=context)
    assert done == levels.size
    check_naive(model_of(program, fixed), KEYS, levels)
    least, width = analyse(program).slope, program.values["x"].shape[3]
    assert engine.slope == least
    for slope in range(least, max(least, width + 2) + 1):
        again, _ = engine.sample(KEYS, context=context, slope=slope)
        np.testing.assert_array_equal(again, levels, str(slope))
    for batch in (1, 40):
        slope, smallest, steps, choices = map(int, PLAN.search(engine.describe(batch)).groups())
        assert smallest == least
        assert choices == levels[0].size
        assert steps == subtimes_of(program, slope)


def check_lawless(program):
    """What Python refuses the engine refuses too, with a pair that gradients confirm."""
    try:
        analyse(program)
    except FastdiffError as error:
        sentence = str(error)
    else:
        check_network(program)
        return "causal"
    with pytest.raises(ValueError, match=r"^model: expected a network that sees only") as caught:
        engine_of(program)
    truth = dependence(program)
    H, W, C = truth.shape[:3]
    causal = not np.triu(truth.reshape(H * W * C, -1)).any()
    found = REFUSED.fullmatch(str(caught.value))
    if found is None or causal:
        # The pair that it names is exact but for paths that leave the image on the way.
        assert causal, str(caught.value)
        assert found or str(caught.value).endswith(FAR)
        assert sentence.endswith("if only by way of places outside of the image")
        return "outside"
    pair = tuple(int(number or 0) for number in found.groups())
    assert pair[3:] >= pair[:3]
    assert truth[pair], str(caught.value)
    return "refused"


@FEW
@given(networks())
def test_random_networks_draw_what_the_naive_loop_draws(program):
    check_network(program)


@pytest.mark.long
@MANY
@given(networks())
def test_many_random_networks_draw_what_the_naive_loop_draws(program):
    check_network(program)


@pytest.mark.parametrize(
    "program", [plain(7, 9, 2), plain(6, 5, 1, colours=3), gated(7, 8), gated(3, 11, (1, 4))]
)
def test_networks_of_the_papers_draw_what_the_naive_loop_draws(program):
    check_network(program)


@FEW
@given(networks(free_tap=True))
def test_a_tap_that_obeys_no_order_is_refused(program):
    check_lawless(program)


@pytest.mark.long
@MANY
@given(networks(free_tap=True))
def test_taps_that_obey_no_order_are_refused(program):
    check_lawless(program)


def broadcast_over_channels(kind):
    """Logits of 2 x 3 channels times a value that has them along one of the two alone."""
    net = Net(1, 4, 5, levels=3, seed=1)
    h = net.conv("x", [(0, 0, -1)] * 6, (3, 3))
    inner = {"first": (2, 1), "second": (1, 3)}[kind.split()[1]]
    channels = inner[0] * inner[1]
    if "map" in kind:
        other = net.conv("x", [(0, 0, -1)] * channels, (3, 3))
        other = net.op("reshape", other, shape=(BATCH, *inner, 4, 5))
    elif "request" in kind:
        other = net.op("reshape", net.of_request(channels), shape=(BATCH, *inner, 1, 1))
    else:
        other = net.constant(np.arange(1, 1 + channels).reshape(*inner, 1, 1))
    whole = net.op("reshape", h, shape=(BATCH, 2, 3, 4, 5))
    product = net.op("binary", whole, other, kind="mul")
    return net.logits(net.op("reshape", product, shape=(BATCH, 6, 4, 5), labels=net.labels[h]))


@pytest.mark.parametrize("along", ["first", "second"])
@pytest.mark.parametrize("kind", ["map", "request", "constant"])
def test_values_for_some_of_the_channels_are_refused(kind, along):
    """Python has them; the engine, which reads one by channel, must not read beyond their end."""
    program = broadcast_over_channels(f"{kind} {along}")
    analyse(split(with_context(program)).step)
    with pytest.raises(ValueError, match=r"got binary with a .* not one by channel at net\.binary"):
        engine_of(program)


def test_convolutions_in_groups_draw_what_the_naive_loop_draws():
    net = Net(1, 4, 5)
    h = net.conv(net.conv("x", [(0, 0, -1)] * 4), [(0, 0, -1)] * 4, groups=2)
    check_network(net.logits(h))


def test_values_of_the_request_that_depend_on_the_place_are_refused():
    net = Net(1, 4, 5)
    h = net.conv("x", [(0, 0, -1)] * 2)
    program = net.logits(net.both(h, net.of_request(2, 4, 5)))
    with pytest.raises(FastdiffError, match="which depends on the place"):
        analyse(program)
    with pytest.raises(ValueError, match="expected ops that happen at one pixel at a time"):
        engine_of(program)


def test_a_path_that_leaves_the_image_is_not_named():
    """From the middle row of two, the only way down is outside; the row above it has a way."""
    net = Net(1, 2, 3)
    h = net.conv("x", [(-1, 0, 0)] * 2, (3, 1))
    program = net.logits(h, (3, 1), free=(2, 0))
    truth = dependence(program)
    assert not truth[1, :, :, 1].any()
    assert truth[0, 1, 0, 0, 1, 0]
    assert check_lawless(program) == "refused"
