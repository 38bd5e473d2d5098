"""Checkpoints of models that draw pixel by pixel, and what is said where another kind was meant."""

import json

import pytest

torch = pytest.importorskip("torch")

from safetensors import safe_open
from safetensors.torch import load_file, save_file

import fastdiff
from fastdiff import FastdiffError, schedules
from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.models.kinds import expect_autoregressive, expect_diffusion
from fastdiff.models.registry import ARCHITECTURES, build

SIZES = {
    "pixelcnn": {"in_channels": 3, "height": 4, "width": 5, "levels": 9, "hidden": 6, "blocks": 1},
    "gated_pixelcnn": {"height": 4, "width": 5, "levels": 9, "hidden": 6, "dilations": (1, 2)},
}
SHAPES = {"pixelcnn": (3, 4, 5), "gated_pixelcnn": (1, 4, 5)}
RANGES = {"pixelcnn": (0.0, 1.0), "gated_pixelcnn": (-1.0, 1.0)}
KINDS = pytest.mark.parametrize("architecture", SIZES)


def make(architecture, labels=("a", "b")):
    torch.manual_seed(0)
    sizes = {**SIZES[architecture], "n_context": len(labels)}
    model = build(architecture, sizes, None, labels, "drawn")
    model.module.eval()
    return model


def test_every_architecture_is_tested_here_or_beside():
    assert {*SIZES, "context_unet", "ddpm_unet", "two_res_unet"} == set(ARCHITECTURES)


@KINDS
def test_a_model_survives_the_round_trip(architecture, tmp_path):
    model, path = make(architecture), tmp_path / "m.safetensors"
    fastdiff.save(model, path, half=False, facts={"steps": 3})
    with safe_open(path, "pt") as file:
        meta = json.loads(file.metadata()["fastdiff"])
    assert (meta["schedule"], meta["architecture"], meta["facts"]) == (
        None, architecture, {"steps": 3},
    )  # fmt: skip
    back = fastdiff.load(path)
    for name in ("sample_shape", "levels", "context_width", "labels", "name"):
        assert getattr(back, name) == getattr(model, name), name
    assert (back.input_scale, back.input_shift) == (model.input_scale, model.input_shift)
    levels = torch.randint(0, 9, (2, *SHAPES[architecture]))
    x, context = back.input_of(levels), torch.eye(2)
    with torch.inference_mode():
        assert torch.equal(back(x, context), model(x, context))
        assert torch.equal(back(x), model(x))
    assert back(x).shape == (2, 9, *SHAPES[architecture])
    assert not back.module.training


@KINDS
def test_the_input_spans_the_architectures_range(architecture):
    model = make(architecture)
    levels = torch.arange(9, dtype=torch.uint8)
    low, high = RANGES[architecture]
    x = model.input_of(levels)
    assert x.dtype == torch.float32
    assert torch.equal(x, torch.linspace(low, high, 9, dtype=torch.float64).float())


@KINDS
def test_half_precision_keeps_what_is_hidden_at_zero(architecture, tmp_path):
    path = tmp_path / "m.safetensors"
    fastdiff.save(make(architecture), path)
    tensors = load_file(path)
    assert not [k for k in tensors if "mask" in k]
    for key, value in tensors.items():
        assert value.dtype == (torch.float16 if value.dim() > 1 else torch.float32), key
    fastdiff.load(path)
    key = {"pixelcnn": "first.weight", "gated_pixelcnn": "conv_vstack.weight"}[architecture]
    tensors[key][0, 0, -1, -1] = 0.25
    with safe_open(path, "pt") as file:
        meta = file.metadata()
    save_file(tensors, path, metadata=meta)
    with pytest.raises(FastdiffError, match=rf"masked taps of {key}, got 0\.25") as caught:
        fastdiff.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": schedules.course().to_dict()}, "schedule: pixelcnn expected none, got"),
        ({"architecture": "context_unet", "config": {}}, "context_unet expected a schedule"),
        ({"config": {"hidden": 7, "in_channels": 3}}, "hidden: expected a multiple of the 3"),
        ({"config": {"n_feat": 8}}, "configuration of pixelcnn"),
        ({"config": {"levels": 10**9}}, "levels: expected an integer from 2 to 256"),
        ({"labels": ["one"]}, "labels: expected 2 names"),
    ],
)
def test_wrong_metadata_is_refused(changes, message, tmp_path):
    path = tmp_path / "m.safetensors"
    fastdiff.save(make("pixelcnn"), path)
    with safe_open(path, "pt") as file:
        meta = {**json.loads(file.metadata()["fastdiff"]), **changes}
    save_file(load_file(path), path, metadata={"fastdiff": json.dumps(meta)})
    with pytest.raises(FastdiffError, match=message) as caught:
        fastdiff.load(path)
    assert str(path) in str(caught.value)


def test_the_kind_that_was_expected_is_named(tiny_model, tmp_path):
    model = make("pixelcnn")
    assert expect_autoregressive(model) is model
    assert expect_diffusion(tiny_model) is tiny_model
    with pytest.raises(FastdiffError, match=r"a diffusion model, got an autoregressive one \('dra"):
        expect_diffusion(model)
    with pytest.raises(FastdiffError, match=r"autoregressive model, got a diffusion model \('tiny"):
        expect_autoregressive(tiny_model)
    with pytest.raises(FastdiffError, match="got an object of type int"):
        expect_diffusion(3)


def test_wrong_models_are_named():
    module, how = torch.nn.Identity(), {"input_scale": 1.0, "input_shift": 0.0}
    with pytest.raises(FastdiffError, match="levels: expected 2 to 256, got 1"):
        AutoregressiveModel(module, (1, 2, 2), 1, **how)
    with pytest.raises(FastdiffError, match="labels: expected 0 names"):
        AutoregressiveModel(module, (1, 2, 2), 2, labels=("a",), **how)
    with pytest.raises(
        FastdiffError, match="architecture: expected one of context_unet, ddpm_unet, pixelcnn"
    ):
        build("pixelrnn", {}, None)
