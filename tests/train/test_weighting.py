"""Weights of levels and learning rates, against their formulas written out in float64."""

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fastdiff import FastdiffError, schedules
from fastdiff.train.config import TrainConfig
from fastdiff.train.denoising import Batches, Denoising
from fastdiff.train.loop import Trainer, new_model
from fastdiff.train.rates import learning_rate
from fastdiff.train.weighting import denoising_loss, level_weights

MIN_SNR = TrainConfig(steps=1, batch_size=20, weighting="min_snr", drop=0.0, seed=3)
PREDICTIONS = ("eps", "x0", "v")


def schedule_of(prediction, zero_snr=False, kind="cosine"):
    return schedules.Schedule(kind, 500, prediction=prediction, zero_snr=zero_snr)


def min_snr(alpha_bar, gamma, prediction):
    """Hang et al. 2023, as they write it; alpha_bar strictly between 0 and 1."""
    snr = alpha_bar / (1 - alpha_bar)
    divided_by = {"eps": snr, "x0": 1.0, "v": snr + 1}[prediction]
    return min(snr, gamma) / divided_by


@pytest.mark.parametrize("gamma", [5.0, 0.7])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_min_snr_is_its_formula(prediction, gamma):
    schedule = schedule_of(prediction)
    config = replace(MIN_SNR, min_snr_gamma=gamma)
    found = level_weights(schedule, config)
    assert found.shape == (501,)
    expected = [min_snr(float(ab), gamma, prediction) for ab in schedule.alpha_bar[1:]]
    np.testing.assert_allclose(found[1:], expected, rtol=1e-10)
    assert min(expected) < 0.5 * max(expected), "some levels are on either side of gamma"


def test_clean_and_signalless_levels_have_the_limits():
    clean = [level_weights(schedule_of(p), MIN_SNR)[0] for p in PREDICTIONS]
    assert clean == [0.0, 5.0, 0.0]  # of 1 / snr, gamma and gamma / snr
    for prediction in ("x0", "v"):
        weights = level_weights(schedule_of(prediction, zero_snr=True), MIN_SNR)
        assert np.isfinite(weights).all()
        assert weights[-1] == 0.0
        assert weights[-2] > 0
    # eps of no signal at all: not a schedule that can be asked for, but its limit is 1.
    spent = schedule_of("v", zero_snr=True)
    object.__setattr__(spent, "prediction", "eps")
    assert level_weights(spent, MIN_SNR)[-1] == 1.0
    assert (level_weights(spent, replace(MIN_SNR, weighting="none")) == 1).all()


@pytest.mark.parametrize("kind", ["l2", "l1"])
@pytest.mark.parametrize("weighting", ["none", "min_snr"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_loss_is_the_mean_of_weighted_errors(tiny_images, prediction, weighting, kind):
    config = replace(MIN_SNR, weighting=weighting, loss=kind)
    schedule = schedule_of(prediction)
    batch = Batches(tiny_images, schedule, config)(4)
    predicted = torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(0))
    level = batch.t.round().long().numpy() + 1
    total = 0.0
    for b, ab in enumerate(schedule.alpha_bar[level]):
        error = predicted[b].double().numpy() - batch.target[b].double().numpy()
        mean = np.abs(error).mean() if kind == "l1" else (error**2).mean()
        total += mean * (min_snr(float(ab), 5.0, prediction) if weighting == "min_snr" else 1.0)
    found = denoising_loss(predicted, batch.target, batch.weight, config)
    assert float(found) == pytest.approx(total / len(level), rel=1e-5)


def test_errors_of_one_image_weigh_alike_whatever_is_predicted(tiny_images):
    """min(snr, gamma) of the error of x0, in all three languages (section 3.4 of the paper)."""
    found = []
    for prediction in PREDICTIONS:
        schedule = schedule_of(prediction)
        batch = Batches(tiny_images, schedule, MIN_SNR)(0)
        ab = torch.from_numpy(schedule.alpha_bar[batch.t.round().long().numpy() + 1])
        ab = ab[:, None, None, None]
        # An x0 that is 0.1 off, as each language says it: of the same x_t.
        off = {"eps": (ab / (1 - ab)).sqrt(), "x0": torch.ones_like(ab), "v": 1 / (1 - ab).sqrt()}
        predicted = batch.target.double() + 0.1 * off[prediction]
        found.append(float(denoising_loss(predicted, batch.target, batch.weight, MIN_SNR)))
    np.testing.assert_allclose(found, found[0], rtol=1e-5)


def test_the_trainer_descends_the_weighted_loss(tiny_images, tmp_path):
    sizes = {"in_channels": 3, "n_feat": 8, "n_cfeat": 3, "height": 8}
    model = new_model("context_unet", sizes, schedules.course(), tiny_images.labels, "t", seed=1)
    config = replace(MIN_SNR, loss="l1")
    run = Trainer(model, tiny_images, config, tmp_path)
    batch = run.batches(0)
    plain = Denoising(model, tiny_images, replace(config, weighting="none"))
    with torch.no_grad():
        predicted = run.objective.predict(run.module, batch)
    expected = float(((predicted - batch.target).abs().mean(dim=(1, 2, 3)) * batch.weight).mean())
    assert run.train_step(batch) == pytest.approx(expected, rel=1e-5)
    assert float(plain.loss(predicted, batch)) > 1.05 * expected


@pytest.mark.parametrize("change", [{"loss": "l1"}, {"weighting": "min_snr"}])
def test_a_model_that_draws_pixel_by_pixel_has_no_such_loss(tiny_images, tmp_path, change):
    sizes = {"in_channels": 3, "height": 8, "width": 8, "hidden": 3, "blocks": 0, "levels": 4,
             "n_context": 3}  # fmt: skip
    model = new_model("pixelcnn", sizes, None, tiny_images.labels, "pixels", seed=1)
    with pytest.raises(FastdiffError, match=f"{next(iter(change))}: expected a model that denois"):
        Trainer(model, tiny_images, TrainConfig(**change), tmp_path)


def test_learning_rates_are_their_formulas():
    for kind in ("cosine", "linear", "constant"):
        config = TrainConfig(steps=100, warmup=10, lr=3.0, lr_schedule=kind)
        for step in range(101):
            p = (step - 10) / 90
            after = {
                "cosine": 1.5 * (1 + math.cos(math.pi * p)), "linear": 3 - 3 * p, "constant": 3.0,
            }  # fmt: skip
            expected = 3 * (step + 1) / 10 if step < 10 else after[kind]
            assert learning_rate(config, step) == pytest.approx(expected, abs=1e-12), (kind, step)
    assert learning_rate(TrainConfig(steps=5, warmup=0, lr_schedule="linear"), 5) == 0.0
    assert learning_rate(TrainConfig(steps=5, warmup=9), 4) < 1e-3, "all of it a warm-up"
