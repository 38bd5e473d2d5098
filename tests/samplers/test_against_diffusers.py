"""Every sampler that diffusers has too, row by row against diffusers' own steps in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from fastdiff import schedules
from fastdiff.samplers import build_table
from fastdiff.samplers.path import path
from fastdiff.samplers.reference import run_all
from fastdiff.testing.network import model, relative
from tests.samplers.double import Scheduler, in_double
from tests.samplers.test_predictions import PREDICTIONS, ours

pytestmark = [
    # diffusers hands tensors to np.array, which NumPy 2 would rather not.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning"),
]

TRAILING = {"timestep_spacing": "trailing"}
ALL, NO_X0 = tuple(PREDICTIONS), ("eps", "v")
MANY, FEW = (100, 50, 25, 10, 7, 3, 1), (50, 25, 10, 5, 4, 2, 1)
TINY = 1e-13  # stands for a last sigma of 0 where diffusers takes its logarithm

# sampler, its options -> class, its configuration, what `sigma` means, step counts, predictions
CASES = {
    "euler": ("EulerDiscreteScheduler", TRAILING, "rho", MANY, ALL),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", TRAILING, "rho", MANY, NO_X0),
    "heun": ("HeunDiscreteScheduler", TRAILING, "rho", MANY, ALL),
    "kdpm2": ("KDPM2DiscreteScheduler", TRAILING, "rho", MANY, NO_X0),
    "kdpm2_ancestral": ("KDPM2AncestralDiscreteScheduler", TRAILING, "rho", MANY, NO_X0),
    "lms": ("LMSDiscreteScheduler", TRAILING, "rho", MANY, ALL),
    "deis": ("DEISMultistepScheduler", {**TRAILING, "solver_order": 3}, "vp", MANY, ALL),
    "deis,order=2": ("DEISMultistepScheduler", {**TRAILING, "solver_order": 2}, "vp", MANY, ALL),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {**TRAILING, "solver_order": 2}, "vp", MANY, ALL),
    "dpmpp_3m": ("DPMSolverMultistepScheduler", {**TRAILING, "solver_order": 3}, "vp", MANY, ALL),
    "dpmpp_2m_sde": (
        "DPMSolverMultistepScheduler",
        {**TRAILING, "solver_order": 2, "algorithm_type": "sde-dpmsolver++"},
        "vp", MANY, ALL,
    ),
    "dpmpp_2s": (
        "DPMSolverSinglestepScheduler",
        {"solver_order": 2, "lower_order_final": True, "final_sigmas_type": "zero"},
        "vp", MANY, ALL,
    ),
    "unipc": ("UniPCMultistepScheduler", {**TRAILING, "solver_order": 2}, "vp", MANY, ALL),
    "unipc,order=3": ("UniPCMultistepScheduler", {**TRAILING, "solver_order": 3}, "vp", MANY, ALL),
    "sa_solver": ("SASolverScheduler", TRAILING, "vp", MANY, ALL),
    "sa_solver,predictor=3,corrector=4": (
        "SASolverScheduler", {**TRAILING, "predictor_order": 3, "corrector_order": 4}, "vp",
        MANY, ALL,
    ),
    "sa_solver,predictor=1,corrector=1": (
        "SASolverScheduler", {**TRAILING, "predictor_order": 1, "corrector_order": 1}, "vp",
        MANY, ALL,
    ),
    "plms": (
        "PNDMScheduler", {**TRAILING, "skip_prk_steps": True, "set_alpha_to_one": True}, "vp",
        (100, 50, 25, 10, 4, 2), NO_X0,
    ),
    "lcm": ("LCMScheduler", {}, "vp", FEW, ALL),
    "tcd": ("TCDScheduler", {}, "vp", FEW, ALL),
    "ddim_inverse": (
        "DDIMInverseScheduler", {**TRAILING, "clip_sample": False}, "vp",
        (100, 50, 25, 10, 4, 1), NO_X0,
    ),
}  # fmt: skip
TWICE = ("heun", "kdpm2", "kdpm2_ancestral")  # two rows for every step of diffusers' but the last
KINDS = ("linear", "scaled_linear", "cosine")


def split(spec):
    name, *pairs = spec.split(",")
    return name, {k: int(v) for k, v in (pair.split("=") for pair in pairs)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", CASES)
def test_equals_diffusers(spec, kind, monkeypatch):
    cls, config, space, counts, predictions = CASES[spec]
    name, options = split(spec)
    for prediction in predictions:
        for steps in counts:
            rows = 2 * steps - 1 if name in TWICE else steps + (name == "plms" and steps > 1)
            table = build_table(name, ours(kind, prediction), rows, **options)
            rng = np.random.default_rng(steps)
            start, zs = rng.standard_normal((1, 24)), rng.standard_normal((rows, 1, 24))
            theirs = Scheduler(monkeypatch, getattr(diffusers, cls), kind, prediction, zs, **config)
            scale = np.append(table["alpha"], 1.0) if space == "rho" else np.ones(rows + 1)
            ends_at_zero = name in ("deis", "sa_solver")
            if name == "dpmpp_2s":
                _singlestep_over_our_levels(theirs.scheduler, table)
            if name == "tcd":  # its last step lands on timestep 0; ours on the image itself
                theirs.scheduler.alphas_cumprod[0] = 1.0
            extra = {"eta": 0.3} if name == "tcd" else {}
            want = theirs.run_all(
                steps,
                start / scale[0],
                lambda x, t: model(x, t / 1000),
                TINY if ends_at_zero else None,
                **extra,
            )
            got = run_all(table, start, zs, lambda x, t: model(x, t / 1000))
            np.testing.assert_allclose(table["t"], theirs.scheduler.timesteps, atol=2e-9 * 1000)
            assert len(want) == len(got)
            # DEIS of diffusers keeps its order in the last step when there are 15 or more, ours
            # (sigma = 0, ln sigma infinite) does not: see the transcription.
            last = -1 if name == "deis" and steps >= 15 else None
            for k, (ours_k, theirs_k) in enumerate(list(zip(got, want, strict=True))[:last]):
                off = relative(ours_k, theirs_k * scale[k + 1])
                assert off < 1e-6, (spec, prediction, steps, k, off)


def _singlestep_over_our_levels(scheduler, table):
    """Its set_timesteps spaces evenly between both ends and knows no other spacing."""
    set_timesteps = scheduler.set_timesteps

    def trailing(steps):
        set_timesteps(timesteps=table["t"].astype(int).tolist())

    scheduler.set_timesteps = trailing if len(table) > 1 else set_timesteps


@pytest.mark.parametrize("steps", [50, 18, 10, 5, 2])
@pytest.mark.parametrize(
    ("name", "cls", "config"),
    [
        ("euler", "EDMEulerScheduler", {}),
        ("dpmpp_2m", "EDMDPMSolverMultistepScheduler", {"solver_order": 2}),
        ("dpmpp_3m", "EDMDPMSolverMultistepScheduler", {"solver_order": 3}),
        (
            "dpmpp_2m_sde",
            "EDMDPMSolverMultistepScheduler",
            {"solver_order": 2, "algorithm_type": "sde-dpmsolver++"},
        ),
    ],
)
@pytest.mark.parametrize("spacing", ["karras", "exponential"])
def test_edm_models_equal_diffusers(name, cls, config, spacing, steps, monkeypatch):
    scheduler = getattr(diffusers, cls)(sigma_schedule=spacing, **config)
    scheduler.set_timesteps(steps)
    table = build_table(name, schedules.EDMSchedule(), steps, spacing=spacing)
    sigma = np.append(table["sigma"], 0.0)
    np.testing.assert_allclose(scheduler.sigmas, sigma, rtol=1e-5)
    np.testing.assert_allclose(table["t"], scheduler.timesteps, rtol=1e-5, atol=1e-5)
    scheduler.sigmas = torch.from_numpy(sigma)
    module = in_double(monkeypatch, type(scheduler))
    rng = np.random.default_rng(steps)
    x, zs = 80 * rng.standard_normal((1, 24)), rng.standard_normal((steps, 1, 24))
    drawn = iter(zs)
    if hasattr(module, "randn_tensor"):
        monkeypatch.setattr(module, "randn_tensor", lambda *a, **k: torch.from_numpy(next(drawn)))
    got = run_all(table, x, zs, model)
    y = torch.from_numpy(x)
    for k, t in enumerate(scheduler.timesteps):
        seen = scheduler.scale_model_input(y, t)
        y = scheduler.step(torch.from_numpy(model(seen.numpy(), table["t"][k])), t, y).prev_sample
        assert relative(got[k], y.numpy()) < 1e-6, k


# Euler's linspace is the one that does not round.
LEVELS, SIGMAS = diffusers.UniPCMultistepScheduler, diffusers.EulerDiscreteScheduler
SPACED = {
    "leading": (SIGMAS, {"timestep_spacing": "leading", "steps_offset": 0}),
    "trailing": (SIGMAS, {"timestep_spacing": "trailing"}),
    "linspace": (LEVELS, {"timestep_spacing": "linspace", "final_sigmas_type": "zero"}),
    "karras": (SIGMAS, {"use_karras_sigmas": True, "timestep_spacing": "linspace"}),
    "exponential": (SIGMAS, {"use_exponential_sigmas": True, "timestep_spacing": "linspace"}),
}


@pytest.mark.parametrize("steps", [100, 50, 20, 10, 5, 2])
@pytest.mark.parametrize("spacing", SPACED)
@pytest.mark.parametrize("kind", KINDS)
def test_spacings_are_those_of_diffusers(kind, spacing, steps, monkeypatch):
    cls, config = SPACED[spacing]
    theirs = Scheduler(monkeypatch, cls, kind, "eps", None, **config)
    theirs.scheduler.set_timesteps(steps)
    got = path(ours(kind), steps, spacing)
    if cls is LEVELS:  # which leaves the endpoint out again: one more, and the last is not used
        visited = np.round(np.linspace(0, 999, steps))[::-1]
        theirs.scheduler.set_timesteps(steps - 1)
        np.testing.assert_array_equal(theirs.scheduler.timesteps, visited[:-1])
        np.testing.assert_array_equal(got.t[:-1], visited)
        return
    np.testing.assert_allclose(got.t[:-1], theirs.scheduler.timesteps, atol=1e-6)
    np.testing.assert_allclose(got.rho, theirs.scheduler.sigmas, rtol=1e-9)
