"""Training: batches as a function of the step, exact resume, learning, and wrong input."""

import copy
import csv
import json
import os
import signal

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors import safe_open
from safetensors.torch import load_file, save_file

import fastdiff
from fastdiff import FastdiffError, noise, schedules
from fastdiff.data.dataset import ImageSet
from fastdiff.data.pictures import from_pixels
from fastdiff.metrics.noise_error import noise_error
from fastdiff.train.config import TrainConfig
from fastdiff.train.denoising import Batches
from fastdiff.train.ema import Ema
from fastdiff.train.loop import Trainer, new_model
from fastdiff.train.rates import learning_rate
from fastdiff.train.reports import HELD_OUT_FILE, LOG_FILE
from fastdiff.train.state import FILE

COURSE = schedules.course()
SIZES = {"in_channels": 3, "n_feat": 8, "n_cfeat": 3, "height": 8}
CONFIG = TrainConfig(steps=6, batch_size=16, warmup=2, ema=0.9, flip=True, seed=5)


def trainer(images, out, config=CONFIG):
    model = new_model("context_unet", SIZES, COURSE, images.labels, "tiny", seed=1)
    return Trainer(model, images, config, out)


def weights(run):
    return {k: v.clone() for k, v in run.module.state_dict().items()}


def test_a_batch_is_a_function_of_its_step(tiny_images):
    first, second = (Batches(tiny_images, COURSE, CONFIG) for _ in range(2))
    in_order = [first(step) for step in range(6)]
    for step in (5, 0, 3):
        for a, b in zip(vars(in_order[step]).values(), vars(second(step)).values(), strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(in_order[0].target, in_order[1].target)


def test_a_batch_is_the_forward_process(tiny_images):
    config = TrainConfig(steps=1, batch_size=40, drop=0.0, seed=2)
    batch = Batches(tiny_images, COURSE, config)(0)
    level = (batch.t * 500).round().long().numpy()
    assert level.min() >= 1
    assert level.max() <= 500
    # One level a stratum of T / B.
    np.testing.assert_array_equal((level - 1) * 40 // 500, np.arange(40))
    ab = COURSE.alpha_bar[level][:, None, None, None]
    x0 = (batch.x_t.numpy() - np.sqrt(1 - ab) * batch.target.numpy()) / np.sqrt(ab)
    known = from_pixels(tiny_images.x)
    order = [int(np.abs(known - x).max(axis=(1, 2, 3)).argmin()) for x in x0]
    assert sorted(order) == list(range(40)), "an epoch shows every image once"
    assert np.abs(known[order] - x0).max() < 1e-3
    np.testing.assert_array_equal(batch.context.numpy(), tiny_images.context[order])
    expected = noise.normal(noise.as_seeds(2, 40), 0, noise.STREAM_TRAIN, 192)
    np.testing.assert_array_equal(batch.target.numpy().reshape(40, -1), expected)


@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_the_target_is_what_the_schedule_says(tiny_images, prediction):
    schedule = schedules.Schedule("course", 500, time="fraction", prediction=prediction)
    config = TrainConfig(steps=1, batch_size=40, seed=2)
    eps, told = Batches(tiny_images, COURSE, config)(0), Batches(tiny_images, schedule, config)(0)
    level = (eps.t * 500).round().long().numpy()
    ab = torch.from_numpy(COURSE.alpha_bar[level])[:, None, None, None]
    x0 = (eps.x_t - torch.sqrt(1 - ab) * eps.target) / torch.sqrt(ab)
    v = torch.sqrt(ab) * eps.target - torch.sqrt(1 - ab) * x0
    assert torch.equal(eps.x_t, told.x_t)
    assert ((x0 if prediction == "x0" else v) - told.target).abs().max() < 1e-3


def test_dropping_and_mirroring_happen_at_their_rates(tiny_images):
    config = TrainConfig(steps=1, batch_size=40, drop=0.3, flip=True)
    batches = Batches(tiny_images, COURSE, config)
    dropped = np.concatenate([batches(s).context.sum(1).numpy() == 0 for s in range(50)])
    assert abs(dropped.mean() - 0.3) < 5 * np.sqrt(0.21 / 2000)
    plain = Batches(tiny_images, COURSE, TrainConfig(steps=1, batch_size=40, drop=0.3))
    same = np.concatenate(
        [(batches(s).x_t == plain(s).x_t).flatten(1).all(1).numpy() for s in range(50)]
    )
    assert abs(same.mean() - 0.5) < 5 * np.sqrt(0.25 / 2000)


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
    for part in ("module", "ema"):
        a, b = getattr(whole, part), getattr(resumed, part)
        a, b = (getattr(m, "module", m).state_dict() for m in (a, b))
        for key, value in a.items():
            assert torch.equal(value, b[key]), (part, key)


def test_training_learns(tmp_path):
    """A set of two flat colours, one a class, is learnt in a few steps."""
    x = np.zeros((32, 8, 8, 3), dtype=np.uint8)
    x[::2, ..., 0] = 255
    images = ImageSet(x, np.eye(3, dtype=np.float32)[np.arange(32) % 2], ("red", "black", "none"))
    config = TrainConfig(steps=120, batch_size=32, lr=5e-3, warmup=10, ema=0.95)
    run = trainer(images, tmp_path, config)
    before = noise_error(run.averaged(), images, draws=1)
    losses = []
    path = run.run(
        progress=False, sample_every=120, save_every=100, on_step=lambda s, v: losses.append(v)
    )
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:5])
    model = fastdiff.load(path)
    after = noise_error(model, images, draws=1)
    assert all(b.mean < a.mean for a, b in zip(before, after, strict=True))
    assert (tmp_path / "samples" / "step-000120.png").stat().st_size > 500
    rows = list(csv.DictReader((tmp_path / LOG_FILE).read_text().splitlines()))
    assert [row["step"] for row in rows] == ["100"]
    assert model.labels == ("red", "black", "none")


def test_held_out_images_are_judged_as_it_goes(tiny_images, tmp_path):
    model = new_model("context_unet", SIZES, COURSE, tiny_images.labels, "tiny", seed=1)
    run = Trainer(model, tiny_images, CONFIG, tmp_path, held_out=tiny_images)
    run.run(progress=False, sample_every=0, judge_every=4)
    rows = list(csv.DictReader((tmp_path / HELD_OUT_FILE).read_text().splitlines()))
    assert [row.pop("step") for row in rows] == ["4", "6"]
    errors = noise_error(run.averaged(), tiny_images, draws=1)
    assert rows[-1] == {f"noise_error_{e.fraction:g}": f"{e.mean:.6f}" for e in errors}


def test_the_noise_error_is_its_definition(tiny_model, tiny_images):
    got = noise_error(tiny_model, tiny_images, fractions=(0.2, 1.0), draws=2, seed=9, batch_size=7)
    assert [e.level for e in got] == [100, 500]
    x0 = from_pixels(tiny_images.x)
    for error in got:
        ab = COURSE.alpha_bar[error.level]
        squares = []
        for draw in range(2):
            eps = noise.normal(noise.as_seeds(9, 40), draw, noise.STREAM_TRAIN, 192)
            eps = torch.from_numpy(eps.reshape(x0.shape))
            x = np.sqrt(ab) * torch.from_numpy(x0) + np.sqrt(1 - ab) * eps
            t = torch.full((40,), error.level / 500)
            with torch.inference_mode():
                out = tiny_model(x.float(), t, torch.from_numpy(tiny_images.context))
            squares.append(((eps - out) ** 2).mean(dim=(1, 2, 3)))
        per_image = torch.stack(squares).mean(0).double()
        assert error.mean == pytest.approx(float(per_image.mean()), rel=1e-5)
        assert error.standard_error == pytest.approx(float(per_image.std()) / 40**0.5, rel=1e-4)
        assert error.predict_zero == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_the_noise_error_does_not_depend_on_how_the_model_says_it(tiny_images, prediction):
    """A net that always answers for the same x0 = 0, in every prediction type."""

    class Zero(torch.nn.Module):
        def forward(self, x, t, context):
            ab = torch.tensor(COURSE.alpha_bar)[(t * 500).round().long(), None, None, None]
            say = {"eps": x / torch.sqrt(1 - ab), "x0": 0 * x, "v": x * torch.sqrt(ab / (1 - ab))}
            return say[self.prediction].float()

    found = []
    for kind in ("eps", prediction):
        net = Zero()
        net.prediction = kind
        schedule = schedules.Schedule("course", 500, time="fraction", prediction=kind)
        model = fastdiff.DiffusionModel(net, schedule, (3, 8, 8), 3, ("a", "b", "c"))
        found.append([e.mean for e in noise_error(model, tiny_images, draws=1)])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


def test_ema_is_its_formula():
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    ema = Ema(net, decay=0.5)
    average = copy.deepcopy(net.state_dict())
    for step in range(4):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p))
        net[1].num_batches_tracked += 1
        ema.update(net, step)
        decay = min(0.5, (1 + step) / (10 + step))
        for key, value in net.state_dict().items():
            if value.is_floating_point():
                average[key] = decay * average[key] + (1 - decay) * value
    for key, value in ema.module.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, average[key], atol=1e-6), key
    assert int(ema.module[1].num_batches_tracked) == 4
    assert not ema.module.training


def test_learning_rate_warms_up_and_falls_to_zero():
    config = TrainConfig(steps=100, warmup=10, lr=1.0)
    rates = [learning_rate(config, s) for s in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0)
    assert (np.diff(rates[10:]) <= 0).all()


def test_other_settings_are_refused_on_resume(tiny_images, tmp_path):
    run = trainer(tiny_images, tmp_path)
    run.save()
    other = TrainConfig(**{**vars(CONFIG), "lr": 0.5})
    with pytest.raises(FastdiffError, match=r"was trained with lr=0\.001, now it is 0\.5"):
        trainer(tiny_images, tmp_path, other)
    changed = ImageSet(tiny_images.x[:-1], tiny_images.context[:-1], tiny_images.labels)
    with pytest.raises(FastdiffError, match="was trained with data="):
        trainer(changed, tmp_path)
    longer = TrainConfig(**{**vars(CONFIG), "steps": 9})
    assert trainer(tiny_images, tmp_path, longer).step == 0
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:5000])
    with pytest.raises(FastdiffError, match="not a readable training state"):
        trainer(tiny_images, tmp_path)


def test_a_run_from_before_a_setting_was_there_goes_on(tiny_images, tmp_path):
    """What a saved run does not know had the default, and anything else is refused."""
    trainer(tiny_images, tmp_path).save()
    path = tmp_path / FILE
    with safe_open(path, "pt") as file:
        meta = json.loads(file.metadata()["fastdiff_training"])
    for name in ("lr_schedule", "loss", "weighting", "min_snr_gamma"):
        del meta["config"][name]
    assert sorted(meta["config"]) == sorted(
        ["steps", "batch_size", "lr", "warmup", "ema", "drop", "flip", "clip_norm", "seed",
         "precision"]
    )  # fmt: skip
    assert meta["facts"]["sizes"].pop("pool") is None  # nor a size of the network
    meta["step"] = 3
    save_file(load_file(path), path, {"fastdiff_training": json.dumps(meta)})
    assert trainer(tiny_images, tmp_path).step == 3
    for change, message in (
        ({"lr_schedule": "linear"}, "lr_schedule='cosine', now it is 'linear'"),
        ({"weighting": "min_snr"}, "weighting='none', now it is 'min_snr'"),
        ({"loss": "l1"}, "loss='l2', now it is 'l1'"),
    ):
        with pytest.raises(FastdiffError, match=f"was trained with {message}"):
            trainer(tiny_images, tmp_path, TrainConfig(**{**vars(CONFIG), **change}))
    wider = new_model("context_unet", {**SIZES, "pool": 2}, COURSE, tiny_images.labels, "t", 1)
    with pytest.raises(FastdiffError, match="was trained with sizes="):
        Trainer(wider, tiny_images, CONFIG, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_its_step_and_a_second_one_at_once(
    tiny_images, tmp_path, number
):
    before = signal.getsignal(number)
    run = trainer(tiny_images, tmp_path)
    path = run.run(progress=False, on_step=lambda step, loss: os.kill(os.getpid(), number))
    assert (run.step, path.is_file()) == (1, True)
    assert trainer(tiny_images, tmp_path).step == 1
    assert signal.getsignal(number) is before

    def twice(step, loss):
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        trainer(tiny_images, tmp_path).run(progress=False, on_step=twice)
    assert trainer(tiny_images, tmp_path).step == 1
    assert signal.getsignal(number) is before


def test_a_killed_run_forgets_what_it_logged_after_its_last_save(tiny_images, tmp_path):
    trainer(tiny_images, tmp_path).save()
    (tmp_path / LOG_FILE).write_text("step,loss,lr,seconds_this_run\n0,1,1,1\n100,1,1,1\n")
    trainer(tiny_images, tmp_path)
    assert (tmp_path / LOG_FILE).read_text().splitlines()[1:] == ["0,1,1,1"]


def test_a_loss_that_explodes_ends_the_run_and_keeps_the_last_state(tiny_images, tmp_path):
    run = trainer(tiny_images, tmp_path)
    run.save()
    with torch.no_grad():
        run.module.out[3].bias.fill_(float("nan"))
    with pytest.raises(FastdiffError, match="the loss became nan at step 1"):
        run.run(progress=False)
    assert torch.isfinite(trainer(tiny_images, tmp_path).module.out[3].bias).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"batch_size": 0}, "batch_size: expected at least 1"),
        ({"lr": 0.0}, "lr: expected a positive number"),
        ({"clip_norm": -1.0}, "clip_norm: expected a positive number"),
        ({"ema": 1.0}, "ema: expected 0 <= ema < 1, got 1.0"),
        ({"drop": -0.1}, "drop: expected"),
        ({"warmup": -1}, "warmup: expected 0 or more"),
        ({"seed": -1}, "seed: expected"),
        ({"precision": "int4"}, "precision: expected one of float32, bfloat16"),
        ({"lr_schedule": "step"}, "lr_schedule: expected one of cosine, linear, constant, got 's"),
        ({"loss": "huber"}, "loss: expected one of l2, l1, got 'huber'"),
        ({"weighting": "p2"}, "weighting: expected one of none, min_snr, got 'p2'"),
        ({"min_snr_gamma": 0.0}, "min_snr_gamma: expected a positive number, got 0.0"),
    ],
)
def test_wrong_settings_are_named(change, message):
    with pytest.raises(FastdiffError, match=message):
        TrainConfig(**change)


def test_data_that_does_not_fit_the_model_is_refused(tiny_images, tmp_path):
    narrow = ImageSet(tiny_images.x[:, :, :4], tiny_images.context)
    with pytest.raises(FastdiffError, match=r"expected images \[8, 8, 3\] for this model"):
        trainer(narrow, tmp_path)
    wide = ImageSet(tiny_images.x, np.zeros((40, 5), dtype=np.float32))
    with pytest.raises(FastdiffError, match="expected a context of width 3, got 5"):
        trainer(wide, tmp_path)
    with pytest.raises(FastdiffError, match="images: expected at least one"):
        noise_error(trainer(tiny_images, tmp_path).averaged(), wide)
