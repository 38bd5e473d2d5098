"""The options of ``fastdiff train`` that say how it learns and how it is watched."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")

from safetensors import safe_open

from fastdiff.cli.main import main
from fastdiff.train.config import TrainConfig
from fastdiff.train.state import FILE


@pytest.fixture
def call(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", x=x, label=np.arange(8) % 2, labels=["odd", "even"])
    common = ["train", "--data", tmp_path / "data.npz", "--out", tmp_path / "run", "--n-feat", 8,
              "--quiet", "--sample-every", 0]  # fmt: skip
    return lambda *args: main([str(a) for a in [*common, *args]])


def saved(folder):
    with safe_open(folder / FILE, "pt") as file:
        return json.loads(file.metadata()["fastdiff_training"])["config"]


def test_every_setting_has_an_option(call, tmp_path):
    changed = {
        "steps": 1, "batch_size": 4, "lr": 0.5, "warmup": 3, "ema": 0.5, "drop": 0.2, "flip": True,
        "clip_norm": 2.0, "seed": 9, "precision": "bfloat16", "lr_schedule": "linear",
        "loss": "l1", "weighting": "min_snr", "min_snr_gamma": 3.0,
    }  # fmt: skip
    assert {k for k, v in vars(TrainConfig()).items() if changed.get(k) == v} == set()
    options = []
    for name, value in changed.items():
        flag = "--" + name.replace("_", "-")
        options += [flag] if value is True else [flag, value]
    assert call(*options) == 0
    assert saved(tmp_path / "run") == changed


def test_without_options_the_defaults_are_the_settings(call, tmp_path):
    assert call("--steps", 1, "--batch-size", 2) == 0
    assert saved(tmp_path / "run") == vars(TrainConfig(steps=1, batch_size=2))


def test_tensorboard_is_written_where_it_was_asked_for(call, tmp_path):
    pytest.importorskip("tensorboard")
    assert call("--steps", 1, "--batch-size", 2) == 0
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert call("--steps", 2, "--batch-size", 2, "--resume", "--tensorboard") == 0
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1


def test_wrong_options_end_with_one_sentence_and_code_2(call, capsys):
    def error(*args):
        assert call("--steps", 1, "--batch-size", 2, *args) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    assert "features: expected a features file or a model" in error("--features", "nothing")
    assert "features: sprites16-features-1 are of pictures" in error("--features", "sprites16")
    assert "quality_n: expected 0 or more samples, got -1" in error("--quality-n", -1)
    assert "min_snr_gamma: expected a positive number" in error("--min-snr-gamma", 0)
