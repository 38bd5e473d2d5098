"""Tables against straight transcriptions: the course's loop, and diffusers' own steps."""

import numpy as np
import pytest

from fastdiff import FastdiffError, schedules
from fastdiff.samplers import SamplerTable, build_table, ddim, ddpm
from fastdiff.samplers.reference import run
from fastdiff.samplers.table import INDEX, WIDTH
from fastdiff.testing.network import model, relative

COURSE = schedules.course()


def course_arrays():
    """The course's own lines, in float64."""
    timesteps, beta1, beta2 = 500, 1e-4, 0.02
    b_t = (beta2 - beta1) * np.linspace(0, 1, timesteps + 1) + beta1
    a_t = 1 - b_t
    ab_t = np.exp(np.cumsum(np.log(a_t)))
    ab_t[0] = 1
    return b_t, a_t, ab_t


def course_ddpm_step(x, i, pred_noise, z):
    b_t, a_t, ab_t = course_arrays()
    noise = np.sqrt(b_t[i]) * z
    mean = (x - pred_noise * ((1 - a_t[i]) / np.sqrt(1 - ab_t[i]))) / np.sqrt(a_t[i])
    return mean + noise


def course_ddim_step(x, t, t_prev, pred_noise):
    _, _, ab_t = course_arrays()
    ab, ab_prev = ab_t[t], ab_t[t_prev]
    x0_pred = np.sqrt(ab_prev) / np.sqrt(ab) * (x - np.sqrt(1 - ab) * pred_noise)
    dir_xt = np.sqrt(1 - ab_prev) * pred_noise
    return x0_pred + dir_xt


def apply_row(table, k, x, m, z):
    """Row k alone, for tables without history."""
    row = SamplerTable(np.vstack([table.rows[k]]), "row")
    return run(row, x, [z], lambda seen, t: m)


def test_course_schedule_carries_its_extra_factor():
    b_t, a_t, ab_t = course_arrays()
    np.testing.assert_allclose(COURSE.beta, b_t, rtol=1e-15)
    np.testing.assert_allclose(COURSE.alpha, a_t, rtol=1e-15)
    np.testing.assert_allclose(COURSE.alpha_bar, ab_t, rtol=1e-14)
    assert COURSE.alpha_bar[1] == pytest.approx(a_t[0] * a_t[1], rel=1e-14)
    assert COURSE.t[0] == 0
    assert COURSE.t[500] == 1


@pytest.mark.parametrize("noise", [True, False])
def test_ddpm_500_is_the_course_loop(noise):
    rng = np.random.default_rng(0)
    table = ddpm(COURSE, 500, noise=noise)
    x = y = rng.standard_normal(64)
    for k, i in enumerate(range(500, 0, -1)):
        z = rng.standard_normal(64)
        m = model(x, i / 500)
        assert table["t"][k] == i / 500
        step = course_ddpm_step(x, i, m, z if i > 1 and noise else 0)
        assert relative(apply_row(table, k, x, m, z), step) < 1e-12
        y = apply_row(table, k, y, model(y, table["t"][k]), z)
        x = step
    assert relative(y, x) < 1e-12
    assert len(table) == 500


@pytest.mark.parametrize("steps", [10, 25, 50])
def test_ddim_is_the_course_fast_sampling(steps):
    x = y = np.random.default_rng(1).standard_normal(64)
    table = ddim(COURSE, steps)
    for k, i in enumerate(range(500, 0, -(500 // steps))):
        step = course_ddim_step(x, i, i - 500 // steps, model(x, i / 500))
        y = apply_row(table, k, y, model(y, table["t"][k]), 0.0)
        x = step
    assert len(table) == steps
    assert not table.uses_noise
    assert relative(y, x) < 1e-12


STANDARD = schedules.linear(1000)
# diffusers keeps its products in float32, an error of 1e-4 at t = 999. Both sides get these.
ALPHAS_CUMPROD = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))


def test_the_standard_schedule_is_diffusers_linear_one():
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")

    np.testing.assert_allclose(STANDARD.alpha_bar[1:], ALPHAS_CUMPROD, rtol=1e-12)
    theirs = diffusers.DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    assert theirs.alphas_cumprod.dtype == torch.float32
    np.testing.assert_allclose(STANDARD.alpha_bar[1:], theirs.alphas_cumprod, rtol=1e-4)
    np.testing.assert_array_equal(STANDARD.t[1:], np.arange(1000))


def spaced(*counts):
    """Cases in which diffusers' previous timestep, t - T // steps, stays on its own spacing."""
    every = [(steps, spacing) for steps in counts for spacing in ("trailing", "leading")]
    return [(s, spacing) for s, spacing in every if spacing == "leading" or 1000 % s == 0]


def diffusers_run(scheduler, steps, monkeypatch, module):
    """diffusers' own loop, its noise replaced by ours in order; float64 throughout."""
    import torch

    scheduler.set_timesteps(steps)
    rng = np.random.default_rng(2)
    zs = list(rng.standard_normal((steps, 1, 32)))
    # diffusers draws noise wherever t > 0, and with trailing spacing the last t is above 0: it
    # would hand out a noisy image. Our last row never adds noise, so its z is 0 there.
    zs[-1] *= 0
    x = torch.from_numpy(rng.standard_normal((1, 32)))
    used = iter(zs)
    monkeypatch.setattr(module, "randn_tensor", lambda *a, **k: torch.from_numpy(next(used)))
    start = x.numpy().copy()
    for t in scheduler.timesteps:
        out = torch.from_numpy(model(x.numpy(), int(t) / 1000))
        x = scheduler.step(out, t, x).prev_sample
    return start, zs, x.numpy()


def answer(x, t):
    return model(x, t / 1000)


@pytest.mark.parametrize("clip", [None, (-1.0, 1.0)])
@pytest.mark.parametrize("variance", ["large", "small"])
@pytest.mark.parametrize(("steps", "spacing"), spaced(1000, 250, 50, 7))
def test_ddpm_equals_diffusers(steps, spacing, variance, clip, monkeypatch):
    pytest.importorskip("diffusers")
    import torch
    from diffusers import DDPMScheduler
    from diffusers.schedulers import scheduling_ddpm

    scheduler = DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="linear",
        variance_type=f"fixed_{variance}",
        clip_sample=clip is not None,
        timestep_spacing=spacing,
    )
    scheduler.alphas_cumprod = torch.from_numpy(ALPHAS_CUMPROD)
    start, zs, theirs = diffusers_run(scheduler, steps, monkeypatch, scheduling_ddpm)
    table = ddpm(STANDARD, steps, variance=variance, clip=clip, spacing=spacing)
    np.testing.assert_array_equal(table["t"], scheduler.timesteps)
    assert relative(run(table, start, zs, answer), theirs) < 1e-6


@pytest.mark.parametrize("clip", [None, (-1.0, 1.0)])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(("steps", "spacing"), spaced(1000, 250, 50, 10, 7))
def test_ddim_equals_diffusers(steps, spacing, eta, clip, monkeypatch):
    pytest.importorskip("diffusers")
    import torch
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="linear",
        clip_sample=clip is not None,
        set_alpha_to_one=True,
        timestep_spacing=spacing,
    )
    scheduler.alphas_cumprod = torch.from_numpy(ALPHAS_CUMPROD)
    scheduler.set_timesteps(steps)
    rng = np.random.default_rng(3)
    start = rng.standard_normal((1, 32))
    zs = rng.standard_normal((steps, 1, 32))
    x = torch.from_numpy(start)
    for t, z in zip(scheduler.timesteps, zs, strict=True):
        out = torch.from_numpy(model(x.numpy(), int(t) / 1000))
        noise = torch.from_numpy(z) if eta else None
        x = scheduler.step(out, t, x, eta=eta, variance_noise=noise).prev_sample
    table = ddim(STANDARD, steps, eta=eta, clip=clip, spacing=spacing)
    np.testing.assert_array_equal(table["t"], scheduler.timesteps)
    assert relative(run(table, start, zs, answer), x.numpy()) < 1e-6


def test_steps_that_do_not_divide_T_end_at_the_clean_image():
    for steps in (1, 3, 7, 333, 499):
        table = ddim(COURSE, steps)
        assert len(table) == steps
        assert (np.diff(table["t"]) < 0).all()
        assert table["t"][0] == 1.0
        # A model that knows the truth is answered with it, whatever the spacing.
        x0, eps, x = 0.3, -1.2, None
        level = np.round(table["t"] * 500).astype(int)
        x = np.sqrt(COURSE.alpha_bar[500]) * x0 + np.sqrt(1 - COURSE.alpha_bar[500]) * eps
        for k in range(steps):
            ab = COURSE.alpha_bar[level[k]]
            assert x == pytest.approx(np.sqrt(ab) * x0 + np.sqrt(1 - ab) * eps, abs=1e-12)
            x = apply_row(table, k, x, eps, 0.0)
        assert x == pytest.approx(x0, abs=1e-12)


def test_every_row_carries_the_formula_of_x0():
    for table in (ddpm(COURSE), ddim(COURSE, 25), ddim(COURSE, 25, clip=(-1, 1))):
        level = np.round(table["t"] * 500).astype(int)
        x0, eps = 0.4, 0.9
        ab = COURSE.alpha_bar[level]
        x = np.sqrt(ab) * x0 + np.sqrt(1 - ab) * eps
        np.testing.assert_allclose(
            table["x0_from_x"] * x + table["x0_from_m"] * eps, x0, rtol=1e-12
        )


def test_tables_are_values():
    a, b = ddim(COURSE, 25), ddim(schedules.course(), 25)
    assert a is not b
    assert a == b
    assert hash(a) == hash(b)
    assert len({a, b, ddim(COURSE, 24), ddim(COURSE, 25, eta=0.1)}) == 3
    with pytest.raises(ValueError, match="read-only"):
        a.rows[0, 0] = 1
    with pytest.raises(AttributeError, match="immutable"):
        a.name = "other"
    import copy
    import pickle

    assert pickle.loads(pickle.dumps(a)) == a == copy.deepcopy(a)


def test_text_shows_the_columns_that_say_something():
    text = str(ddim(COURSE, 10))
    lines = text.splitlines()
    assert lines[0].startswith("ddim:10: 10 rows")
    assert len(lines) == 12
    assert "x0_hi" not in text
    assert "x0_hi" in str(ddim(COURSE, 10, clip=(-1, 1)))
    assert float(lines[2].split()[1]) == 1.0


def rows(**columns):
    out = np.zeros((3, WIDTH))
    for name, value in columns.items():
        out[:, INDEX[name.replace("_of_", "[") + ("]" if "_of_" in name else "")]] = value
    return out


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((0, WIDTH)), "expected \\[K >= 1, 19\\], got \\[0, 19\\]"),
        (np.zeros((2, 3)), "got \\[2, 3\\]"),
        (rows(noise=np.nan), "finite weights"),
        (rows(x0_lo=1.0, x0_hi=-1.0), "x0_lo <= x0_hi"),
        (rows(m_of_1=0.5), "uses m\\[1\\] before 1 rows"),
        (rows(x_of_2=0.5), "uses x\\[2\\] before 2 rows"),
    ],
)
def test_impossible_tables_are_refused(bad, message):
    with pytest.raises(FastdiffError, match=message):
        SamplerTable(bad, "bad")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: build_table("ddimm", COURSE),
            "sampler: expected one of ddpm, ddim, .*, got 'ddimm'",
        ),
        (lambda: build_table("ddim", COURSE, 0), "steps: expected an integer from 1 to 500, got 0"),
        (lambda: build_table("ddim", COURSE, 501), "from 1 to 500, got 501"),
        (lambda: build_table("ddim", COURSE, 2.5), "got 2.5"),
        (lambda: build_table("ddim", COURSE, True), "got True"),
        (lambda: build_table("ddim", COURSE, 5, noise=False), "'ddim' takes eta, clip, spacing"),
        (lambda: ddim(COURSE, 5, eta=-1), "eta: expected a number from 0 to 1, got -1"),
        (lambda: ddim(COURSE, 5, clip=(1, -1)), "clip: expected lo < hi"),
        (lambda: ddim(COURSE, 5, clip=3), "clip: expected a pair"),
        (lambda: ddim(COURSE, 5, spacing="odd"), "spacing: expected one of trailing, leading"),
        (lambda: ddpm(COURSE, variance="huge"), "variance: expected one of large, small"),
        (lambda: build_table(ddim(COURSE, 5), COURSE, 3), "takes neither steps nor options"),
        (lambda: schedules.Schedule(kind="wavy"), "schedule kind: expected one of"),
        (lambda: schedules.Schedule(T=0), "schedule T: expected 1 to 100000 levels, got 0"),
        (lambda: schedules.Schedule(T=10**9), "got 1000000000"),
        (lambda: schedules.Schedule(beta_end=1.5), "beta_end: expected a number in \\(0, 1\\)"),
        (lambda: schedules.Schedule(time="days"), "schedule time: expected"),
        (lambda: schedules.Schedule.from_dict({"kind": "linear", "colour": 1}), "colour"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(FastdiffError, match=message):
        call()
