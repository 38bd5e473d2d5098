"""The inductor backend draws eager's images, at any batch, or says why it cannot."""

import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if shutil.which("g++") is None:
    pytest.skip("torch.compile needs a C++ compiler", allow_module_level=True)

import fastdiff
from fastdiff import DiffusionModel, FastdiffError, schedules
from fastdiff.backends import registry
from tests.program.small import Wrapped

SHAPE = (2, 6, 6)


class Net(torch.nn.Module):
    """A convolution of x, shifted by the time and the context."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 2, 3, padding=1)
        self.shift = torch.nn.Linear(3, 2)

    def forward(self, x, t, context):
        return torch.tanh(self.conv(x)) + (self.shift(context) * t[:, None])[:, :, None, None]


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        module = Net()
    labels = ("a", "b", "c")
    return DiffusionModel(module, schedules.course(), SHAPE, 3, labels, name="small")


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmpp_2m"])
def test_draws_eagers_images(model, sampler):
    ours = fastdiff.compile(model, sampler, 6, backend="inductor")
    eager = fastdiff.compile(model, sampler, 6, backend="eager")
    for n, guidance in ((3, 1.0), (5, 2.5), (1, 2.5), (9, 1.0)):
        given = {"seed": n, "context": ["a"] * n, "guidance": guidance}
        got, expected = ours.sample(n, **given).images, eager.sample(n, **given).images
        assert np.abs(got - expected).max() <= 1e-4, (n, guidance)
    assert ours.backend == "inductor"
    assert ours.describe() == "cpu, float32, torch.compile default, noise by torch"


def test_many_engines_of_one_class_are_compiled(model):
    eager = fastdiff.compile(model, "ddim", 2, backend="eager").sample(2, seed=1).images
    for _ in range(12):  # more than torch.compile takes of one class unless told otherwise
        engine = fastdiff.compile(model, "ddim", 2, backend="inductor")
        assert np.abs(engine.sample(2, seed=1).images - eager).max() <= 1e-4


def test_auto_leaves_it_to_people_who_ask(model):
    assert registry.reason("inductor") is None
    engine = fastdiff.compile(model, "ddim", 2)
    assert engine.backend != "inductor"
    assert "inductor" not in engine.passed_over


def test_a_network_that_cannot_be_compiled_whole_is_refused():
    def breaks(x, t):
        print("a side effect")  # which torch.compile leaves to Python
        return x * float(x.sum())

    model = DiffusionModel(Wrapped(breaks), schedules.course(), SHAPE, name="breaks")
    engine = fastdiff.compile(model, "ddim", 2, backend="inductor")
    with pytest.raises(FastdiffError, match=r"model: torch\.compile cannot take it"):
        engine.sample(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "fastest"}, "mode: expected one of default, max-autotune, got 'fastest'"),
        ({"threads": 2}, "threads: backend 'inductor' takes device, dtype and mode, not this"),
        ({"dtype": "int8"}, "dtype: expected one of"),
    ],
)
def test_wrong_options_are_named(model, options, message):
    with pytest.raises(FastdiffError, match=message):
        fastdiff.compile(model, backend="inductor", options=options)


def test_pixels_are_not_for_it():
    with pytest.raises(FastdiffError, match="backend 'inductor' runs diffusion models"):
        fastdiff.compile("pixelcnn-mnist", backend="inductor")
