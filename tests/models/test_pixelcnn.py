"""PixelCNN: against a transcription with masks at every forward, and who may see whom."""

import copy
import itertools

import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import batch_norm, conv2d, relu

from fastdiff import FastdiffError
from fastdiff.models.masked import MaskConv2d
from fastdiff.models.pixelcnn import PixelCNN, PixelCNNConfig, raster_mask
from fastdiff.program.trace import trace
from tests.models.causality import comes_before, reached, seen_by_autograd, unsettle

ABOVE_7 = [(dy, dx) for dy in (-3, -2, -1) for dx in range(-3, 4)]
LEFT_7 = [(0, dx) for dx in (-3, -2, -1)]
B_3 = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0)]


def net(seed=0, **sizes):
    torch.manual_seed(seed)
    config = PixelCNNConfig(**{"height": 5, "width": 6, "levels": 7, "hidden": 6, **sizes})
    return unsettle(PixelCNN(config), seed)


def colour_of(feature, features, colours):
    """Features come in equal groups, one a colour."""
    return feature // (features // colours)


def masked(state, name, x, in_colour, out_colour, own):
    """The paper's masked convolution; what the mask hides is filled with junk beforehand."""
    weight = state[name + ".weight"]
    outputs, inputs, side, _ = weight.shape
    mask = torch.zeros_like(weight)
    middle = side // 2
    for o, i, y, z in itertools.product(range(outputs), range(inputs), range(side), range(side)):
        before = y < middle or (y == middle and z < middle)
        colour = in_colour(i) <= out_colour(o) if own else in_colour(i) < out_colour(o)
        mask[o, i, y, z] = float(before or ((y, z) == (middle, middle) and colour))
    junk = torch.full_like(weight, 1e3)
    return conv2d((x), (weight + junk * (1 - mask)) * mask, state[name + ".bias"], padding=middle)


def transcription(module, x, context=None):
    """Van den Oord et al. 2016, table 1, from the module's tensors."""
    state, c = module.state_dict(), module.config
    h, colours = c.hidden, c.in_channels
    wide = lambda k: colour_of(k, 2 * h, colours)  # noqa: E731
    narrow = lambda k: colour_of(k, h, colours)  # noqa: E731

    def norm(name, x):
        keys = ("running_mean", "running_var", "weight", "bias")
        return batch_norm(x, *(state[f"{name}.{k}"] for k in keys), eps=1e-5)

    y = norm("norm", masked(state, "first", x, lambda k: k, wide, own=False))
    for b in range(c.blocks):
        at = f"blocks.{b}."
        z = norm(at + "norm1", masked(state, at + "narrow", relu(y), wide, narrow, own=True))
        z = norm(at + "norm2", masked(state, at + "middle", relu(z), narrow, narrow, own=True))
        if context is not None:
            z = z + (context @ state[at + "of_context.weight"].T)[:, :, None, None]
        y = y + norm(at + "norm3", masked(state, at + "widen", relu(z), narrow, wide, own=True))
    y = masked(state, "head1", relu(y), wide, narrow, own=True)
    y = masked(state, "head2", relu(y), narrow, narrow, own=True)
    y = masked(state, "out", relu(y), narrow, lambda k: k % colours, own=True)
    # Output channel level * C + colour.
    return torch.stack(
        [
            torch.stack([y[:, k * colours + q] for q in range(colours)], dim=1)
            for k in range(c.levels)
        ],
        dim=1,
    )


@pytest.mark.parametrize("colours", [1, 2, 3])
@pytest.mark.parametrize("n_context", [0, 4])
def test_it_is_the_papers_network(colours, n_context):
    module = net(in_channels=colours, blocks=3, n_context=n_context)
    x = torch.rand(2, colours, 5, 6, dtype=torch.float64)
    context = torch.rand(2, n_context, dtype=torch.float64) if n_context else None
    out = module(x) if context is None else module(x, context)
    assert out.shape == (2, 7, colours, 5, 6)
    assert (out - transcription(module, x, context)).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("colours", "height", "width", "blocks"),
    [
        (1, 5, 6, 2),
        (1, 9, 11, 1),
        (1, 7, 3, 4),
        (3, 5, 6, 2),
        (3, 4, 9, 0),
        (2, 1, 7, 3),
        (3, 1, 1, 1),
    ],
)
def test_a_pixel_sees_those_before_it_within_reach_and_no_others(colours, height, width, blocks):
    module = net(in_channels=colours, height=height, width=width, blocks=blocks, hidden=12)
    seen = seen_by_autograd(module, colours, height, width)
    assert not (seen & ~comes_before(colours, height, width)).any()
    reach = reached([B_3] * blocks + [ABOVE_7 + LEFT_7], height, width)
    for c, d in itertools.product(range(colours), repeat=2):
        expected = reach.clone()
        if d < c:  # of the pixel itself, the colours before
            expected |= torch.eye(height * width, dtype=torch.bool).view_as(expected)
        assert torch.equal(seen[c, :, :, d], expected), (c, d)


def test_a_context_reaches_every_pixel_and_lets_no_later_one_be_seen():
    module = net(in_channels=3, blocks=2, n_context=3)
    context = torch.rand(1, 3, dtype=torch.float64)
    assert not (seen_by_autograd(module, 3, 5, 6, context) & ~comes_before(3, 5, 6)).any()
    x = torch.rand(1, 3, 5, 6, dtype=torch.float64)
    told, untold = module(x, context), module(x)
    assert ((told - untold).abs().amax(dim=1) > 1e-6).all()
    assert torch.equal(module(x, torch.zeros_like(context)), untold)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (8, 1), (3, 5)])
def test_odd_sizes_and_batches(height, width):
    module = net(height=height, width=width, blocks=1)
    x = torch.rand(3, 1, height, width, dtype=torch.float64)
    out = module(x)
    assert out.shape == (3, 7, 1, height, width)
    assert (module(x[1:2]) - out[1:2]).abs().max() < 1e-12


MASKS = {
    "A 7x7": raster_mask(7),
    "B 3x3": raster_mask(3) | torch.eye(3, dtype=torch.bool) & (torch.arange(3) == 1),
    "rows above": torch.tensor([[1, 1, 1], [0, 0, 0], [0, 0, 0]]).bool(),
    "row alone": torch.tensor([[1, 1, 0]]).bool(),
    "all": torch.ones(3, 3, dtype=torch.bool),
    "per feature": torch.rand(5, 4, 3, 3, generator=torch.Generator().manual_seed(1)) > 0.5,
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_training_and_evaluation_compute_the_same(mask, dilation):
    torch.manual_seed(0)
    conv = MaskConv2d(4, 5, mask, dilation).double()
    for height, width in ((6, 7), (1, 2), (3, 1)):
        x = torch.randn(2, 4, height, width, dtype=torch.float64)
        out = conv.train()(x)
        assert out.shape == (2, 5, height, width)
        assert (conv.eval()(x) - out).abs().max() < 1e-12
    hidden = ~mask.expand(conv.weight.shape)
    assert (conv.weight[~hidden] != 0).all()
    assert (conv.weight[hidden] == 0).all()


@pytest.mark.parametrize("of_copy", [False, True])
def test_hidden_taps_stay_zero_under_any_optimiser(of_copy):
    torch.manual_seed(0)
    conv = MaskConv2d(3, 4, raster_mask(5))
    conv = copy.deepcopy(conv) if of_copy else conv
    before = conv.weight.detach().clone()
    optimizers = (
        torch.optim.AdamW(conv.parameters(), lr=0.1, weight_decay=0.1),
        torch.optim.SGD(conv.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    )
    for _, optimizer in itertools.product(range(5), optimizers):
        optimizer.zero_grad()
        conv(torch.randn(2, 3, 6, 6)).square().sum().backward()
        assert (conv.weight.grad[~conv.mask] == 0).all()
        optimizer.step()
    assert (conv.weight[~conv.mask] == 0).all()
    assert (conv.weight[conv.mask] != before[conv.mask]).all()


def test_weights_with_a_hidden_tap_are_refused():
    module = PixelCNN(PixelCNNConfig(hidden=2, blocks=1))
    state = {k: v.clone() for k, v in module.state_dict().items()}
    assert not [k for k in state if "mask" in k]
    module.load_state_dict(state)
    state["blocks.0.middle.weight"][1, 0, 2, 2] = 0.5
    with pytest.raises(FastdiffError, match=r"masked taps of blocks\.0\.middle\.weight, got 0\.5"):
        module.load_state_dict(state)


@pytest.mark.parametrize("colours", [1, 3])
def test_evaluation_is_plain_convolutions(colours):
    """What torch.export sees: no mask, no product."""
    module = PixelCNN(PixelCNNConfig(colours, 8, 8, 5, 6, 2)).eval()
    program = trace(module, {"x": torch.rand(2, colours, 8, 8)})
    kinds = {n.attributes.get("kind", n.op) for n in program.nodes}
    assert kinds == {"conv2d", "batch_norm", "relu", "add", "reshape"}
    assert not isinstance(module.blocks[0].narrow, MaskConv2d) or colours > 1


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"hidden": 32, "in_channels": 3}, "hidden: expected a multiple of the 3 colours, got 32"),
        ({"hidden": 0}, "hidden: expected an integer from 1 to 4096, got 0"),
        ({"levels": 1}, "levels: expected an integer from 2 to 256, got 1"),
        ({"levels": 257}, "levels: expected an integer from 2 to 256, got 257"),
        ({"blocks": -1}, "blocks: expected an integer from 0 to 256"),
        ({"blocks": True}, "blocks: expected an integer"),
        ({"height": 2.0}, "height: expected an integer from 1 to 1024, got 2.0"),
        ({"n_context": -1}, "n_context: expected an integer from 0"),
        ({"in_channels": 0}, "in_channels: expected an integer from 1 to 16"),
    ],
)
def test_wrong_sizes_are_named(sizes, message):
    with pytest.raises(FastdiffError, match=message):
        PixelCNNConfig(**sizes)
