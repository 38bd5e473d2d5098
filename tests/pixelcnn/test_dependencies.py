"""What a network depends on: against gradients, against known answers, and what is refused."""

import json
import re
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings

torch = pytest.importorskip("torch")

from fastdiff import FastdiffError
from fastdiff.pixelcnn.dependencies import analyse, seen_by
from fastdiff.program.ir import BATCH
from tests.pixelcnn.nets import Net, dependence, gated, least_slope_seen, plain
from tests.pixelcnn.random_nets import networks

FEW = settings(max_examples=120, deadline=None, derandomize=True, database=None)
MANY = settings(max_examples=2000, deadline=None, derandomize=True, database=None)
REFUSED = re.compile(
    r"model: expected logits that depend on earlier pixels alone, got those of "
    r"\(row (\d+), column (\d+), colour (\d+)\) depending on the input at "
    r"\(row (\d+), column (\d+), colour (\d+)\)"
)


def refusal(program):
    """The sentence with which a network is refused, or an empty one."""
    try:
        analyse(program)
    except FastdiffError as error:
        return str(error)
    return ""


def check_against_gradients(program):
    """The analysis refuses what gradients refute, with a true pair, and else sees what they see."""
    truth = dependence(program)
    H, W, C = truth.shape[:3]
    causal = not np.triu(truth.reshape(H * W * C, -1)).any()
    sentence = refusal(program)
    if not causal:
        pair = tuple(map(int, REFUSED.fullmatch(sentence).groups()))
        assert truth[pair]
        assert pair[3:] >= pair[:3]
        return "refused"
    if sentence:  # no order of whole diagonals is one of the network
        assert sentence.endswith("if only by way of places outside of the image")
        return "outside"
    network = analyse(program).network
    for pixel in np.ndindex(H, W, C):
        seen = seen_by(network, *pixel)[network.channels["x"]].transpose(1, 2, 0)
        assert (seen == truth[pixel]).all()
    return "causal"


@FEW
@given(networks())
def test_random_networks_see_what_gradients_see(program):
    assert check_against_gradients(program) == "causal"


@FEW
@given(networks(free_tap=True))
def test_a_tap_that_obeys_no_order_is_found(program):
    check_against_gradients(program)


@pytest.mark.long
@MANY
@given(networks(free_tap=True))
def test_taps_that_obey_no_order_are_found(program):
    check_against_gradients(program)


def test_a_value_that_a_convolution_reads_twice_counts_once_for_each():
    """The second copy's weights are zero: who counts it alone loses what passes."""
    net = Net(1, 4, 4)
    h = net.conv("x", [(0, 0, -1)] * 2)
    program = net.logits(net.concat(h, h))
    net.constants[net.nodes[-2].inputs[1]][:, 2:] = 0
    assert dependence(program)[2, 2, 0].any()
    assert check_against_gradients(program) == "causal"
    assert analyse(program).slope == 2


@pytest.mark.parametrize(
    ("program", "slope"),
    [
        (plain(), 4),  # the first convolution's 7x7: three columns to the right, one row above
        (plain(blocks=0), 4),
        (plain(colours=3), 4),
        (gated(dilations=()), 0),  # nothing reads the vertical stack yet
        (gated(dilations=(1,)), 3),
        (gated(), 6),  # 1 + 1 + the dilations: the vertical stack reads along a whole row
        (gated(40, 40, (1, 2, 1, 4, 1, 2, 1)), 14),
        (gated(2, 3, (1, 2, 1)), 6),  # of the order, not of what fits into the image
    ],
)
def test_the_least_slope(program, slope):
    assert analyse(program).slope == slope


@settings(FEW, max_examples=25)
@given(networks(size=(33, 33)))
def test_the_least_slope_is_what_some_pixel_asks_for(program):
    """In an image beyond every reach: at a slope less the centre's logits would come too early."""
    dependencies = analyse(program)
    network = dependencies.network
    asked = 0
    for colour in range(network.colours):
        seen = seen_by(network, 16, 16, colour)[network.channels["x"]].transpose(1, 2, 0)
        asked = max(asked, least_slope_seen(seen, 16, 16, colour))
    assert dependencies.slope == asked


def test_rows_that_do_not_see_each_other_go_side_by_side():
    net = Net(1, 5, 6)
    left = net.conv("x", [(0, 0, -1)] * 2, (1, 3))
    dependencies = analyse(net.logits(left))
    assert dependencies.slope == 0
    assert dependencies.at().subtimes == range(6)


def test_the_first_violation_is_named_with_both_pixels():
    net = Net(2, 5, 7)
    h = net.conv("x", [(0, 0, 0)] * 2, (3, 3))
    program = net.logits(h, free=(0, 0))  # every colour sees its own pixel's first
    with pytest.raises(FastdiffError) as caught:
        analyse(program)
    assert REFUSED.fullmatch(str(caught.value)).groups() == ("2", "3", "0", "2", "3", "0")
    assert dependence(program)[2, 3, 0, 2, 3, 0]


def test_paths_that_fit_into_no_image_are_told_apart():
    """Twice five columns to the right of a row of six: no pixel sees another, no order has both."""
    net = Net(1, 2, 6)
    h = "x"
    for _ in range(2):
        h = net.conv(h, [(0, inf, 0)], (1, 11))
        weight = net.constants[net.nodes[-1].inputs[1]]
        weight[..., :10], weight[..., 10] = 0, 1
    program = net.logits(h, free=(0, 0))
    assert not dependence(program).any()
    with pytest.raises(FastdiffError, match="if only by way of places outside of the image"):
        analyse(program)


def refused_programs():
    def net():
        net = Net(1, 6, 6)
        return net, net.conv("x", [(0, 0, -1)] * 4)

    def ended(op, *more, **attributes):
        n, h = net()
        out = n.op(op, h, *more, labels=n.labels[h], **attributes)
        return n.logits(out) if n.values[out].shape == n.values[h].shape else n.program(out)

    yield "softmax at net.softmax2", ended("softmax", dim=1)
    yield "group_norm at net.group_norm2", ended("group_norm", "", "", groups=2, eps=1e-5)
    yield (
        "pool at net.pool2",
        ended("pool", kind="max", kernel=(3, 3), stride=(1, 1), padding=(1, 1)),
    )
    yield "permute along rows or columns", ended("permute", dims=(0, 1, 3, 2))
    yield r"slice to \[B,4,5,6\]", ended("slice", dim=2, start=0, stop=5, step=1)
    yield r"reshape to \[B,4,36\]", ended("reshape", shape=(BATCH, 4, 36))
    n, h = net()
    weight = n.constant(np.ones((4, 4, 3, 3)))
    strided = {"dilation": (1, 1), "groups": 1, "stride": (2, 2), "padding": (4, 4)}
    yield "conv2d of stride", n.program(n.op("conv2d", h, weight, "", **strided))
    n, h = net()
    valid = {"dilation": (1, 1), "groups": 1, "stride": (1, 1), "padding": (0, 0)}
    yield (
        r"conv2d to \[B,4,4,4\]",
        n.program(n.op("conv2d", h, n.constant(np.ones((4, 4, 3, 3))), "", **valid)),
    )
    n, h = net()
    places = n.constant(np.ones((4, 6, 6)))
    yield r"conv2d with \[4,6,6\], which depends on the place", n.logits(n.both(h, places))
    n, h = net()
    places = n.of_request(4, 6, 6)
    yield "of 'request1', which does not depend on x", n.program(n.op("concat", h, places, dim=1))


@pytest.mark.parametrize(("message", "program"), list(refused_programs()))
def test_ops_that_look_at_images_otherwise_are_named(message, program):
    with pytest.raises(FastdiffError, match=rf"model: expected convolutions .*{message}"):
        analyse(program)


def test_other_shapes_are_refused():
    net = Net()
    h = net.conv("x", [(0, 0, -1)] * 3)
    with pytest.raises(FastdiffError, match=r"expected logits \[B, levels, 1, 6, 6\], got \[B,3,6"):
        analyse(net.program(h))
    with pytest.raises(FastdiffError, match=r"expected one x \[B, C, H, W\]"):
        analyse(net.logits(h), x="image")


@pytest.mark.parametrize("slope", [3, -1, True, 4.0])
def test_a_slope_below_the_least_is_refused(slope):
    with pytest.raises(FastdiffError, match=f"slope: expected an integer from 4 on, got {slope}"):
        analyse(plain()).at(slope)


def test_the_table_is_plain_and_says_what_is_read():
    net = Net(2, 4, 5, levels=3)
    h = net.unary(net.conv("x", [(0, 0, -1), (0, 0, 0)], (3, 3)), "tanh")
    h = net.concat(h, net.both(net.part(h, 1, 2), net.of_request(1)))
    table = analyse(net.logits(h)).to_dict()
    assert json.loads(json.dumps(table)) == table
    assert (table["slope"], table["colours"], table["levels"]) == (2, 2, 3)
    assert [(v["name"], v["channels"], v["rows"]) for v in table["values"]] == [
        ("x", 2, 2), ("v2", 2, 1), ("v4", 1, 1), ("v6", 6, 1),
    ]  # fmt: skip
    first, added, last = table["ops"]
    assert [(g["lookahead"], g["channels"]) for g in first["groups"]] == [(0, [0]), (-1, [1])]
    own = first["groups"][1]["reads"]
    assert {(r["rows_above"], r["columns_right"]) for r in own} == {
        (1, -1), (1, 0), (1, 1), (0, -1), (0, 0),
    }  # fmt: skip
    assert own[-1]["channels"] == [["x", [0]]]  # at its own place, the first colour alone
    assert added["operands"] == [[["v2", [1]]], {"fixed": "request1", "elements": [0]}]
    assert [g["channels"] for g in last["groups"]] == [[0, 2, 4], [1, 3, 5]]  # by colour
    assert last["groups"][1]["reads"][0]["channels"] == [["v2", [0, 1]], ["v4", [0]]]
    assert table["logits"] == [[["v6", [0, 2, 4]]], [["v6", [1, 3, 5]]]]
