"""GatedPixelCNN: against a transcription, who may see whom, and the published weights."""

import re

import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import conv2d

import fastdiff
from fastdiff import FastdiffError
from fastdiff.data.dataset import ImageSet, load_images
from fastdiff.metrics.bits_per_dimension import bits_per_dimension
from fastdiff.models.gated_pixelcnn import GatedPixelCNN, GatedPixelCNNConfig
from tests.models.causality import comes_before, seen_by_autograd, unsettle
from tests.models.gated import published


def net(height=5, width=6, seed=0, **sizes):
    torch.manual_seed(seed)
    sizes = {"levels": 7, "hidden": 8, "dilations": (1, 2), **sizes}
    return unsettle(GatedPixelCNN(GatedPixelCNNConfig(height, width, **sizes)), seed)


def transcription(state, x, dilations, context=None):
    """The published network's forward, with its masks; ``state`` in the published keys."""

    def convolve(name, x, dilation=1):
        if f"{name}.mask" not in state:
            return conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"])
        mask = state[f"{name}.mask"]
        padding = [dilation * (k - 1) // 2 for k in mask.shape[-2:]]
        weight = state[f"{name}.conv.weight"] * mask
        return conv2d(x, weight, state[f"{name}.conv.bias"], 1, padding, dilation)

    def gate(x):
        a, b = x.chunk(2, dim=1)
        return torch.tanh(a) * torch.sigmoid(b)

    v, h = convolve("conv_vstack", x), convolve("conv_hstack", x)
    for k, dilation in enumerate(dilations):
        at = f"conv_layers.{k}."
        vf = convolve(at + "conv_vert", v, dilation)
        hf = convolve(at + "conv_horiz", h, dilation)
        if context is not None:
            told = context @ state[at + "of_context.weight"].T
            vf = vf + told[:, : vf.shape[1], None, None]
            hf = hf + told[:, vf.shape[1] :, None, None]
        hf = hf + convolve(at + "conv_vert_to_horiz", vf)
        v, h = gate(vf), convolve(at + "conv_horiz_1x1", gate(hf)) + h
    return convolve("conv_out", torch.where(h > 0, h, torch.expm1(h)))


@pytest.mark.parametrize("n_context", [0, 3])
def test_it_is_the_published_network(n_context):
    module = net(n_context=n_context, dilations=(1, 2, 1, 4))
    state = published(module.state_dict(), 4, junk=1e3)
    x = torch.rand(2, 1, 5, 6, dtype=torch.float64) * 2 - 1
    context = torch.rand(2, n_context, dtype=torch.float64) if n_context else None
    out = module(x) if context is None else module(x, context)
    expected = transcription(state, x, (1, 2, 1, 4), context)
    assert out.shape == (2, 7, 1, 5, 6)
    assert (out[:, :, 0] - expected).abs().max() < 1e-12


@pytest.mark.parametrize("size", [(5, 6), (1, 9), (7, 1), (4, 3)])
def test_a_pixel_sees_those_before_it_and_no_others(size):
    height, width = size
    # Undilated and deep enough to reach every corner: no blind spot, so all of them are seen.
    module = net(*size, dilations=(1,) * (height + width))
    assert torch.equal(seen_by_autograd(module, 1, *size), comes_before(1, *size))
    dilated = seen_by_autograd(net(*size, dilations=(1, 2, 1, 4)), 1, *size)
    assert not (dilated & ~comes_before(1, *size)).any()
    assert dilated.any()


def test_a_context_reaches_every_pixel_and_lets_no_later_one_be_seen():
    module = net(n_context=3)
    context = torch.rand(1, 3, dtype=torch.float64)
    assert not (seen_by_autograd(module, 1, 5, 6, context) & ~comes_before(1, 5, 6)).any()
    x = torch.rand(1, 1, 5, 6, dtype=torch.float64)
    told, untold = module(x, context), module(x)
    assert ((told - untold).abs().amax(dim=1) > 1e-6).all()
    assert torch.equal(module(x, torch.zeros_like(context)), untold)


def lightning(tmp_path, state):
    path = tmp_path / "gated.ckpt"
    torch.save({"epoch": 3, "state_dict": state}, path)
    return path


def test_a_lightning_checkpoint_loads_with_its_masks_applied(tmp_path):
    module = GatedPixelCNN(GatedPixelCNNConfig(hidden=4, levels=9)).eval()
    path = lightning(tmp_path, published(module.state_dict(), 7, junk=0.5))
    model = fastdiff.load(path)
    assert (model.levels, model.sample_shape, model.name) == (9, (1, 28, 28), "gated")
    levels = torch.randint(0, 9, (2, 1, 28, 28))
    x = model.input_of(levels)
    assert torch.allclose(x, levels / 4 - 1, atol=1e-7)
    with torch.inference_mode():
        assert torch.equal(model(x), module(x))
    fastdiff.save(model, tmp_path / "again.safetensors", half=False)
    with torch.inference_mode():
        assert torch.equal(fastdiff.load(tmp_path / "again.safetensors")(x), module(x))


def test_other_lightning_checkpoints_are_refused(tmp_path):
    module = GatedPixelCNN(GatedPixelCNNConfig(hidden=4, levels=9))
    state = published(module.state_dict(), 7)
    missing = {k: v for k, v in state.items() if k != "conv_hstack.conv.bias"}
    with pytest.raises(FastdiffError, match=r"lacks the tensor conv_hstack\.bias"):
        fastdiff.load(lightning(tmp_path, missing))
    unmasked = published(module.state_dict(), 7, junk=0.5)
    del unmasked["conv_vstack.mask"]
    with pytest.raises(FastdiffError, match=r"zeros at the masked taps of conv_vstack\.weight"):
        fastdiff.load(lightning(tmp_path, unmasked))
    wrong = {**state, "conv_vstack.mask": torch.ones(5)}
    for bad in ({"weights": 1}, {"state_dict": {}}, {"state_dict": 3}, {"state_dict": wrong}, [1]):
        torch.save(bad, tmp_path / "bad.ckpt")
        with pytest.raises(FastdiffError, match="is no GatedPixelCNN checkpoint"):
            fastdiff.load(tmp_path / "bad.ckpt")
    (tmp_path / "bad.ckpt").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(FastdiffError, match=re.escape(f"model: {tmp_path / 'bad.ckpt'} is")):
        fastdiff.load(tmp_path / "bad.ckpt")


@pytest.fixture(scope="module")
def trained(shared):
    path = shared / "weights" / "gated_pixelcnn_mnist.ckpt"
    if not path.is_file():
        pytest.skip(f"no published weights at {path}")
    return path


def test_the_published_weights_give_the_published_figure(trained, shared):
    images = shared / "mnist" / "t10k-images-idx3-ubyte.gz"
    if not images.is_file():
        pytest.skip(f"no MNIST at {images}")
    model = fastdiff.load(trained)
    assert sum(p.numel() for p in model.module.parameters()) > 800_000
    x = load_images(images).x[:500]
    none = torch.zeros(500, 0).numpy()
    assert bits_per_dimension(model, ImageSet(x, none)).mean == pytest.approx(0.8017, abs=2e-4)


def test_the_published_weights_are_read_as_they_are_meant(trained):
    state = torch.load(trained, weights_only=True, map_location="cpu")["state_dict"]
    model = fastdiff.load(trained)
    torch.manual_seed(0)
    x = model.input_of(torch.randint(0, 256, (2, 1, 28, 28)))
    with torch.inference_mode():
        out = model(x)[:, :, 0]
        expected = transcription(state, x, (1, 2, 1, 4, 1, 2, 1))
    assert (out - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"hidden": 0}, "hidden: expected an integer from 1 to 4096, got 0"),
        ({"levels": 300}, "levels: expected an integer from 2 to 256, got 300"),
        ({"dilations": (1, 0)}, r"dilations: expected up to 256 integers from 1 to 1024, got \(1"),
        ({"dilations": 3}, "dilations: expected"),
        ({"dilations": (1, 2.0)}, "dilations: expected"),
        ({"n_context": -1}, "n_context: expected"),
    ],
)
def test_wrong_sizes_are_named(sizes, message):
    with pytest.raises(FastdiffError, match=message):
        GatedPixelCNNConfig(**sizes)
