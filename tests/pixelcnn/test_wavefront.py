"""Wavefronts by their events: each cell once, after what it reads and before that is gone."""

import numpy as np
import pytest
from hypothesis import given, settings

pytest.importorskip("torch")

from fastdiff.pixelcnn.dependencies import analyse
from fastdiff.pixelcnn.wavefront import NEVER
from tests.pixelcnn.nets import Net, gated, plain, slopes_of
from tests.pixelcnn.random_nets import networks

NETS = {"plain": plain(), "gated": gated(), "colours": plain(6, 9, 1, colours=3)}


def written(wavefront):
    """When each cell is written, by ``active`` alone: float64 [count, H, W].

    The subtime and, behind the point, the op's place in their order. x is written at the beginning
    of the subtime after its choice.
    """
    n = wavefront.network
    found = np.full((n.count, n.height, n.width), np.inf)
    order = {value: k / (2 + len(n.ops)) for k, value in enumerate(n.stored)}
    for value, groups in wavefront.groups.items():
        for group in groups:
            for subtime in wavefront.subtimes:
                rows, columns = wavefront.active(group.lookahead, subtime)
                cells = (n.stored[value][group.members][:, None], rows, columns)
                assert np.isinf(found[cells]).all(), f"{value} is evaluated twice"
                found[cells] = subtime + order[value]
    return found


def reads(wavefront, times):
    """(channel, row, column, the reader's time) of every read inside the image."""
    n = wavefront.network
    for op in n.ops:
        for o, number in enumerate(op.channels):
            if wavefront.lookahead[number] == NEVER:
                continue
            for i, j in np.argwhere(np.isfinite(times[number])):
                when = times[number, i, j]
                for numbers in op.beside():
                    yield numbers[o], i, j, when
                if op.window is not None:
                    w = op.window
                    for t, ch in np.argwhere(w.live[:, o]):
                        row, column = i - w.rows_above[t], j + w.columns_right[t]
                        if 0 <= row < n.height and 0 <= column < n.width:
                            yield w.channels[ch], row, column, when
    for c in range(n.colours):
        for number in n.logits[:, c]:
            for i, j in np.ndindex(n.height, n.width):
                subtime = n.colours * (wavefront.slope * i + j) + c
                yield number, i, j, subtime + 1 - 1 / (2 + len(n.ops))


def check_events(wavefront, tight):
    """Everything is read after it is written and before row i + R comes over it; with ``tight``
    one row fewer would not do.
    """
    n, times = wavefront.network, written(wavefront)
    value_of = {k: value for value, numbers in n.stored.items() for k in numbers.tolist()}
    too_few = dict.fromkeys(n.stored, False)
    for number, row, column, when in reads(wavefront, times):
        value = value_of[int(number)]
        rows = wavefront.rows[value]
        assert times[number, row, column] < when
        if row + rows < n.height:
            assert times[number, row + rows, column] > when
        if rows > 1 and row + rows - 1 < n.height:
            too_few[value] |= times[number, row + rows - 1, column] < when
    if tight:
        assert all(too_few[value] for value, rows in wavefront.rows.items() if rows > 1)


@pytest.mark.parametrize("name", NETS)
def test_cells_are_read_between_being_written_and_being_replaced(name):
    dependencies = analyse(NETS[name])
    for slope in (dependencies.slope, dependencies.slope + 1, 11):
        check_events(dependencies.at(slope), tight=True)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(networks())
def test_so_are_those_of_random_networks(program):
    dependencies, slopes = slopes_of(program)
    check_events(dependencies.at(slopes[-1]), tight=False)
    check_events(dependencies.at(), tight=False)


def test_the_rings_of_a_plain_network():
    wavefront = analyse(plain(28, 28, blocks=3)).at()
    rows = wavefront.rows
    middle = {
        n.inputs[0]
        for n in wavefront.network.program.nodes
        if n.attributes.get("padding") == (1, 1)
    }
    assert wavefront.slope == 4
    assert len(middle) == 3
    assert [rows["x"], *(rows[value] for value in middle)] == [4, 2, 2, 2]
    assert {rows[value] for value in rows if value not in middle | {"x"}} == {1}
    assert wavefront.subtimes == range(4 * 27 + 28)
    assert plain_rows(2)["x"] == 2  # an image of two rows needs no third


def plain_rows(height):
    return analyse(plain(height)).at().rows


def test_colours_look_ahead_by_their_order():
    wavefront = analyse(plain(colours=3)).at()
    n = wavefront.network
    assert wavefront.lookahead[n.channels["x"]].tolist() == [-1, -2, -3]
    for op in n.ops[:-1]:  # two features a colour
        assert wavefront.lookahead[op.channels].tolist() == [0, 0, -1, -1, -2, -2]
    assert wavefront.lookahead[n.logits].tolist() == [[0, -1, -2]] * n.levels
    last = wavefront.groups[n.ops[-1].node.output]
    assert [group.members.tolist() for group in last] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert wavefront.subtimes == range(3 * (4 * 8 + 9))


def test_a_vertical_stack_looks_ahead_by_the_columns_that_are_still_to_be_read():
    wavefront = analyse(gated(dilations=(1, 2, 1))).at()
    n = wavefront.network
    stack = [op for op in n.ops if op.window is not None and len(set(op.window.rows_above)) > 1]
    ahead = [wavefront.lookahead[op.channels].max() for op in stack]
    first = wavefront.lookahead[n.ops[0].channels]
    assert (first.tolist(), ahead) == ([4, 4], [3, 1, 0])
    assert wavefront.subtimes.start == -4


def test_what_nobody_reads_is_never_evaluated():
    net = Net(1, 4, 4)
    h = net.conv("x", [(0, 0, -1)] * 3)
    net.conv("x", [(0, 0, -1)] * 2)
    dependencies = analyse(net.logits(net.part(h, 0, 1)))
    wavefront = dependencies.at()
    own = wavefront.lookahead[wavefront.network.channels[h]]
    assert own.tolist() == [0, NEVER, NEVER]
    assert [g.members.tolist() for g in wavefront.groups[h]] == [[0]]
