"""What a run shows of itself: TensorBoard, the distance of its samples, the columns of a log."""

import csv
import sys
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff import FastdiffError, schedules
from fastdiff.data.dataset import ImageSet
from fastdiff.metrics.features_file import load_features
from fastdiff.metrics.frechet import frechet_distance, statistics
from fastdiff.metrics.quality import class_names
from fastdiff.train.config import TrainConfig
from fastdiff.train.log import Log
from fastdiff.train.loop import Trainer, new_model
from fastdiff.train.quality import packaged_for
from fastdiff.train.reports import HELD_OUT_FILE, LOG_FILE

SIZES = {"in_channels": 3, "n_feat": 8, "n_cfeat": 3, "height": 8}
CONFIG = TrainConfig(steps=201, batch_size=2, warmup=2, ema=0.9, seed=5)
QUICK = {"progress": False, "sample_every": 0}


def trainer(images, out, **changes):
    model = new_model("context_unet", SIZES, schedules.course(), images.labels, "tiny", seed=1)
    return Trainer(model, images, replace(CONFIG, **changes), out, held_out=images)


def test_tensorboard_shows_the_run_and_goes_on_with_it(tiny_images, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # Killed after 201 steps, of which the first 100 were saved.
    first = trainer(tiny_images, tmp_path)
    state = {}

    def keep(step, loss):
        if step == 100:
            state.update({p: p.read_bytes() for p in tmp_path.glob("*.safetensors")})

    first.run(progress=False, sample_every=200, judge_every=100, save_every=100, tensorboard=True,
              on_step=keep)  # fmt: skip
    for path, data in state.items():
        path.write_bytes(data)
    again = trainer(tiny_images, tmp_path, steps=200)
    assert again.step == 100
    again.run(progress=False, sample_every=200, judge_every=100, tensorboard=True)

    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    scalars = shown.Tags()["scalars"]
    with (tmp_path / LOG_FILE).open() as file:
        logged = list(csv.DictReader(file))
    assert [int(row["step"]) for row in logged] == [100, 200]
    for name in ("loss", "lr"):
        events = shown.Scalars(f"train/{name}")
        assert [e.step for e in events] == [100, 200], "each step once"
        expected = [float(row[name]) for row in logged]
        assert [e.value for e in events] == pytest.approx(expected, rel=1e-3, abs=1e-6)
    norms = shown.Scalars("train/gradient_norm")
    assert all(0 < e.value < 100 for e in norms)
    with (tmp_path / HELD_OUT_FILE).open() as file:
        judged = list(csv.DictReader(file))
    for name in set(judged[0]) - {"step"}:
        assert f"held_out/{name}" in scalars
        events = shown.Scalars(f"held_out/{name}")
        assert [e.step for e in events] == [int(row["step"]) for row in judged]
        assert [e.value for e in events] == pytest.approx(
            [float(r[name]) for r in judged], rel=1e-3
        )
    (grid,) = shown.Images("samples")
    assert (grid.step, grid.width > 60) == (200, True)


def test_without_the_package_one_sentence_says_so(tiny_images, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(FastdiffError, match=r"not installed \(pip install 'fastdiff\[train\]'\)"):
        trainer(tiny_images, tmp_path).run(tensorboard=True, **QUICK)


@pytest.fixture(scope="module")
def sprites():
    """Random pictures of the shape and classes of the packaged features."""
    labels = fastdiff.load("sprites16").labels
    x = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), dtype=np.uint8)
    return ImageSet(x, np.eye(5, dtype=np.float32)[np.arange(10) % 5], labels)


def test_the_frechet_figure_is_the_distance_of_the_averages_samples(sprites, tmp_path):
    model = fastdiff.load("sprites16")
    run = Trainer(model, sprites, replace(CONFIG, steps=1, lr=1e-9), tmp_path, quality_n=24)
    run.run(**QUICK)
    rows = list(csv.DictReader((tmp_path / HELD_OUT_FILE).read_text().splitlines()))
    assert [list(row) for row in rows] == [["step", "frechet_24"]]
    features = load_features("sprites16")
    names = class_names(features, 24, model.labels)
    engine = fastdiff.compile(run.averaged(), backend="eager")
    drawn = engine.sample(24, seed=0, context=names).images
    expected = frechet_distance(statistics(features.of(drawn)), features.held_out)
    assert float(rows[0]["frechet_24"]) == pytest.approx(expected, rel=1e-3)
    assert expected < 60, "an image that is always the same is 100 away"


def test_samples_that_ran_away_have_no_distance(sprites, tmp_path):
    model = fastdiff.load("sprites16")
    run = Trainer(model, sprites, replace(CONFIG, steps=1), tmp_path, quality_n=5)
    with torch.no_grad():
        run.ema.module.out[3].bias.fill_(float("nan"))
    assert np.isnan(run.judge()["frechet_5"])


def test_only_models_that_draw_the_same_classes_are_compared(sprites, tmp_path):
    sizes = {**SIZES, "height": 16, "n_cfeat": 5}

    def model_of(labels, **changes):
        made = {**sizes, **changes}
        return new_model("context_unet", made, schedules.course(), labels, "other", seed=1)

    assert packaged_for(model_of(sprites.labels)).name.startswith("sprites16-features")
    assert packaged_for(model_of(tuple("abcde"))) is None
    assert packaged_for(model_of(())) is None
    assert packaged_for(model_of(sprites.labels, height=8)) is None
    assert packaged_for(fastdiff.load("pixelcnn-mnist")) is None
    features = load_features("sprites16")

    def judged_by(model, images=sprites, n=4):
        return Trainer(model, images, CONFIG, tmp_path, features=features, quality_n=n).judge()

    assert judged_by(model_of(sprites.labels), n=0) == {}
    assert list(judged_by(model_of(()))) == ["frechet_4"], "who asks for features gets them"
    small = ImageSet(sprites.x[:, ::2, ::2], sprites.context, sprites.labels)
    with pytest.raises(FastdiffError, match=r"features: sprites16-features-1 are of pictures"):
        judged_by(model_of(sprites.labels, height=8), small)
    with pytest.raises(FastdiffError, match="the model draws a, b, c, d, e"):
        judged_by(model_of(tuple("abcde")))
    with pytest.raises(FastdiffError, match="n: expected an integer of at least 2, got 1"):
        judged_by(model_of(sprites.labels), n=1)
    with pytest.raises(FastdiffError, match="quality_n: expected 0 or more samples, got -1"):
        judged_by(model_of(sprites.labels), n=-1)


def test_a_new_figure_gets_a_column_of_its_own(tmp_path):
    log = Log(tmp_path / "log.csv")
    log.add(1, {"a": "0.1"})
    log.add(2, {"a": "0.2", "b": "2"})
    log.add(3, {"b": "3"})
    with log.path.open() as file:
        rows = [list(row.values()) for row in csv.DictReader(file)]
    assert rows == [["1", "0.1", ""], ["2", "0.2", "2"], ["3", "", "3"]]
    log.forget_beyond(2)
    assert log.path.read_text().splitlines() == ["step,a,b", "1,0.1,", "2,0.2,2"]
