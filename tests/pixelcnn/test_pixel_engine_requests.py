"""Wrong requests to a PixelEngine: one sentence each, before anything is drawn."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
native = pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")

import fastdiff
from fastdiff import FastdiffError, runtime
from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.pixelcnn.save import pixel_engine_bytes_of
from tests.pixelcnn.random_models import random_model

H, W = 4, 5
FLOATS, PIXELS = np.zeros((1, H, W), np.float32), np.zeros((H, W, 1), np.uint8)
MASK = np.ones((H, W), bool)


@pytest.fixture(scope="module")
def model():
    return random_model("pixelcnn", height=H, width=W, levels=6, hidden=4, blocks=1)


@pytest.fixture(scope="module")
def engines(model):
    quick = {"autotune": False}
    return [
        fastdiff.compile(model, backend="native", options=quick),
        fastdiff.compile(model, backend="eager"),
    ]


WRONG = [
    ({"n": -1}, "n: expected an integer from 0 to 10000000, got -1"),
    ({"n": 2.0}, "n: expected an integer from 0 to 10000000, got 2.0"),
    ({"n": 3, "seed": [1, 2]}, "seeds: expected 3 seeds for n=3, got 2"),
    ({"seed": -1}, "seed: expected an integer from 0"),
    ({"temperature": 0}, "temperature: expected a positive number, got 0"),
    ({"temperature": -1.0}, "temperature: expected a positive number, got -1.0"),
    ({"temperature": math.nan}, "temperature: expected a positive number, got nan"),
    ({"temperature": math.inf}, "temperature: expected a positive number, got inf"),
    ({"temperature": "hot"}, "temperature: expected a positive number, got 'hot'"),
    ({"temperature": True}, "temperature: expected a positive number, got True"),
    ({"top_k": 0}, "top_k: expected an integer from 1 to 6, got 0"),
    ({"top_k": 7}, "top_k: expected an integer from 1 to 6, got 7"),
    ({"top_k": 2.0}, "top_k: expected an integer from 1 to 6, got 2.0"),
    ({"top_k": True}, "top_k: expected an integer from 1 to 6, got True"),
    ({"context": "a"}, "context: expected none, this model takes no context"),
    ({"given_rows": 1}, "given_rows: expected an image to keep a part of, got none"),
    ({"mask": MASK}, "mask: expected an image to keep a part of, got none"),
    ({"image": FLOATS}, "image: expected either given_rows or a mask to say what of it stays, got"),
    ({"image": FLOATS, "mask": MASK, "given_rows": 1},
     "image: expected either given_rows or a mask to say what of it stays, got both"),
    ({"image": FLOATS, "given_rows": 5}, "given_rows: expected an integer from 0 to 4, got 5"),
    ({"image": FLOATS, "given_rows": -1}, "given_rows: expected an integer from 0 to 4, got -1"),
    ({"image": FLOATS, "given_rows": True}, "given_rows: expected an integer from 0 to 4, got Tr"),
    ({"image": FLOATS, "given_rows": 1.0}, "given_rows: expected an integer from 0 to 4, got 1.0"),
    ({"image": FLOATS.transpose(0, 2, 1), "given_rows": 1},
     "image: expected float [1, 4, 5] or [1, 1, 4, 5], got [1, 5, 4]"),
    ({"image": PIXELS[..., 0], "given_rows": 1},
     "image: expected uint8 [4, 5, 1] or [1, 4, 5, 1], got [4, 5]"),
    ({"image": np.stack([FLOATS] * 2), "n": 3, "given_rows": 1},
     "image: expected float [1, 4, 5] or [3, 1, 4, 5], got [2, 1, 4, 5]"),
    ({"image": FLOATS.astype(int), "given_rows": 1},
     "image: expected floats in [-1, 1] or uint8, got int64"),
    ({"image": FLOATS + 2, "given_rows": 1}, "image: expected finite values in [-1, 1], got 2 to"),
    ({"image": FLOATS * np.nan, "given_rows": 1}, "image: expected finite values in [-1, 1], got"),
    ({"image": [["a"]], "given_rows": 1}, "image: expected an array of numbers"),
    ({"image": FLOATS, "mask": MASK[:2]}, "mask: expected [4, 5], [1, 4, 5] or [1, 1, 4, 5], got"),
    ({"image": FLOATS, "mask": MASK * 0.5}, "mask: expected 0 (keep) or 1 (draw anew) alone"),
    ({"image": FLOATS, "mask": MASK * 2.0}, "mask: expected bool or numbers from 0 (keep) to 1"),
    ({"batch_size": 0}, "batch_size: expected an integer of at least 1, got 0"),
    ({"on_progress": 3}, "on_progress: expected a function, got 3"),
]  # fmt: skip


@pytest.mark.parametrize(("request_of", "message"), WRONG, ids=[m[:30] for _, m in WRONG])
def test_wrong_requests_are_named(engines, request_of, message):
    for engine in engines:
        with pytest.raises(FastdiffError) as caught:
            engine.sample(**request_of)
        assert str(caught.value).startswith(message)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (FLOATS[0], "images: expected float [1, 4, 5] or [1, 1, 4, 5], got [4, 5]"),
        (FLOATS - 3, "images: expected finite values in [-1, 1], got -3 to -3"),
        (PIXELS[None, :2], "images: expected uint8 [4, 5, 1] or [1, 4, 5, 1], got [1, 2, 5, 1]"),
        ("image", "images: expected an array of numbers"),
    ],
)
def test_wrong_images_to_measure_are_named(engines, images, message):
    with pytest.raises(FastdiffError) as caught:
        engines[0].bits_per_dimension(images)
    assert str(caught.value).startswith(message)
    with pytest.raises(FastdiffError, match="context: expected none, this model takes no context"):
        engines[0].bits_per_dimension(FLOATS, context=[1.0])


COMPILED = [
    ({"sampler": "ddim"}, "sampler: expected none, pixelcnn draws pixel by pixel and has no sam"),
    ({"steps": 10}, "steps: expected none, pixelcnn draws pixel by pixel and has no sampler"),
    ({"eta": 0.5}, "eta: expected none, pixelcnn draws pixel by pixel and has no sampler"),
    ({"backend": "abacus"}, "backend: expected auto or one of"),
    ({"backend": "native", "dtype": "float64"}, "dtype: expected one of float32, bfloat16, got 'f"),
    ({"backend": "native", "device": "cuda"}, "device: expected 'cpu', got 'cuda'"),
    ({"backend": "native", "options": {"magic": 1}}, "magic: backend 'native' takes device, dtype"),
    ({"backend": "native", "options": {"threads": -1}}, "threads: expected a whole number from 0"),
    ({"backend": "eager", "dtype": "bfloat16"}, "dtype: expected one of float32, float64, got 'bf"),
    ({"backend": "eager", "options": {"magic": 1}}, "magic: backend 'eager' takes device, dtype,"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), COMPILED, ids=[m[:30] for _, m in COMPILED])
def test_wrong_options_are_named(model, options, message):
    with pytest.raises(FastdiffError) as caught:
        fastdiff.compile(model, **options)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1


class Later(torch.nn.Module):
    """Each pixel's logits are its own value: a network that is not causal."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 6, 1)

    def forward(self, x):
        return self.conv(x).reshape(x.shape[0], 6, 1, H, W)


def test_a_network_that_sees_itself_is_refused():
    module = Later().eval()
    model = AutoregressiveModel(module, (1, H, W), 6, name="later", input_scale=1, input_shift=0)
    with pytest.raises(FastdiffError, match="model: expected a network that sees only pixels befo"):
        fastdiff.compile(model, backend="native")
    with pytest.raises(FastdiffError, match="model: expected logits that depend on earlier pixels"):
        fastdiff.compile(model, backend="eager").sample(1)


def test_files_that_cannot_be_read_are_named(model, engines, tmp_path):
    path = tmp_path / "tiny.fdiff"
    engines[0].save(path)
    data = path.read_bytes()
    assert data == pixel_engine_bytes_of(model)
    read = runtime.load(path, autotune=False)
    with pytest.raises(
        FastdiffError, match="engine: expected one of a model, got one of an engine"
    ):
        read.save(tmp_path / "again.fdiff")
    damaged = {
        "cut": data[:-100],
        "short": data[:50],
        "levels": data.replace(b'levels\\":6', b'levels\\":7'),
        "scale": data.replace(b'input_scale\\":0.2', b'input_scale\\":"a'),
        "newer": data.replace(b'{\\"format\\":1', b'{\\"format\\":2'),
        "table": data.replace(b'\\"autoregressive\\"', b'\\"autoregressivf\\"'),
    }
    for name, content in damaged.items():
        assert content != data, name
        path = tmp_path / f"{name}.fdiff"
        path.write_bytes(content)
        with pytest.raises(FastdiffError, match=rf"{name}\.fdiff.*: expected") as caught:
            runtime.load(path)
        assert len(str(caught.value).splitlines()) == 1
        with pytest.raises(ValueError, match=r"^file.*: expected"):
            native.PixelEngine(content)


BINDING = [
    ("seeds", np.arange(2), "seeds: expected a uint64 array [n]"),
    ("context", np.zeros((2, 1), np.float32), "context: expected None, this model takes none"),
    ("temperature", 0.0, "temperature: expected a positive number, got 0.0"),
    ("temperature", math.nan, "temperature: expected a positive number, got nan"),
    ("top_k", 0, "top_k: expected a whole number from 1 to 6, got 0"),
    ("top_k", 7, "top_k: expected a whole number from 1 to 6, got 7"),
    ("given", np.zeros((2, H, W), np.int32), "given: expected an int32 array [2, 1, 4, 5]"),
    ("given", np.zeros((2, 1, H, W)), "given: expected an int32 array [2, 1, 4, 5]"),
    ("given", np.full((2, 1, H, W), 6, np.int32), "given: expected levels below 6, or -1, got 6"),
    ("given", np.full((2, 1, H, W), -2, np.int32), "given: expected levels below 6, or -1, got -2"),
    ("on_progress", 3, "on_progress: expected a function or None, got 3"),
    ("slope", 3, "slope: expected a whole number from 4"),
]


@pytest.mark.parametrize(("name", "value", "message"), BINDING)
def test_wrong_arguments_of_the_binding_are_named(model, name, value, message):
    engine = native.PixelEngine(pixel_engine_bytes_of(model), threads=1, autotune=False)
    request = {"seeds": np.arange(2, dtype=np.uint64), name: value}
    with pytest.raises(ValueError, match=f"^{name}: expected") as caught:
        engine.sample(**request)
    assert str(caught.value).startswith(message)
    for levels, text in (
        (np.zeros((1, 1, H, H), np.int32), "levels: expected an int32 array [1, 1, 4, 5]"),
        (np.full((1, 1, H, W), -1, np.int32), "levels: expected 0 to 5, got -1"),
        (None, "levels: expected an int32 array"),
    ):
        with pytest.raises(ValueError, match=r"^levels: expected") as caught:
            engine.log_probabilities(levels)
        assert str(caught.value).startswith(text)
