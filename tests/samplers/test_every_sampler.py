"""What holds for every sampler: it ends at what the model says, at any step count and schedule."""

import numpy as np
import pytest

from fastdiff import FastdiffError, schedules
from fastdiff.samplers import SAMPLERS, build_table, ddim
from fastdiff.samplers.dpmpp import multistep
from fastdiff.samplers.options import begin
from fastdiff.samplers.reference import run

LEVELS_ALONE = ("plms", "lcm", "tcd")


@pytest.mark.parametrize("prediction", schedules.PREDICTIONS)
def test_dpmpp_of_order_one_is_ddim(prediction):
    schedule = schedules.Schedule("linear", prediction=prediction)
    rows = begin(schedule, 30, 30, None, 1.0, None)
    table = multistep(rows, order=1).table("dpmpp_1")
    np.testing.assert_allclose(table.rows, ddim(schedule, 30).rows, rtol=1e-10, atol=1e-12)


def test_three_names_of_the_same_tables():
    schedule = schedules.Schedule("cosine")
    for one, other in (
        (("euler", {}), ("ddim", {})),
        (("euler_ancestral", {}), ("ddim", {"eta": 1.0})),
        (("euler_ancestral", {}), ("ddpm", {"variance": "small"})),
        (("heun", {}), ("edm", {"churn": 0.0, "spacing": "trailing"})),
        (("kdpm2", {}), ("kdpm2_ancestral", {"eta": 0.0})),
    ):
        a, b = (build_table(name, schedule, 25, **options) for name, options in (one, other))
        np.testing.assert_allclose(a.rows, b.rows, rtol=1e-9, atol=1e-10)


SCHEDULES = {
    "course": schedules.course(),
    "cosine": schedules.Schedule("cosine", 100, prediction="x0"),
    "no signal": schedules.Schedule("linear", 100, prediction="v", zero_snr=True),
    "course without signal": schedules.Schedule("course", 100, prediction="v", zero_snr=True),
    "edm": schedules.EDMSchedule(),
}


def knowing(x0, schedule, table):
    """A model that knows the image, asked row by row."""
    rows = iter(zip(table["in_scale"], table["alpha"], table["sigma"], strict=True))

    def answer(seen, t):
        scale, alpha, sigma = next(rows)
        x = seen / scale
        eps = (x - alpha * x0) / sigma
        if isinstance(schedule, schedules.EDMSchedule):
            data = schedule.sigma_data
            both = sigma**2 + data**2
            return (x0 - data**2 / both * x) * np.sqrt(both) / (sigma * data)
        return {"eps": eps, "x0": x0, "v": alpha * eps - sigma * x0}[schedule.prediction]

    return answer


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", [n for n in SAMPLERS if n != "ddim_inverse"])
def test_a_model_that_knows_the_image_is_answered_with_it(name, schedule):
    made = SCHEDULES[schedule]
    if name in LEVELS_ALONE and schedule == "edm":
        with pytest.raises(FastdiffError, match=f"{name!r} is defined over a schedule's levels"):
            build_table(name, made)
        return
    x0 = np.array([0.3, -0.9, 0.0])
    # PLMS extrapolates v as it stands (diffusers' does too), and v changes from level to level
    # even where the image is known: it gets there with steps.
    coarse = name == "plms" and "signal" in schedule
    tolerance = {"lcm": 1e-3}.get(name, 0.02 if coarse else 1e-7)  # LCM keeps a trace of x itself
    for steps in (15, 22, 50) if coarse else (1, 2, 3, 4, 5, 8, 15, 22, 50):
        table = build_table(name, made, steps)
        assert len(table) == steps
        zs = np.random.default_rng(steps).standard_normal((steps, 3))
        got = run(table, table.init_scale * zs[0], zs, knowing(x0, made, table))
        np.testing.assert_allclose(got, x0, atol=tolerance)


@pytest.mark.parametrize("name", [n for n in SAMPLERS if n != "ddim_inverse"])
def test_clip_bounds_what_every_row_uses_of_x0(name):
    """A model that sees 3 everywhere is answered with the bound, through any history."""
    made = schedules.Schedule("linear", 100)
    for steps in (3, 8):
        table = build_table(name, made, steps, clip=(-1.0, 0.75))
        zs = np.zeros((steps, 3))
        answer = knowing(np.full(3, 3.0), made, table)
        got = run(table, np.array([0.5, -1.0, 0.1]), zs, answer)
        # DDIM and DDPM clamp x0 alone and take eps as it came; the last row is x0 in both.
        np.testing.assert_allclose(got, 0.75, atol=1e-3 if name == "lcm" else 1e-9)


@pytest.mark.parametrize("name", SAMPLERS)
def test_strength_walks_the_last_part_of_the_same_path(name):
    made = schedules.Schedule("linear", 1000)
    whole = build_table(name, made, 9)
    part = build_table(name, made, 9, strength=0.5)
    assert 0 < len(part) < len(whole)
    if name == "ddim_inverse":
        assert (part["t"][0], len(part)) == (whole["t"][0], 4)
        return
    same = 3 if name == "plms" else len(part)  # it asks twice at its second level
    for column in ("t", "alpha", "sigma"):
        np.testing.assert_allclose(part[column][-same:], whole[column][-same:], atol=1e-9)
