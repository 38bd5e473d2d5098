"""Feature files: what is written is read, what is damaged is refused in one sentence."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors import safe_open
from safetensors.torch import save_file

from fastdiff.checkpoint import ZOO, packaged
from fastdiff.errors import FastdiffError
from fastdiff.metrics.features_file import KEY, load_features, packaged_features, save_features


@pytest.fixture
def path(tiny_features, tmp_path):
    save_features(tiny_features, tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def parts(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()[KEY]), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118


def refused(path, meta, tensors):
    save_file(tensors, path, metadata={KEY: json.dumps(meta)})
    with pytest.raises(FastdiffError) as caught:
        load_features(path)
    text = str(caught.value)
    assert text.startswith("features: ")
    assert len(text.splitlines()) == 1
    return text


def test_what_is_written_is_read(tiny_features, path):
    got = load_features(path)
    for name in ("name", "sample_shape", "labels", "facts"):
        assert getattr(got, name) == getattr(tiny_features, name)
    assert got.net.config == tiny_features.net.config
    for name in ("counts", "training", "training_label"):
        np.testing.assert_array_equal(getattr(got, name), getattr(tiny_features, name))
    np.testing.assert_array_equal(got.held_out.cov, tiny_features.held_out.cov)
    np.testing.assert_array_equal(got.held_out.mean, tiny_features.held_out.mean)
    assert got.held_out.count == 20
    x = np.random.default_rng(0).uniform(-1, 1, (4, 3, 8, 8))
    expected = tiny_features.of(x)
    assert np.abs(got.of(x) - expected).max() < 2e-3 * np.abs(expected).max()  # float16 kernels
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_packaged_features_are_no_model():
    assert "sprites16" in packaged_features()
    assert "sprites16-features" not in packaged()
    path = ZOO / "sprites16-features.safetensors"
    assert path.stat().st_size < 1e6
    with pytest.raises(FastdiffError, match="expected a features file or a model that has"):
        load_features("sprites17")
    with pytest.raises(FastdiffError, match="is not a features file of fastdiff"):
        load_features(ZOO / "sprites16.safetensors")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 2, "it has format 2, this reads up to 1"),
        ("format", "1", "damaged metadata"),
        ("config", None, "damaged metadata"),
        ("config", {"widths": [4, 4]}, "expected 1 to 1024 channels"),
        ("config", {"widths": [4, 4, 10**9]}, "expected 1 to 1024 channels"),
        ("config", {"depth": 3}, "damaged metadata"),
        ("sample_shape", [3, 8], "damaged metadata"),
        ("sample_shape", [3, 0, 8], "sizes do not agree"),
        ("sample_shape", [1, 8, 8], "sizes do not agree"),
        ("labels", ["a", "b"], "expected torch.int64 [2]"),
        ("labels", 3, "damaged metadata"),
        ("held_out_count", 0, "sizes do not agree"),
        ("facts", [1], "damaged metadata"),
    ],
)
def test_damaged_metadata(path, key, value, message):
    meta, tensors = parts(path)
    if key == "config" and value is not None:
        value = {**meta["config"], **value}
    assert message in refused(path, {**meta, key: value}, tensors)


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("held_out.mean", None, "lacks the tensor held_out.mean"),
        ("net.body.0.weight", None, "lacks the tensor net.body.0.weight"),
        ("net.body.0.weight", lambda v: v[:2], "has net.body.0.weight as torch.float16 [2, 3, 3"),
        ("net.scale", lambda v: v * torch.nan, "values in net.scale that are not finite"),
        ("held_out.cov", lambda v: v.float(), "expected torch.float64 [6, 6]"),
        ("held_out.cov", lambda v: v * torch.inf, "values in held_out.cov that are not finite"),
        ("held_out.counts", lambda v: v * 0, "counts or labels out of range"),
        ("held_out.counts", lambda v: -v, "counts or labels out of range"),
        ("training.label", lambda v: v + 1, "counts or labels out of range"),
        ("training.label", lambda v: v[:5], "has training.features as"),
        ("training.label", lambda v: v.reshape(6, 10), "expected torch.float16 [6, 6]"),
        ("training.features", lambda v: v[:, :2], "has training.features as"),
    ],
)
def test_damaged_tensors(path, key, change, message):
    meta, tensors = parts(path)
    value = tensors.pop(key)
    if change is not None:
        tensors[key] = change(value).contiguous()
    assert message in refused(path, meta, tensors)


def test_surplus_truncated_and_foreign_files(path, tmp_path):
    meta, tensors = parts(path)
    assert "should not: more" in refused(path, meta, {**tensors, "more": torch.zeros(1)})
    save_file(tensors, path, metadata={KEY: "{"})
    with pytest.raises(FastdiffError, match="damaged metadata"):
        load_features(path)
    save_file(tensors, path)
    with pytest.raises(FastdiffError, match="not a features file of fastdiff"):
        load_features(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(FastdiffError, match="not a whole safetensors file"):
        load_features(path)
    features = load_features("sprites16")
    with pytest.raises(FastdiffError, match="cannot write"):
        save_features(features, tmp_path / "no" / "x.safetensors")
