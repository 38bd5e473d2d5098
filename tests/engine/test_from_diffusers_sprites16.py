"""sprites16 through our engine, and through diffusers' own loop, with the same noise.

Every class that can be made for the model's schedule: by compiled table on one side, by
``set_timesteps``, ``scale_model_input`` and ``step`` around the network in torch on the other.
"""

import copy
import inspect
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

import fastdiff
from fastdiff import noise
from fastdiff.backends.base import Request
from fastdiff.backends.eager import BACKEND
from fastdiff.samplers import diffusers_config, from_diffusers
from tests.samplers import diffusers_verdicts as verdicts

# See tests/samplers/test_from_diffusers.py.
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

SEEDS = np.arange(3, dtype=np.uint64)
CONTEXT = "monster"
# Name: what it is made with besides the schedule, and the options of its step.
CASES = [
    ("CogVideoXDDIMScheduler", {"snr_shift_scale": 1.0}, {}),
    ("DDIMInverseScheduler", {}, {}),
    ("DDIMInverseScheduler", {"clip_sample": False}, {}),
    ("DDIMParallelScheduler", {}, {"eta": 0.5}),
    ("DDIMScheduler", {}, {}),
    ("DDIMScheduler", {"clip_sample": False, "timestep_spacing": "trailing"}, {"eta": 1.0}),
    ("DDPMParallelScheduler", {"clip_sample": False}, {}),
    ("DDPMScheduler", {}, {}),
    ("DDPMScheduler", {"variance_type": "fixed_large", "timestep_spacing": "trailing"}, {}),
    ("DEISMultistepScheduler", {"solver_order": 3}, {}),
    ("DPMSolverMultistepInverseScheduler", {}, {}),
    ("DPMSolverMultistepScheduler", {}, {}),
    ("DPMSolverMultistepScheduler", {"solver_order": 3, "use_karras_sigmas": True}, {}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, {}),
    ("DPMSolverSinglestepScheduler", {"lower_order_final": True}, {}),
    ("EulerAncestralDiscreteScheduler", {}, {}),
    ("EulerDiscreteScheduler", {"use_karras_sigmas": True}, {"s_churn": 2.0}),
    ("EulerDiscreteScheduler", {}, {}),
    ("HeunDiscreteScheduler", {}, {}),
    ("HeunDiscreteScheduler", {"clip_sample": True}, {}),
    ("KDPM2AncestralDiscreteScheduler", {}, {}),
    ("KDPM2DiscreteScheduler", {}, {}),
    ("LCMScheduler", {}, {}),
    ("LMSDiscreteScheduler", {}, {}),
    ("PNDMScheduler", {"skip_prk_steps": True}, {}),
    ("SASolverScheduler", {}, {}),
    ("TCDScheduler", {}, {"eta": 0.3}),
    ("UniPCMultistepScheduler", {"solver_order": 3}, {}),
]
IDS = [f"{name}-{k}" for k, (name, _, _) in enumerate(CASES)]
# These have trained_betas and another schedule all the same: betas by a sine of t.
OWN_SCHEDULE = {"IPNDMScheduler"}


@pytest.fixture(scope="module")
def model():
    return fastdiff.load("sprites16")


def test_every_class_that_can_be_made_for_a_schedule_is_here():
    takes = {
        name
        for name in verdicts.COMPILES
        if "trained_betas" in inspect.signature(verdicts.scheduler_class(name)).parameters
    }
    assert {name for name, _, _ in CASES} == takes - OWN_SCHEDULE
    assert len({name for name, _, _ in CASES}) >= 20


def one_hot(model):
    return torch.eye(model.context_width)[model.labels.index(CONTEXT)]


def normal(step, stream, shape):
    count = int(np.prod(shape))
    return torch.from_numpy(noise.normal(SEEDS, step, stream, count).reshape(-1, *shape))


def their_loop(module, model, scheduler, steps, options, begin, start, monkeypatch):
    """x after the last step by diffusers, in the module's dtype."""
    dtype = next(module.parameters()).dtype
    scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps[begin:]
    if begin and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    row = {}
    theirs = sys.modules[type(scheduler).__module__]
    if hasattr(theirs, "randn_tensor"):

        def drawn(shape, dtype=None, **_):
            return normal(row["k"], noise.STREAM_STEP, model.sample_shape).to(dtype)

        monkeypatch.setattr(theirs, "randn_tensor", drawn)
    context = one_hot(model).expand(len(SEEDS), -1).to(dtype)
    x = start.to(dtype) * scheduler.init_noise_sigma
    for k, t in enumerate(timesteps):
        row["k"] = k
        seen = scheduler.scale_model_input(x, t)
        time = torch.full((len(SEEDS),), (float(t) + 1) / 500, dtype=dtype)
        with torch.inference_mode():
            out = module(seen.to(dtype), time, context)
        x = scheduler.step(out, t, x, **options).prev_sample
    return x.numpy()


def our_loop(model, table, start, dtype):
    """x after the last row by the engine, before it clips."""
    if table.to_noise:  # no engine draws images with it
        context = np.repeat(one_hot(model)[None].numpy(), len(SEEDS), axis=0)
        request = Request(table, SEEDS, context, guidance=None, x_T=start)
        return BACKEND.prepare(model, dtype=dtype).run(request).x
    engine = fastdiff.compile(model, table, backend="eager", dtype=dtype)
    last = {}

    def see(step):
        last["x"] = step.x

    samples = engine.sample(
        seed=SEEDS.tolist(), context=CONTEXT, x_T=start, on_step=see, every=len(table)
    )
    np.testing.assert_array_equal(samples.images, np.clip(last["x"], -1, 1))
    return last["x"]


def agree(model, case, steps, monkeypatch, begin=0, dtype="float32"):
    name, config, options = case
    scheduler = verdicts.make(name, {**diffusers_config(model.schedule), **config})
    table = from_diffusers(scheduler, steps, schedule=model.schedule, begin=begin, **options)
    start = normal(0, noise.STREAM_INIT, model.sample_shape)
    given = None
    if table.to_noise:  # from images
        start = given = 0.5 * torch.tanh(start)
    elif begin:  # x_T is what our engine starts from as it is
        given = table.init_scale * start
        scheduler.set_timesteps(steps)
        start = given / float(scheduler.init_noise_sigma)
    ours = our_loop(model, table, None if given is None else given.numpy(), dtype)
    module = copy.deepcopy(model.module).to(getattr(torch, dtype))
    theirs = their_loop(module, model, scheduler, steps, options, begin, start, monkeypatch)
    assert np.isfinite(theirs).all()
    assert np.abs(ours - theirs).max() < 1e-4 * max(1.0, np.abs(theirs).max())
    assert np.abs(np.clip(ours, -1, 1) - np.clip(theirs, -1, 1)).max() < 1e-4


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_engine_and_diffusers_agree(model, case, monkeypatch):
    agree(model, case, 6, monkeypatch)


@pytest.mark.parametrize("name", ["DDIM", "DPMSolverMultistep", "EulerDiscrete", "HeunDiscrete"])
def test_they_agree_from_the_middle(model, name, monkeypatch):
    agree(model, (f"{name}Scheduler", {}, {}), 6, monkeypatch, begin=2)


@pytest.mark.long
@pytest.mark.parametrize("steps", [1, 2, 25, 50])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_they_agree_for_other_step_counts(model, case, steps, monkeypatch):
    """In float64: over two steps, or 50 of LCM, float32 alone costs 3e-4."""
    agree(model, case, steps, monkeypatch, dtype="float64")
