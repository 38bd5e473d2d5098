"""Every schedule and prediction type against diffusers, and against its own algebra."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from diffusers.schedulers import scheduling_ddpm

from fastdiff import FastdiffError, schedules
from fastdiff.samplers import ddim, ddpm
from fastdiff.samplers.prediction import x0_and_eps
from fastdiff.samplers.reference import run
from fastdiff.testing.network import model, relative
from tests.samplers.test_tables import answer

# our kind -> diffusers' beta_schedule, beta_start, beta_end
THEIRS = {
    "linear": ("linear", 1e-4, 0.02),
    "scaled_linear": ("scaled_linear", 0.00085, 0.012),
    "cosine": ("squaredcos_cap_v2", 1e-4, 0.02),
    "sigmoid": ("sigmoid", 1e-4, 0.02),
}
PREDICTIONS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
CASES = [
    (kind, prediction, zero)
    for kind in THEIRS
    for prediction in PREDICTIONS
    for zero in (False, True)
    if not (zero and prediction == "eps")
]


def ours(kind, prediction="eps", zero=False):
    _, start, end = THEIRS[kind]
    return schedules.Schedule(kind, 1000, start, end, "index", prediction, zero)


def betas_of(kind):
    """diffusers' betas in float64: float32 loses six digits of the products at t = 999."""
    name, start, end = THEIRS[kind]
    i = np.arange(1000)
    if name == "squaredcos_cap_v2":
        bar = [np.cos((t / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2 for t in range(1001)]
        return np.array([min(1 - bar[t + 1] / bar[t], 0.999) for t in i])
    if name == "sigmoid":
        return 1 / (1 + np.exp(-(-6 + 12 * i / 999))) * (end - start) + start
    power = 2 if name == "scaled_linear" else 1
    return np.linspace(start ** (1 / power), end ** (1 / power), 1000) ** power


def alphas_cumprod(kind, zero):
    bar = np.cumprod(1 - betas_of(kind))
    if zero:  # Lin et al. 2024, algorithm 1
        root = np.sqrt(bar)
        first, last = root[0], root[-1]
        bar = ((root - last) * first / (first - last)) ** 2
    return bar


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("kind", THEIRS)
def test_schedules_are_diffusers_schedules(kind, zero):
    name, start, end = THEIRS[kind]
    got = ours(kind, "v", zero)
    np.testing.assert_allclose(got.alpha_bar[1:], alphas_cumprod(kind, zero), rtol=1e-9, atol=1e-15)
    theirs = diffusers.DDPMScheduler(
        1000, start, end, name, prediction_type="v_prediction", rescale_betas_zero_snr=zero
    )
    np.testing.assert_allclose(got.alpha_bar[1:], theirs.alphas_cumprod, rtol=2e-4, atol=2e-6)
    np.testing.assert_allclose(got.beta[1:], theirs.betas, rtol=1e-3, atol=1e-5)
    assert (got.alpha_bar[-1] == 0) == zero


def run_theirs(scheduler, kind, zero, steps, **options):
    scheduler.alphas_cumprod = torch.from_numpy(alphas_cumprod(kind, zero))
    scheduler.set_timesteps(steps)
    rng = np.random.default_rng(4)
    x = torch.from_numpy(rng.standard_normal((1, 32)))
    start, zs = x.numpy().copy(), rng.standard_normal((steps, 1, 32))
    zs[-1] = 0  # see test_tables.diffusers_run
    for t, z in zip(scheduler.timesteps, zs, strict=True):
        out = torch.from_numpy(model(x.numpy(), int(t) / 1000))
        x = scheduler.step(out, t, x, **{k: v(z) for k, v in options.items()}).prev_sample
    return start, zs, x.numpy()


@pytest.mark.parametrize("steps", [250, 100, 50, 20, 5])
@pytest.mark.parametrize(("kind", "prediction", "zero"), CASES)
def test_ddim_equals_diffusers(kind, prediction, zero, steps):
    for eta, clip in ((0.0, None), (0.6, None), (0.0, (-1.0, 1.0))):
        scheduler = diffusers.DDIMScheduler(
            1000, clip_sample=clip is not None, set_alpha_to_one=True,
            prediction_type=PREDICTIONS[prediction], timestep_spacing="trailing",
            rescale_betas_zero_snr=zero,
        )  # fmt: skip
        options = {"eta": lambda z, eta=eta: eta}
        if eta:
            options["variance_noise"] = torch.from_numpy
        x, zs, theirs = run_theirs(scheduler, kind, zero, steps, **options)
        table = ddim(ours(kind, prediction, zero), steps, eta=eta, clip=clip)
        assert relative(run(table, x, zs, answer), theirs) < 1e-6


@pytest.mark.parametrize("steps", [1000, 250, 50, 20, 5])
@pytest.mark.parametrize(("kind", "prediction", "zero"), CASES)
def test_ddpm_equals_diffusers(kind, prediction, zero, steps, monkeypatch):
    name, start, end = THEIRS[kind]
    for variance, clip in (("large", None), ("small", None), ("small", (-1.0, 1.0))):
        scheduler = diffusers.DDPMScheduler(
            1000, start, end, name, variance_type=f"fixed_{variance}",
            clip_sample=clip is not None, prediction_type=PREDICTIONS[prediction],
            timestep_spacing="trailing", rescale_betas_zero_snr=zero,
        )  # fmt: skip
        drawn = iter(np.random.default_rng(4).standard_normal((steps + 1, 1, 32))[1:])
        monkeypatch.setattr(
            scheduling_ddpm, "randn_tensor", lambda *a, d=drawn, **k: torch.from_numpy(next(d))
        )
        x, zs, _ = run_theirs(diffusers.DDIMScheduler(1000), kind, zero, steps)
        zs = np.random.default_rng(4).standard_normal((steps + 1, 1, 32))[1:]
        scheduler.alphas_cumprod = torch.from_numpy(alphas_cumprod(kind, zero))
        scheduler.set_timesteps(steps)
        y = torch.from_numpy(x)
        for t in scheduler.timesteps[:-1]:
            y = scheduler.step(torch.from_numpy(model(y.numpy(), int(t) / 1000)), t, y).prev_sample
        # The last row without noise, which diffusers' trailing DDPM would add.
        t = scheduler.timesteps[-1]
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *a, **k: torch.zeros(1, 32))
        y = scheduler.step(torch.from_numpy(model(y.numpy(), int(t) / 1000)), t, y).prev_sample
        table = ddpm(ours(kind, prediction, zero), steps, variance=variance, clip=clip)
        assert relative(run(table, x, zs, answer), y.numpy()) < 1e-6


@pytest.mark.parametrize(("kind", "prediction", "zero"), [*CASES, ("linear", "eps", False)])
def test_the_algebra_of_predictions(kind, prediction, zero):
    schedule = ours(kind, prediction, zero)
    level = np.array([1, 10, 500, 990, 1000])
    rng = np.random.default_rng(0)
    x0, eps = rng.standard_normal((2, 5))
    a, b = np.sqrt(schedule.alpha_bar[level]), np.sqrt(1 - schedule.alpha_bar[level])
    x = a * x0 + b * eps
    m = {"eps": eps, "x0": x0, "v": a * eps - b * x0}[prediction]
    found = [part.from_x * x + part.from_m * m for part in x0_and_eps(schedule, level)]
    np.testing.assert_allclose(found[0], x0, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[1], eps, rtol=1e-6, atol=1e-9)


def test_zero_snr_needs_a_model_that_can_say_something_there():
    with pytest.raises(FastdiffError, match="a model that predicts x0 or v"):
        schedules.Schedule(zero_snr=True)
    with pytest.raises(FastdiffError, match="schedule prediction: expected one of eps, x0, v"):
        schedules.Schedule(prediction="score")
    with pytest.raises(FastdiffError, match="schedule zero_snr: expected True or False"):
        schedules.Schedule(prediction="v", zero_snr=1)
    course = schedules.Schedule("course", 500, prediction="v", zero_snr=True)
    assert course.alpha_bar[500] == 0
    assert course.alpha_bar[1] == pytest.approx(schedules.course().alpha_bar[1], rel=1e-12)
