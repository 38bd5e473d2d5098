"""Our own checkpoints: round trip, precision, and every way in which a file can be wrong."""

import json

import pytest

torch = pytest.importorskip("torch")

from safetensors import safe_open
from safetensors.torch import load_file, save_file

import fastdiff
from fastdiff import FastdiffError


def test_a_model_survives_the_round_trip(tiny_model, tmp_path):
    path = tmp_path / "m.safetensors"
    fastdiff.save(tiny_model, path, half=False, facts={"steps": 3})
    back = fastdiff.load(path)
    assert (back.schedule, back.labels, back.sample_shape) == (
        tiny_model.schedule, tiny_model.labels, tiny_model.sample_shape,
    )  # fmt: skip
    x, t = torch.randn(2, 3, 8, 8), torch.rand(2)
    with torch.inference_mode():
        assert torch.equal(back(x, t), tiny_model(x, t))
    assert not back.module.training
    assert path.stat().st_mode & 0o444 == 0o444, "readable by all, as any new file"


def test_half_precision_halves_the_matrices_alone(tiny_model, tmp_path):
    path = tmp_path / "m.safetensors"
    fastdiff.save(tiny_model, path)
    for key, value in load_file(path).items():
        assert value.dtype == (torch.float16 if value.dim() > 1 else torch.float32), key
    state = fastdiff.load(path).module.state_dict()
    for key, value in tiny_model.module.state_dict().items():
        if value.is_floating_point():
            assert state[key].dtype == torch.float32
            assert torch.equal(state[key], value.half().float() if value.dim() > 1 else value)


def metadata(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["fastdiff"])


def rewrite(path, **changes):
    meta = {**metadata(path), **changes}
    meta = {k: v for k, v in meta.items() if v is not None}
    save_file(load_file(path), path, metadata={"fastdiff": json.dumps(meta)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99}, "has format 99, this version reads up to 1"),
        ({"format": "x"}, "damaged metadata"),
        ({"architecture": "unet9000"}, "architecture: expected one of context_unet"),
        ({"architecture": None}, "damaged metadata"),
        ({"config": {"n_feat": 10**9}}, "n_feat: expected an integer from 1 to 4096"),
        ({"config": {"colour": 1}}, "configuration of context_unet"),
        ({"config": {"n_feat": 16}}, "expected"),
        ({"schedule": {"T": -1}}, "schedule T"),
        ({"schedule": "linear"}, "schedule"),
        ({"labels": ["one"]}, "labels: expected 3 names"),
        ({"labels": 7}, "damaged metadata"),
    ],
)
def test_wrong_metadata_is_refused(changes, message, tiny_model, tmp_path):
    path = tmp_path / "m.safetensors"
    fastdiff.save(tiny_model, path)
    rewrite(path, **changes)
    with pytest.raises(FastdiffError, match=message) as caught:
        fastdiff.load(path)
    assert str(path) in str(caught.value)


def test_truncated_damaged_and_foreign_files_are_refused(tiny_model, tmp_path):
    path = tmp_path / "m.safetensors"
    fastdiff.save(tiny_model, path)
    whole = path.read_bytes()
    for content in (b"", b"\xff" * 64, whole[:7], whole[:500], whole[:-1], whole + b"x"):
        path.write_bytes(content)
        with pytest.raises(FastdiffError, match="not a whole safetensors file"):
            fastdiff.load(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(FastdiffError, match="carries no fastdiff metadata"):
        fastdiff.load(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"fastdiff": "{"})
    with pytest.raises(FastdiffError, match="damaged metadata"):
        fastdiff.load(path)


def test_unknown_models_are_named_with_what_there_is():
    with pytest.raises(FastdiffError, match="got 'no-such-model'"):
        fastdiff.load("no-such-model")
    with pytest.raises(FastdiffError, match="model: expected"):
        fastdiff.load("/")


def test_an_unwritable_path_is_named_and_leaves_nothing(tiny_model, tmp_path):
    with pytest.raises(FastdiffError, match="cannot write"):
        fastdiff.save(tiny_model, tmp_path / "no" / "folder" / "m.safetensors")
    blocked = tmp_path / "folder.safetensors"
    blocked.mkdir()
    with pytest.raises(FastdiffError, match="cannot write"):
        fastdiff.save(tiny_model, blocked)
    assert list(tmp_path.iterdir()) == [blocked]
