"""DPM-Solver++ against diffusers' own steps, its order of convergence, and DDIM."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from diffusers.schedulers import scheduling_dpmsolver_multistep

from fastdiff import schedules
from fastdiff.samplers import build_table, ddim
from fastdiff.samplers.dpmpp import multistep
from fastdiff.samplers.options import begin
from fastdiff.samplers.table import COLUMNS
from tests.samplers.test_predictions import PREDICTIONS, THEIRS, alphas_cumprod, ours
from tests.samplers.test_tables import model, relative

# diffusers hands tensors to np.array, which NumPy 2 would rather not.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class Torch64:
    """torch, but for float32: ``step`` casts its sample to it, which would hide six digits."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


SAMPLERS = {
    "dpmpp_2m": (2, "dpmsolver++"),
    "dpmpp_3m": (3, "dpmsolver++"),
    "dpmpp_2m_sde": (2, "sde-dpmsolver++"),
}


def run(table, x, zs, answer):
    """The contract's sentence about a row, with history."""
    xs, ms = [], []
    for k in range(len(table)):
        row = dict(zip(COLUMNS, table.rows[k], strict=True))
        xs.insert(0, x)
        ms.insert(0, answer(row["in_scale"] * x, row["t"]))
        x = sum(row[f"x[{j}]"] * v for j, v in enumerate(xs[:3]))
        x = x + sum(row[f"m[{j}]"] * v for j, v in enumerate(ms[:4])) + row["noise"] * zs[k]
    return x


@pytest.mark.parametrize("steps", [250, 100, 50, 20, 10, 5, 2, 1])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("kind", ["linear", "scaled_linear", "cosine"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_equals_diffusers(name, kind, prediction, steps, monkeypatch):
    monkeypatch.setattr(scheduling_dpmsolver_multistep, "torch", Torch64())
    order, algorithm = SAMPLERS[name]
    theirs_name, start, end = THEIRS[kind]
    scheduler = diffusers.DPMSolverMultistepScheduler(
        1000, start, end, theirs_name, solver_order=order, algorithm_type=algorithm,
        prediction_type=PREDICTIONS[prediction], timestep_spacing="trailing",
        final_sigmas_type="zero",
    )  # fmt: skip
    # Both sides in float64: set_timesteps makes its sigmas from these, and keeps them in float32.
    bar = alphas_cumprod(kind, False)
    scheduler.alphas_cumprod = torch.from_numpy(bar)
    scheduler.set_timesteps(steps)
    visited = scheduler.timesteps.numpy()
    sigmas = np.sqrt((1 - bar[visited]) / bar[visited])
    scheduler.sigmas = torch.from_numpy(np.concatenate([sigmas, [0.0]]))
    rng = np.random.default_rng(5)
    x0, zs = rng.standard_normal((1, 32)), rng.standard_normal((steps, 1, 32))
    x = torch.from_numpy(x0)
    for t, z in zip(scheduler.timesteps, zs, strict=True):
        out = torch.from_numpy(model(x.numpy(), int(t) / 1000))
        noise = torch.from_numpy(z) if "sde" in algorithm else None
        x = scheduler.step(out, t, x, variance_noise=noise).prev_sample
    table = build_table(name, ours(kind, prediction), steps)
    np.testing.assert_array_equal(table["t"], visited)
    got = run(table, x0, zs, lambda x, t: model(x, t / 1000))
    assert relative(got, x.numpy()) < 1e-6


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_order_one_is_ddim(prediction):
    schedule = schedules.Schedule("linear", prediction=prediction)
    rows = begin(schedule, 30, 30, None, 1.0, None)
    table = multistep(rows, order=1).table("dpmpp_1")
    np.testing.assert_allclose(table.rows, ddim(schedule, 30).rows, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["linear", "course"])
def test_zero_snr_and_every_step_count_give_finite_tables_that_end_at_x0(kind):
    schedule = schedules.Schedule(kind, 100, prediction="v", zero_snr=True)
    for name in SAMPLERS:
        for steps in range(1, 101, 7):
            table = build_table(name, schedule, steps)
            level = 100 - np.round(np.arange(steps) * (100 / steps)).astype(int)
            ab = schedule.alpha_bar[level]
            # A model that knows the truth, x0 = 0.3, is answered with it at the end.
            answers = iter(zip(np.sqrt(ab), np.sqrt(1 - ab), strict=True))

            def truth(x, t, answers=answers):
                a, b = next(answers)
                return a * (x - a * 0.3) / b - b * 0.3

            assert run(table, -1.2, np.zeros(steps), truth) == pytest.approx(0.3, abs=1e-9)


def gaussian_answer(x, alpha_bar):
    """eps of data drawn from N(0.5, 0.2^2): the score is exact."""
    variance = alpha_bar * 0.2**2 + 1 - alpha_bar
    return np.sqrt(1 - alpha_bar) * (x - np.sqrt(alpha_bar) * 0.5) / variance


def test_a_higher_order_is_nearer_to_the_odes_solution():
    """On data whose score is exact, the solution of the ODE is known in closed form."""
    schedule = schedules.Schedule("cosine", 100_000, prediction="eps")
    errors = {}
    for name in ("ddim", "dpmpp_2m", "dpmpp_3m"):
        for steps in (40, 80, 160):
            table = build_table(name, schedule, steps)
            bar = dict(
                zip(table["t"], schedule.alpha_bar[(table["t"] + 1).astype(int)], strict=True)
            )
            x = np.array([-1.5, -0.3, 0.8])
            top = bar[table["t"][0]]
            exact = 0.5 + 0.2 * (x - np.sqrt(top) * 0.5) / np.sqrt(top * 0.2**2 + 1 - top)
            got = run(table, x, np.zeros(steps), lambda x, t, bar=bar: gaussian_answer(x, bar[t]))
            errors[name, steps] = np.abs(got - exact).max()
    for name in ("ddim", "dpmpp_2m", "dpmpp_3m"):
        assert errors[name, 40] > errors[name, 80] > errors[name, 160]
    assert errors["dpmpp_2m", 160] < 0.1 * errors["ddim", 160]
    # With levels even in t the last gaps in lambda are wide, and order 3 gains little there.
    assert errors["dpmpp_3m", 160] < 0.3 * errors["ddim", 160]
