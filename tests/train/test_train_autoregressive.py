"""Training a PixelCNN: batches, learning, exact resume, masks that hold, the average."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff import FastdiffError
from fastdiff.data.dataset import ImageSet
from fastdiff.data.pictures import from_levels, to_levels
from fastdiff.metrics.bits_per_dimension import bits_per_dimension
from fastdiff.models.masked import MaskConv2d
from fastdiff.train.autoregressive import LevelBatches
from fastdiff.train.config import TrainConfig
from fastdiff.train.loop import Trainer, new_model
from fastdiff.train.reports import HELD_OUT_FILE

CONFIG = TrainConfig(steps=6, batch_size=16, warmup=2, ema=0.9, seed=5)
SIZES = {"in_channels": 3, "height": 8, "width": 8, "hidden": 6, "blocks": 1, "levels": 16}


def model_of(labels=("a", "b", "c"), **sizes):
    sizes = {**SIZES, "n_context": len(labels), **sizes}
    return new_model("pixelcnn", sizes, None, labels, "tiny", seed=1)


def trainer(images, out, config=CONFIG, **sizes):
    return Trainer(model_of(images.labels, **sizes), images, config, out, held_out=images)


def masked_taps(module):
    convs = [m for m in module.modules() if isinstance(m, MaskConv2d)]
    assert convs
    return torch.cat([m.weight[~m.mask].detach().flatten() for m in convs])


def stripes(count=64, seed=0):
    """8x8 images whose rows are all alike and whose columns are a coin's toss."""
    bits = np.random.default_rng(seed).integers(0, 2, (count, 1, 8, 1), dtype=np.uint8)
    x = np.repeat(bits * 255, 8, axis=1)
    return ImageSet(x, np.zeros((count, 0), dtype=np.float32))


@pytest.mark.parametrize("flip", [False, True])
def test_a_batch_is_a_function_of_its_step_and_holds_the_images(tiny_images, flip):
    config = TrainConfig(steps=1, batch_size=40, drop=0.5, flip=flip, seed=2)
    first, second = (LevelBatches(model_of(), tiny_images, config) for _ in range(2))
    in_order = [first(step) for step in range(3)]
    for step in (2, 0, 1):
        for a, b in zip(vars(in_order[step]).values(), vars(second(step)).values(), strict=True):
            assert torch.equal(a, b)
    batch = in_order[1]
    assert batch.levels.dtype == torch.int64
    assert torch.allclose(batch.x, batch.levels / 15)
    known = tiny_images.x.astype(int).transpose(0, 3, 1, 2) * 16 // 256
    both = {k.tobytes(): n for n, k in enumerate(known)}
    mirrored = {k.tobytes(): n for n, k in enumerate(np.ascontiguousarray(known[..., ::-1]))}
    order = [(both | mirrored if flip else both)[k.tobytes()] for k in batch.levels.numpy()]
    assert sorted(order) == list(range(40)), "an epoch shows every image once"
    assert any(k.tobytes() not in both for k in batch.levels.numpy()) == flip
    kept = batch.context.numpy().sum(1) > 0
    np.testing.assert_array_equal(batch.context.numpy()[kept], tiny_images.context[order][kept])
    assert 5 < kept.sum() < 35


def test_the_loss_is_bits_per_dimension(tiny_images, tmp_path):
    run = trainer(tiny_images, tmp_path, TrainConfig(steps=1, batch_size=40, drop=0.0))
    batch = run.batches(0)
    run.module.eval()
    with torch.inference_mode():
        loss = run.objective.loss(run.objective.predict(run.module, batch), batch)
    assert float(loss) == pytest.approx(bits_per_dimension(run.model, tiny_images).mean, rel=1e-5)
    assert float(loss) == pytest.approx(4.0, abs=0.5)  # 16 levels, and it knows nothing yet


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_run_ends_exactly_where_an_unbroken_one_does(tiny_images, tmp_path, precision):
    config = TrainConfig(**{**vars(CONFIG), "precision": precision})
    whole = trainer(tiny_images, tmp_path / "whole", config)
    whole.run(progress=False, sample_every=0)
    broken = trainer(tiny_images, tmp_path / "broken", config)
    for _ in range(3):
        broken.train_step(broken.batches(broken.step))
    broken.save()
    resumed = trainer(tiny_images, tmp_path / "broken", config)
    assert resumed.step == 3
    resumed.run(progress=False, sample_every=0)
    for a, b in ((whole.module, resumed.module), (whole.ema.module, resumed.ema.module)):
        for key, value in a.state_dict().items():
            assert torch.equal(value, b.state_dict()[key]), key
        assert (masked_taps(b) == 0).all()
    with pytest.raises(FastdiffError, match="was trained with sizes="):
        trainer(tiny_images, tmp_path / "whole", config, hidden=9)


def test_a_gated_run_is_resumed(tiny_images, tmp_path):
    images = ImageSet(tiny_images.x[..., :1], tiny_images.context, tiny_images.labels)
    sizes = {"height": 8, "width": 8, "levels": 4, "hidden": 4, "dilations": (1, 2)}
    for step in (0, 1):
        run = Trainer(model := gated(sizes), images, CONFIG, tmp_path)
        assert run.step == step
        run.train_step(run.batches(step))
        run.save()
    assert (masked_taps(model.module) == 0).all()


def gated(sizes):
    labels = ("a", "b", "c")
    return new_model("gated_pixelcnn", {**sizes, "n_context": 3}, None, labels, "tiny", seed=1)


def test_the_average_follows_weights_and_running_statistics(tiny_images, tmp_path):
    run = trainer(tiny_images, tmp_path)
    expected = {k: v.clone() for k, v in run.module.state_dict().items()}
    for step in range(3):
        run.train_step(run.batches(step))
        weight = 1 - min(0.9, (1 + step) / (10 + step))
        for key, value in run.module.state_dict().items():
            if value.is_floating_point():
                expected[key] += weight * (value - expected[key])
            else:
                expected[key] = value.clone()
    assert any("running_var" in key for key in expected)
    for key, value in run.ema.module.state_dict().items():
        assert torch.allclose(value, expected[key], atol=1e-6), key
    for key, value in run.averaged().module.state_dict().items():
        if value.is_floating_point() and "running" not in key:
            assert torch.equal(value, run.ema.module.state_dict()[key]), key
    assert not run.averaged().module.training


def test_the_averaged_model_has_statistics_of_its_own(tiny_images, tmp_path):
    run = trainer(tiny_images, tmp_path)
    for step in range(3):
        run.train_step(run.batches(step))
    kept = {k: v.clone() for k, v in run.ema.module.state_dict().items()}
    module = run.averaged().module
    first = module.first.double().eval()
    larger = LevelBatches(run.model, tiny_images, replace(CONFIG, batch_size=128))
    batches = [first(larger(k).x.double()) for k in range(8)]
    mean = torch.stack([v.mean(dim=(0, 2, 3)) for v in batches]).mean(0)
    var = torch.stack([v.transpose(0, 1).flatten(1).var(dim=1) for v in batches]).mean(0)
    assert torch.allclose(module.norm.running_mean.double(), mean, rtol=1e-4, atol=1e-6)
    assert torch.allclose(module.norm.running_var.double(), var, rtol=1e-4)
    assert {m.momentum for m in module.modules() if hasattr(m, "momentum")} == {0.1}
    for key, value in run.ema.module.state_dict().items():
        assert torch.equal(value, kept[key]), "training goes on as if nobody had asked"
    run.train_step(run.batches(3))
    assert run.averaged().module is not module


@pytest.mark.parametrize("architecture", ["pixelcnn", "gated_pixelcnn"])
def test_training_learns_what_there_is_to_learn(tmp_path, architecture):
    """Stripes: the first row costs a bit a pixel, and every other follows from it."""
    images, others = stripes(), stripes(seed=1)
    own = {"pixelcnn": {"in_channels": 1, "blocks": 2}, "gated_pixelcnn": {"dilations": (1, 1)}}
    sizes = {"height": 8, "width": 8, "levels": 2, "hidden": 16, **own[architecture]}
    model = new_model(architecture, sizes, None, (), "stripes", seed=1)
    before = bits_per_dimension(model_in_eval(model), others).mean
    config = TrainConfig(steps=150, batch_size=32, lr=1e-2, warmup=10, ema=0.9)
    run = Trainer(model, images, config, tmp_path, held_out=others)
    losses = []
    path = run.run(
        progress=False, sample_every=150, judge_every=100, on_step=lambda s, v: losses.append(v)
    )
    assert np.mean(losses[:5]) > 0.5
    assert np.mean(losses[-20:]) < 0.2
    trained = fastdiff.load(path)
    after = bits_per_dimension(trained, others).mean
    assert 1 / 8 - 0.05 < after < 0.25 < before
    rows = list(csv.DictReader((tmp_path / HELD_OUT_FILE).read_text().splitlines()))
    assert [row["step"] for row in rows] == ["100", "150"]
    # The file holds matrices in half precision.
    assert float(rows[-1]["bits_per_dimension"]) == pytest.approx(after, abs=0.01)
    assert (masked_taps(run.module) == 0).all()
    assert (tmp_path / "samples" / "step-000150.png").stat().st_size > 300


def model_in_eval(model):
    model.module.eval()
    return model


def test_classes_are_drawn_into_the_grid(tiny_images, tmp_path):
    run = trainer(tiny_images, tmp_path, levels=2, height=8)
    run.train_step(run.batches(0))
    picture = run.sample_grid()
    assert picture.stat().st_size > 300


def test_held_out_figures_are_forgotten_beyond_the_last_save(tiny_images, tmp_path):
    run = trainer(tiny_images, tmp_path)
    run.save()
    figures = run.judge()
    assert figures["bits_per_dimension"] == pytest.approx(4.0, abs=0.5)
    run.step = 3
    run.judge()
    assert len((tmp_path / HELD_OUT_FILE).read_text().splitlines()) == 3
    trainer(tiny_images, tmp_path)
    assert [v.split(",")[0] for v in (tmp_path / HELD_OUT_FILE).read_text().splitlines()] == [
        "step", "0",
    ]  # fmt: skip
    assert Trainer(run.model, tiny_images, CONFIG, tmp_path).judge() == {}


def test_data_that_does_not_fit_the_model_is_refused(tiny_images, tmp_path):
    narrow = ImageSet(tiny_images.x[:, :, :4], tiny_images.context)
    with pytest.raises(FastdiffError, match=r"expected images \[8, 8, 3\] for this model"):
        Trainer(model_of(), narrow, CONFIG, tmp_path)
    with pytest.raises(FastdiffError, match=r"expected images \[8, 8, 3\] for this model"):
        Trainer(model_of(), tiny_images, CONFIG, tmp_path, held_out=narrow)
    with pytest.raises(FastdiffError, match="expected a context of width 0, got 3"):
        Trainer(model_of(labels=()), tiny_images, CONFIG, tmp_path)


@pytest.mark.parametrize("levels", [2, 7, 16, 256])
def test_levels_and_pixels(levels):
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    found = to_levels(every, levels)
    assert found.shape == (1, 1, 16, 16)
    np.testing.assert_array_equal(found.ravel(), [math.floor(v * levels / 256) for v in range(256)])
    pixels = from_levels(np.arange(levels).reshape(1, 1, 1, levels), levels)
    assert pixels.ravel()[[0, -1]].tolist() == [0, 255]
    np.testing.assert_array_equal(to_levels(pixels, levels).ravel(), np.arange(levels))
