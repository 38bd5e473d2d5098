"""TwoResUNet against its equations written out by hand, its sizes, and its checkpoints."""

import json
import math

import pytest

torch = pytest.importorskip("torch")

from safetensors import safe_open
from torch.nn import functional

import fastdiff
from fastdiff import FastdiffError
from fastdiff.models.two_res_unet import TwoResUNet, TwoResUNetConfig
from tests.models.unets import inputs, small


class Weights:
    """A state dict as functions of x, which remembers what of it was read."""

    def __init__(self, state):
        self.state, self.read = state, set()

    def __getitem__(self, key):
        self.read.add(key)
        return self.state[key]

    def conv(self, key, x, padding=0, groups=1):
        weight, bias = self[f"{key}.weight"], self[f"{key}.bias"]
        return functional.conv2d(x, weight, bias, padding=padding, groups=groups)

    def linear(self, key, x):
        return x @ self[f"{key}.weight"].T + self[f"{key}.bias"]

    def norm(self, key, x):
        """GroupNorm(1): one mean and one variance a sample."""
        mean = x.mean((1, 2, 3), keepdim=True)
        variance = ((x - mean) ** 2).mean((1, 2, 3), keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-5)
        return x * self[f"{key}.weight"][:, None, None] + self[f"{key}.bias"][:, None, None]

    def block(self, key, x, e):
        h = self.conv(f"{key}.depthwise", x, 3, groups=x.shape[1])
        h = h + self.linear(f"{key}.of_time", gelu(e))[:, :, None, None]
        h = gelu(self.conv(f"{key}.net.1", self.norm(f"{key}.net.0", h), 1))
        h = self.conv(f"{key}.net.4", self.norm(f"{key}.net.3", h), 1)
        wider = h.shape[1] != x.shape[1]
        return h + (self.conv(f"{key}.shortcut", x) if wider else x)

    def gate(self, key, x, g):
        h = torch.relu(self.conv(f"{key}.of_decoder", g) + self.conv(f"{key}.of_skip", x))
        return x / (1 + torch.exp(-self.conv(f"{key}.score", h)))


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def sinusoids(t, dim):
    half = dim // 2
    w = [10_000 ** (-k / (half - 1)) for k in range(half)]
    rows = [[f(v * s) for f in (math.sin, math.cos) for s in w] for v in t.tolist()]
    return torch.tensor(rows, dtype=torch.float64)


def forward(weights, config, x, t, context=None):
    """The network from its equations, in float64."""
    e = sinusoids(t, config.dim)
    e = weights.linear("time_mlp.2", gelu(weights.linear("time_mlp.0", e)))
    if context is not None:
        e = e + context @ weights["of_context.weight"].T
    levels = len(config.multipliers)
    first = x = weights.conv("init_conv", x, 3)
    skips = []
    for k in range(levels):
        for block in ("block1", "block2"):
            x = weights.block(f"downs.{k}.{block}", x, e)
            skips.append(x)
        if k == levels - 1:
            x = weights.conv(f"downs.{k}.down", x, 1)
        else:
            squares = torch.stack([x[:, :, r::2, s::2] for r in (0, 1) for s in (0, 1)], dim=2)
            x = weights.conv(f"downs.{k}.down.1", squares.flatten(1, 2))
    x = weights.block("mid2", weights.block("mid1", x, e), e)
    for k in range(levels):
        for n in ("1", "2"):
            skip = skips.pop()
            if config.gated_skips:
                skip = weights.gate(f"ups.{k}.gate{n}", skip, x)
            x = weights.block(f"ups.{k}.block{n}", torch.cat((x, skip), 1), e)
        if k == levels - 1:
            x = weights.conv(f"ups.{k}.up", x, 1)
        else:
            doubled = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = weights.conv(f"ups.{k}.up.1", doubled, 1)
    x = weights.block("final_block", torch.cat((x, first), 1), e)
    return weights.conv("final_conv", x)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"gated_skips": True, "n_context": 5},
        {"multipliers": (1, 2, 4), "dim": 8, "height": 12, "width": 20, "in_channels": 1},
        {"multipliers": (2, 1, 3), "dim": 6, "gated_skips": True, "in_channels": 4},
        {"multipliers": (3,), "height": 5, "width": 7, "n_context": 2},
    ],
    ids=["plain", "gated, context", "oblong, grey", "narrower level", "one level"],
)
def test_the_output_is_that_of_the_equations(sizes):
    model = small(**sizes)
    module, config = model.module.double(), model.module.config
    x, t, *context = inputs(model, 3)
    given = [x.double(), t.double(), *(c.double() for c in context)]
    weights = Weights(module.state_dict())
    with torch.inference_mode():
        expected = forward(weights, config, *given)
        ours = module(*given)
    assert weights.read == set(weights.state)
    assert ours.shape == x.shape
    assert expected.std() > 0.05
    assert (ours - expected).abs().max() < 1e-10
    # In float32 at late times too: a frequency rounded early would show as 1e-4 here.
    with torch.inference_mode():
        single = module.float()(x, t, *context)
    assert (single - expected).abs().max() < 2e-5 * expected.abs().max()


def test_no_context_and_zeros_are_the_same_and_another_is_not():
    model = small(n_context=3)
    x, t, context = inputs(model, 4)
    with torch.inference_mode():
        plain = model(x, t)
        assert torch.equal(plain, model(x, t, torch.zeros_like(context)))
        assert (plain - model(x, t, context)).abs().max() > 1e-3


@pytest.mark.parametrize("gated", [False, True])
def test_every_weight_is_trained(gated):
    model = small(n_context=2, gated_skips=gated)
    out = model(*inputs(model, 2))
    (out * torch.randn_like(out)).sum().backward()
    for name, weight in model.module.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 1e-7, name


def test_the_default_is_128x128_with_four_levels():
    with torch.device("meta"):
        net = TwoResUNet()
        assert net(torch.empty(2, 3, 128, 128), torch.empty(2)).shape == (2, 3, 128, 128)
        assert net(torch.empty(2, 3, 8, 40), torch.empty(2)).shape == (2, 3, 8, 40)
    config = net.config
    assert (config.height, config.width, config.multipliers) == (128, 128, (1, 2, 4, 8))
    # The widths follow from what is pushed: dim before the first level, its multiples after each.
    assert [level.block2.depthwise.in_channels for level in net.downs] == [64, 64, 128, 256]
    assert [level.block2.depthwise.in_channels for level in net.ups] == [768, 384, 192, 128]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"height": 20}, "height: expected a number divisible by 8 for 4 levels, got 20"),
        ({"width": 36}, "width: expected a number divisible by 8 for 4 levels, got 36"),
        ({"height": 0}, "height: expected an integer from 1 to 1024, got 0"),
        ({"dim": 7}, "dim: expected an even number, got 7"),
        ({"dim": 2}, "dim: expected an integer from 4 to 1024, got 2"),
        ({"dim": True}, "dim: expected an integer from 4 to 1024, got True"),
        ({"in_channels": 2.5}, "in_channels: expected an integer from 1 to 64, got 2.5"),
        ({"n_context": -1}, "n_context: expected an integer from 0 to 4096, got -1"),
        ({"multipliers": ()}, r"multipliers: expected 1 to 8 integers, .*, got \(\)"),
        ({"multipliers": 3}, "multipliers: expected 1 to 8 integers, .*, got 3"),
        ({"multipliers": (1, 0)}, r"multipliers: .* from 1 to 64 \(4096 features\), got \(1, 0\)"),
        ({"multipliers": (1, 10**9)}, r"multipliers: .*, got \(1, 1000000000\)"),
        ({"multipliers": "12"}, "multipliers: expected 1 to 8 integers, .*, got '12'"),
        ({"gated_skips": 1}, "gated_skips: expected True or False, got 1"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(FastdiffError, match=message):
        TwoResUNetConfig(**sizes)


@pytest.mark.parametrize("gated", [False, True])
def test_a_model_survives_the_round_trip(gated, tmp_path):
    model = small(n_context=2, gated_skips=gated, labels=("a", "b"), prediction="v")
    path = tmp_path / "m.safetensors"
    fastdiff.save(model, path, half=False)
    with safe_open(path, "pt") as file:
        meta = json.loads(file.metadata()["fastdiff"])
    assert meta["architecture"] == "two_res_unet"
    back = fastdiff.load(path)
    for name in ("schedule", "sample_shape", "context_width", "labels", "name"):
        assert getattr(back, name) == getattr(model, name), name
    assert back.module.config == model.module.config
    given = inputs(model, 2)
    with torch.inference_mode():
        assert torch.equal(back(*given), model(*given))
    fastdiff.save(model, path)
    with torch.inference_mode():
        error = (fastdiff.load(path)(*given) - model(*given)).abs().max()
    assert 0 < error < 1e-2


def test_a_checkpoint_without_its_gates_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    model = small(gated_skips=False)
    fastdiff.save(model, path)
    object.__setattr__(model.module.config, "gated_skips", True)
    fastdiff.save(model, path)
    with pytest.raises(FastdiffError, match=r"lacks the tensor ups\.0\.gate1\.of_decoder\.weight"):
        fastdiff.load(path)
