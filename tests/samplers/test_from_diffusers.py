"""from_diffusers: every scheduler of diffusers, compiled and proven or refused with the reason."""

import copy
import functools
import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from fastdiff import FastdiffError, schedules
from fastdiff.samplers import SamplerTable, diffusers_config, from_diffusers
from fastdiff.samplers.foreign.from_diffusers import TOLERANCE, compiled
from tests.samplers import diffusers_verdicts as verdicts
from tests.samplers import foreign

pytestmark = [
    # diffusers hands tensors to np.array, which NumPy 2 would rather not, and has old classes.
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
CASES = [
    pytest.param(name, config, options, id=f"{name}-{k}")
    for name, cases in verdicts.COMPILES.items()
    for k, (config, options) in enumerate(cases)
]


@functools.cache
def first_table(name, steps=12):
    config, options = verdicts.COMPILES[name][0]
    return from_diffusers(
        verdicts.make(name, config), verdicts.steps_of(name, [steps])[0], **options
    )


def test_every_class_that_diffusers_exports_has_its_verdict():
    assert not set(verdicts.COMPILES) & set(verdicts.REFUSED)
    listed = {*verdicts.COMPILES, *verdicts.REFUSED}
    assert listed == set(verdicts.exported()), "list it in diffusers_verdicts.py, write the page"
    assert len(verdicts.COMPILES) >= 20


@pytest.mark.parametrize(("name", "config", "options"), CASES)
def test_compiles_and_is_proven(name, config, options):
    for steps in verdicts.steps_of(name, [1, 2, 3, 10, 25]):
        scheduler = verdicts.make(name, config)
        done = compiled(scheduler, steps, **options)
        assert isinstance(done.table, SamplerTable)
        assert done.proof.difference < TOLERANCE
        assert done.residual < 1e-12
        assert (done.proof.saturated > 0.5) == done.table.clamps
        scheduler.set_timesteps(steps)
        assert len(done.table) == len(scheduler.timesteps) - (
            name in ("SCMScheduler", "DDPMWuerstchenScheduler")
        )


MOST = {
    "CMStochasticIterativeScheduler": 40,
    "DPMSolverMultistepInverseScheduler": 300,
    "LCMScheduler": 50,
    "TCDScheduler": 50,
}
TRAILING = (
    *("DEISMultistepScheduler", "DPMSolverMultistepScheduler", "SASolverScheduler"),
    "UniPCMultistepScheduler",
)


@pytest.mark.long
@pytest.mark.parametrize("name", verdicts.COMPILES)
def test_compiles_with_many_steps(name):
    # Of 1000 timesteps "linspace" takes some twice, and diffusers then divides by zero.
    extra = {"timestep_spacing": "trailing"} if name in TRAILING else {}
    most = MOST.get(name, 1000)
    for steps in verdicts.steps_of(name, [most]):
        for config, options in verdicts.COMPILES[name]:
            if not any(key.startswith("use_") for key in config):
                done = compiled(verdicts.make(name, {**extra, **config}), steps, **options)
                assert done.proof.difference < TOLERANCE


@pytest.mark.parametrize("name", verdicts.REFUSED)
def test_is_refused_with_the_reason(name):
    config, _, message = verdicts.REFUSED[name]
    with pytest.raises(FastdiffError, match=f"scheduler: {name} cannot be compiled: .*{message}"):
        from_diffusers(verdicts.make(name, config), 4)


@pytest.mark.parametrize(("name", "config", "message"), verdicts.REFUSED_SETTINGS)
def test_settings_are_refused_with_the_reason(name, config, message):
    with pytest.raises(FastdiffError, match=message):
        from_diffusers(verdicts.make(name, config), 20)


def test_the_page_says_what_is_so():
    page = verdicts.PAGE.read_text()
    again = "run `python -m tests.samplers.diffusers_verdicts`"
    shown, true = verdicts.table_cells("compiled", page), list(verdicts.compiled_rows())
    assert [row[:-1] for row in shown] == [row[:-1] for row in true], again
    for theirs, ours in zip(shown, true, strict=True):
        assert verdicts.same_figure(theirs[-1], ours[-1]), (theirs, ours, again)
    assert verdicts.table_cells("refused", page) == list(verdicts.refused_rows()), again


# --- levels and x0 -------------------------------------------------------------------------------

# Whose x0 is not the x0 of a model that is right (consistency models, EDM's other sign, ...) or
# whose add_noise speaks of another level than its step: see each.
KNOWN_X0 = sorted(
    name
    for name in verdicts.COMPILES
    if name
    not in (
        "ConsistencyDecoderScheduler", "DDPMWuerstchenScheduler", "HeliosScheduler",
        "IPNDMScheduler", "LTXEulerAncestralRFScheduler", "SCMScheduler",  # they do not say
        "CMStochasticIterativeScheduler",  # takes sigma_min for no noise at all
    )
)  # fmt: skip


@pytest.mark.parametrize("name", KNOWN_X0)
def test_levels_and_x0_are_those_of_the_rows(name):
    """A model that knows the image is followed from level to level: x_k stays alpha_k * image.

    And along the noise, sigma_k * eps, where none is added.
    """
    table = first_table(name)
    alpha, sigma, of_x, of_m = (table[c] for c in ("alpha", "sigma", "x0_from_x", "x0_from_m"))
    for image, eps in ((0.3, 0.0), (0.0, 0.7)):
        if eps and table.uses_noise:
            continue
        xs = alpha * image + sigma * eps
        told = np.where(of_m == 0, eps, (image - of_x * xs) / np.where(of_m == 0, 1.0, of_m))
        for k in range(len(table) - 1):
            got = sum(table[f"x[{j}]"][k] * xs[k - j] for j in range(4) if k >= j)
            got += sum(table[f"m[{j}]"][k] * told[k - j] for j in range(4) if k >= j)
            got += table["x0"][k] * image
            assert got == pytest.approx(xs[k + 1], rel=1e-4, abs=1e-5), (k, image)


def test_the_middle_of_a_step_has_a_level_of_its_own():
    table = first_table("KDPM2DiscreteScheduler")
    sigma = table["sigma"]
    assert (np.diff(sigma) < 0).all()  # what add_noise says of these rows repeats itself
    np.testing.assert_allclose(table["in_scale"], 1 / np.sqrt(sigma**2 + 1), rtol=1e-6)
    np.testing.assert_allclose(sigma[1], np.sqrt(sigma[0] * sigma[2]), rtol=1e-4)
    heun = first_table("HeunDiscreteScheduler")
    np.testing.assert_array_equal(heun["sigma"][1:-1:2], heun["sigma"][2::2])
    assert (heun["alpha"] == 1).all()


def test_known_rows():
    """A few rows written out by hand."""
    table = from_diffusers(diffusers.DDIMScheduler(clip_sample=False), 10)
    bar = diffusers.DDIMScheduler().alphas_cumprod.double().numpy()
    t = table["t"].astype(int)
    np.testing.assert_array_equal(t, np.arange(900, -1, -100))
    before = np.append(bar[t[1:]], 1.0)
    np.testing.assert_allclose(table["x[0]"], np.sqrt(before / bar[t]), rtol=1e-6)
    np.testing.assert_allclose(table["alpha"], np.sqrt(bar[t]), rtol=1e-6)
    np.testing.assert_allclose(table["sigma"], np.sqrt(1 - bar[t]), rtol=1e-6)
    assert not table.clamps
    clamped = from_diffusers(diffusers.DDIMScheduler(clip_sample_range=1.5), 10)
    np.testing.assert_allclose(clamped["x0"], np.sqrt(before), rtol=1e-6)
    np.testing.assert_allclose(clamped["m[0]"][:-1], np.sqrt(1 - before[:-1]), rtol=1e-5)
    assert (clamped["x[0]"] == 0).all()
    assert set(clamped["x0_hi"]) == {1.5}
    assert set(clamped["x0_lo"]) == {-1.5}
    heun = from_diffusers(diffusers.HeunDiscreteScheduler(clip_sample=True), 10)
    assert (heun["clamp_m"] == 1).all()
    assert not heun["x0"].any()


def test_inverse_schedulers_lead_to_noise():
    inverse = ("DDIMInverseScheduler", "DPMSolverMultistepInverseScheduler")
    for name in verdicts.COMPILES:
        assert first_table(name).to_noise == (name in inverse), name
    for name in inverse:
        table = first_table(name)
        assert (np.diff(table["sigma"] / table["alpha"]) > 0).all()
        assert from_diffusers(verdicts.make(name, {}), 1).to_noise


def test_sigma_space_starts_at_its_own_scale():
    scheduler = diffusers.EulerDiscreteScheduler()
    table = from_diffusers(scheduler, 10)
    scheduler.set_timesteps(10)
    assert table.init_scale == pytest.approx(float(scheduler.init_noise_sigma))
    late = from_diffusers(scheduler, 10, begin=4)
    assert late.init_scale == pytest.approx(float(scheduler.sigmas[4]))


# --- begin, steps, schedule ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["DDIM", "DPMSolverMultistep", "UniPCMultistep", "EulerDiscrete"])
def test_begin_starts_in_the_middle(name):
    whole = from_diffusers(verdicts.make(f"{name}Scheduler", {}), 12)
    late = from_diffusers(verdicts.make(f"{name}Scheduler", {}), 12, begin=7)
    for column in ("t", "in_scale", "alpha", "sigma", "x0_from_x", "x0_from_m"):
        np.testing.assert_allclose(whole[column][7:], late[column], rtol=1e-12)
    first_order = name in ("DDIM", "EulerDiscrete")
    assert np.allclose(whole["x[0]"][7:], late["x[0]"], rtol=1e-9) == first_order


def test_begin_of_second_order_steps():
    for name in ("HeunDiscreteScheduler", "KDPM2DiscreteScheduler"):
        whole = first_table(name)
        late = from_diffusers(verdicts.make(name, {}), 12, begin=6)
        assert len(late) == len(whole) - 6
        np.testing.assert_allclose(late.rows, whole.rows[6:], rtol=1e-9, atol=1e-9)


def test_steps_none_takes_what_the_scheduler_has():
    scheduler = diffusers.EulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[14.0, 5.0, 1.0, 0.3, 0.0])
    table = from_diffusers(scheduler, None)
    np.testing.assert_allclose(table["sigma"], [14.0, 5.0, 1.0, 0.3])
    shifted = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    with pytest.raises(FastdiffError, match=r"steps: FlowMatch.*set_timesteps\(4\) failed .*mu"):
        from_diffusers(shifted, 4)
    shifted.set_timesteps(4, mu=0.8)
    assert len(from_diffusers(shifted, None)) == 4
    scheduler.scale_model_input(torch.zeros(1, 1, 2, 2), scheduler.timesteps[0])
    with pytest.raises(FastdiffError, match="it has been stepped already"):
        from_diffusers(scheduler, None)
    with pytest.raises(FastdiffError, match="the timesteps that the scheduler has; it has none"):
        from_diffusers(verdicts.make("MiniMaxH3Scheduler", {}), None)


SCHEDULES = [
    schedules.course(),
    schedules.Schedule("cosine", 400, prediction="v"),
    schedules.Schedule("linear", 1000, prediction="x0", time="fraction"),
    schedules.Schedule("sigmoid", 300, prediction="v", zero_snr=True),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.kind)
def test_a_schedule_of_ours(schedule):
    for kind in (diffusers.DDIMScheduler, diffusers.DPMSolverMultistepScheduler):
        scheduler = kind(**diffusers_config(schedule), timestep_spacing="trailing")
        table = from_diffusers(scheduler, 10, schedule=schedule)
        level = schedule.T - np.arange(10) * (schedule.T // 10)
        np.testing.assert_allclose(table["t"], schedule.t[level], rtol=1e-12)
        np.testing.assert_allclose(
            table["alpha"], np.sqrt(schedule.alpha_bar[level]), rtol=1e-3, atol=3e-4
        )
    euler = diffusers.EulerDiscreteScheduler(**diffusers_config(schedule))
    table = from_diffusers(euler, 7, schedule=schedule)  # linspace: between the levels
    assert table["t"][1] == pytest.approx(schedule.time_at((schedule.T - 1) * 5 / 6 + 1), rel=1e-6)


def test_diffusers_config_is_the_schedule():
    for schedule in SCHEDULES:
        config = diffusers_config(schedule)
        assert config["num_train_timesteps"] == schedule.T
        product = np.cumprod(1 - np.array(config["trained_betas"]))
        np.testing.assert_allclose(product, schedule.alpha_bar[1:], rtol=1e-9, atol=1e-15)


def test_a_scheduler_for_another_schedule_is_refused():
    course = schedules.course()

    def refused(scheduler, schedule, message):
        with pytest.raises(FastdiffError, match=message):
            from_diffusers(scheduler, 5, schedule=schedule)

    refused(diffusers.DDIMScheduler(), course, "expected a scheduler of 500 timesteps, got DDIM")
    other = diffusers.DDIMScheduler(500)
    refused(other, course, r"made for another one, its alphas_cumprod\[\d+\] is .*diffusers_config")
    config = {**diffusers_config(course), "prediction_type": "v_prediction"}
    refused(diffusers.DDIMScheduler(**config), course, "expected .* prediction_type 'epsilon', got")
    refused(diffusers.EDMEulerScheduler(), course, "EDMEulerScheduler has no alphas_cumprod")
    refused(diffusers.DDIMScheduler(), "course", "expected a fastdiff schedule or None, got str")


def test_an_edm_schedule_is_known_by_how_the_model_is_asked():
    edm = schedules.EDMSchedule()
    for kind in (diffusers.EDMEulerScheduler, diffusers.EDMDPMSolverMultistepScheduler):
        table = from_diffusers(kind(), 8, schedule=edm)
        np.testing.assert_allclose(table["t"], np.log(table["sigma"]) / 4, rtol=1e-5)
        assert table.init_scale == pytest.approx(80.0, rel=1e-4)
    for other in (
        diffusers.EDMEulerScheduler(sigma_data=1.0),
        diffusers.EDMEulerScheduler(prediction_type="v_prediction"),
        diffusers.EulerDiscreteScheduler(),
    ):
        with pytest.raises(FastdiffError, match="does not ask its model as an EDM model"):
            from_diffusers(other, 8, schedule=edm)


# --- arguments, and schedulers that are none of diffusers' ---------------------------------------


def test_wrong_arguments():
    ddim = diffusers.DDIMScheduler()
    for scheduler, got in (("ddim", "str"), (diffusers.DDIMScheduler, "DDIMScheduler itself")):
        with pytest.raises(FastdiffError, match=f"expected a diffusers scheduler .*, got {got}"):
            from_diffusers(scheduler, 5)
    for steps in (0, -1, 2.5, True, "5"):
        with pytest.raises(FastdiffError, match="steps: expected an integer of at least 1, got"):
            from_diffusers(ddim, steps)
    with pytest.raises(FastdiffError, match=r"steps: DDIMScheduler.set_timesteps\(2000\) failed"):
        from_diffusers(ddim, 2000)
    for begin in (-1, 5, 1.0, True):
        with pytest.raises(FastdiffError, match="begin: expected a row from 0 to 4, got"):
            from_diffusers(ddim, 5, begin=begin)
    for option in ("beta", "sample"):
        with pytest.raises(FastdiffError, match=f"{option}: DDIMScheduler.step has no such option"):
            from_diffusers(ddim, 5, **{option: 1})


def test_the_callers_scheduler_is_left_alone():
    for name in ("DDIMScheduler", "PNDMScheduler", "UniPCMultistepScheduler"):
        scheduler = verdicts.make(name, {"skip_prk_steps": True} if name[0] == "P" else {})
        kind, state = type(scheduler), copy.deepcopy(vars(scheduler))
        from_diffusers(scheduler, 6)
        assert type(scheduler) is kind
        assert repr(vars(scheduler)) == repr(state)


def test_nothing_is_patched_for_others():
    """Compiled in threads, while a scheduler of the same class draws noise of its own."""
    scheduler = diffusers.DDPMScheduler()
    scheduler.set_timesteps(20)
    x = torch.zeros(1, 1, 4, 4)
    expected = scheduler.step(x, 500, x, torch.Generator().manual_seed(3)).prev_sample
    tables, wrong = [], []

    def compile_it():
        tables.append(from_diffusers(diffusers.DDPMScheduler(), 30))

    threads = [threading.Thread(target=compile_it) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        got = scheduler.step(x, 500, x, torch.Generator().manual_seed(3)).prev_sample
        wrong += [] if torch.equal(got, expected) else [got]
    assert not wrong
    assert tables[0] == tables[1] == tables[2]


def test_a_table_is_a_value():
    first, second = (from_diffusers(diffusers.DDPMScheduler(), 9) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first.name == "DDPMScheduler:9"


@pytest.mark.parametrize("name", foreign.COMPILE)
def test_schedulers_of_other_people_compile(name):
    done = compiled(foreign.COMPILE[name](), 8)
    assert done.proof.difference < TOLERANCE
    assert done.table.uses_noise


def test_subclasses_reach_the_noise_of_their_parents():
    table = from_diffusers(foreign.Louder(), 8)
    plain = from_diffusers(diffusers.DDPMScheduler(clip_sample=False), 8)
    np.testing.assert_allclose(table["noise"], 2 * plain["noise"], rtol=1e-12)


@pytest.mark.parametrize("name", foreign.REFUSED)
def test_schedulers_of_other_people_are_refused(name):
    kind, message = foreign.REFUSED[name]
    with pytest.raises(FastdiffError, match=message):
        from_diffusers(kind(), 8)
