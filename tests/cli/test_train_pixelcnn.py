"""``fastdiff train`` for networks that draw pixel by pixel."""

import numpy as np
import pytest

pytest.importorskip("torch")

import fastdiff
from fastdiff.cli.main import main
from fastdiff.models.autoregressive import AutoregressiveModel


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("train", "held"):
        x = rng.integers(0, 256, (8, 6, 5, 1), dtype=np.uint8)
        np.savez(tmp_path / f"{name}.npz", x=x, label=np.arange(8) % 2, labels=["odd", "even"])
    return ["train", "--data", tmp_path / "train.npz", "--held-out", tmp_path / "held.npz",
            "--out", tmp_path / "run", "--batch-size", 4, "--quiet"]  # fmt: skip


def call(*args):
    return main([str(a) for a in args])


def test_a_pixelcnn_is_trained_and_resumed(data, tmp_path, capsys):
    sizes = ["--architecture", "pixelcnn", "--hidden", 4, "--blocks", 1, "--levels", 3]
    grids = ["--sample-every", 3, "--judge-every", 1]
    assert call(*data, *sizes, *grids, "--steps", 1) == 0
    assert call(*data, *sizes, *grids, "--steps", 3, "--resume") == 0
    assert "resuming at step 1" in capsys.readouterr().out
    rows = (tmp_path / "run" / "held_out.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "1", "2", "3"]
    assert (tmp_path / "run" / "samples" / "step-000003.png").is_file()
    model = fastdiff.load(tmp_path / "run" / "model.safetensors")
    assert isinstance(model, AutoregressiveModel)
    assert (model.sample_shape, model.levels, model.labels) == ((1, 6, 5), 3, ("odd", "even"))
    assert (model.module.config.hidden, model.module.config.blocks) == (4, 1)
    again = ["--init", tmp_path / "run" / "model.safetensors", "--out", tmp_path / "again"]
    assert call(*data, *again, "--steps", 1, "--lr", 1e-9, "--sample-every", 0) == 0
    tuned = fastdiff.load(tmp_path / "again" / "model.safetensors").module.state_dict()
    for key, value in model.module.state_dict().items():
        if "running" not in key:
            assert (tuned[key] - value).abs().max() < 1e-3, key


def test_a_gated_pixelcnn_without_classes(data, tmp_path):
    sizes = ["--architecture", "gated_pixelcnn", "--hidden", 4, "--dilations", "1,3"]
    quick = ["--steps", 1, "--sample-every", 0, "--unconditional"]
    assert call(*data, *sizes, *quick) == 0
    model = fastdiff.load(tmp_path / "run" / "model.safetensors")
    assert (model.context_width, model.labels, model.levels) == (0, (), 256)
    assert model.module.config.dilations == (1, 3)


def test_wrong_options_end_with_one_sentence_and_code_2(data, tmp_path, capsys):
    def error(*args):
        assert call(*data, "--steps", 1, *args) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    pixelcnn, gated = ("--architecture", "pixelcnn"), ("--architecture", "gated_pixelcnn")
    assert "--blocks: no option of --architecture context_unet" in error("--blocks", 2)
    assert "which has --hidden, --blocks, --levels" in error(*pixelcnn, "--zero-snr")
    assert "--n-feat: no option of --architecture gated" in error(*gated, "--n-feat", 8)
    assert "--dilations: expected numbers like 1,2,4, got '1,x'" in error(
        *gated, "--dilations", "1,x"
    )
    assert "hidden: expected an integer from 1" in error(*pixelcnn, "--hidden", 0)
    assert "--judge-every: got -1" in error("--judge-every", -1)
    assert "expected square images, got 6x5" in error()
    np.save(tmp_path / "colours.npy", np.zeros((2, 6, 5, 3), dtype=np.uint8))
    assert "expected grey images" in error(*gated, "--data", tmp_path / "colours.npy")
    colours = ("--hidden", 6, "--data", tmp_path / "colours.npy")
    assert "expected images [6, 5, 3]" in error(*pixelcnn, *colours)


def test_other_commands_say_that_they_expect_a_diffusion_model(data, tmp_path, capsys):
    sizes = ["--architecture", "pixelcnn", "--hidden", 2, "--blocks", 0, "--sample-every", 0]
    assert call(*data, *sizes, "--steps", 1) == 0
    model = tmp_path / "run" / "model.safetensors"
    capsys.readouterr()
    assert call("info", "--program", model) == 0
    assert "-> v" in capsys.readouterr().out
    for args in (
        ["info", "--table", "ddim:5", "--model", model],
        ["eval", "--model", model],
    ):
        assert call(*args) == 2
        assert "expected a diffusion model, got an autoregressive one" in capsys.readouterr().err
