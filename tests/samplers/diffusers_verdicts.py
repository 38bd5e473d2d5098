"""Every scheduler of diffusers and what from_diffusers makes of it: the truth of docs/diffusers.md.

python -m tests.samplers.diffusers_verdicts writes the tables of that page anew.
"""

from __future__ import annotations

import importlib
import math
import re
import sys
import types
import warnings
from pathlib import Path

import diffusers
from diffusers import schedulers

PAGE = Path(__file__).resolve().parents[2] / "docs" / "diffusers.md"
STEPS = 20  # of the page's figures

KARRAS = {"use_karras_sigmas": True}
# Name: the cases (config, options of step) that compile. The page shows the first.
COMPILES = {
    "CMStochasticIterativeScheduler": [({}, {}), ({"clip_denoised": False}, {})],
    "CogVideoXDDIMScheduler": [({}, {}), ({"prediction_type": "v_prediction"}, {})],
    "ConsistencyDecoderScheduler": [({}, {})],
    "CosineDPMSolverMultistepScheduler": [({}, {}), ({"solver_order": 1}, {})],
    "DDIMInverseScheduler": [({}, {}), ({"clip_sample": False}, {})],
    "DDIMParallelScheduler": [({}, {}), ({"clip_sample": False}, {"eta": 0.7})],
    "DDIMScheduler": [
        ({}, {}),
        ({}, {"eta": 0.5}),
        ({}, {"use_clipped_model_output": True}),
        ({"clip_sample": False, "timestep_spacing": "trailing"}, {"eta": 1.0}),
        ({"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}, {}),
        ({"prediction_type": "sample", "clip_sample_range": 2.0}, {}),
    ],
    "DDPMParallelScheduler": [({}, {}), ({"clip_sample": False}, {})],
    "DDPMScheduler": [
        ({}, {}),
        ({"clip_sample": False}, {}),
        ({"variance_type": "fixed_large", "prediction_type": "sample"}, {}),
        ({"variance_type": "fixed_small_log", "prediction_type": "v_prediction"}, {}),
    ],
    "DDPMWuerstchenScheduler": [({}, {}), ({"scaler": 2.0}, {})],
    "DEISMultistepScheduler": [({}, {}), ({"solver_order": 3}, {}), (KARRAS, {})],
    "DPMSolverMultistepInverseScheduler": [({}, {}), ({"solver_order": 3}, {})],
    "DPMSolverMultistepScheduler": [
        ({}, {}),
        ({"solver_order": 3, "use_lu_lambdas": True}, {}),
        ({"solver_order": 1, "use_exponential_sigmas": True}, {}),
        ({"algorithm_type": "sde-dpmsolver++", "solver_type": "heun", **KARRAS}, {}),
        ({"algorithm_type": "sde-dpmsolver++", "solver_order": 3, "use_beta_sigmas": True}, {}),
        ({"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}, {}),
        ({"algorithm_type": "sde-dpmsolver", "final_sigmas_type": "sigma_min"}, {}),
        ({"prediction_type": "flow_prediction", "use_flow_sigmas": True}, {}),
    ],
    "DPMSolverSinglestepScheduler": [
        ({}, {}),
        ({"solver_order": 3, "lower_order_final": True}, {}),
        ({"algorithm_type": "sde-dpmsolver++", **KARRAS}, {}),
    ],
    "EDMDPMSolverMultistepScheduler": [
        ({}, {}),
        ({"solver_order": 3}, {}),
        ({"algorithm_type": "sde-dpmsolver++", "sigma_schedule": "exponential"}, {}),
    ],
    "EDMEulerScheduler": [({}, {}), ({"prediction_type": "v_prediction"}, {"s_churn": 4.0})],
    "EulerAncestralDiscreteScheduler": [({}, {}), ({"prediction_type": "v_prediction"}, {})],
    "EulerDiscreteScheduler": [
        ({}, {}),
        (KARRAS, {"s_churn": 5.0}),
        ({"timestep_type": "continuous", "prediction_type": "v_prediction", **KARRAS}, {}),
    ],
    "FlowMapEulerDiscreteScheduler": [({}, {}), ({"shift": 5.0}, {})],
    "FlowMatchEulerDiscreteScheduler": [
        ({}, {}),
        ({"stochastic_sampling": True, "shift": 3.0}, {}),
        ({"invert_sigmas": True}, {}),
    ],
    "FlowMatchHeunDiscreteScheduler": [({}, {}), ({"shift": 3.0}, {})],
    "FlowMatchLCMScheduler": [({}, {}), ({"shift": 3.0}, {})],
    "HeliosScheduler": [
        ({"stages": 1}, {}),
        ({"stages": 1, "scheduler_type": "euler"}, {}),
    ],
    "HeunDiscreteScheduler": [({}, {}), ({"clip_sample": True}, {}), (KARRAS, {})],
    "IPNDMScheduler": [({}, {})],
    "KDPM2AncestralDiscreteScheduler": [({}, {}), ({"prediction_type": "v_prediction"}, {})],
    "KDPM2DiscreteScheduler": [({}, {}), ({"prediction_type": "v_prediction", **KARRAS}, {})],
    "LCMScheduler": [({}, {}), ({"clip_sample": True}, {}), ({"prediction_type": "sample"}, {})],
    "LMSDiscreteScheduler": [({}, {}), ({"prediction_type": "v_prediction"}, {"order": 3})],
    "LTXEulerAncestralRFScheduler": [({}, {}), ({"eta": 0.5}, {})],
    "MiniMaxH3Scheduler": [({}, {})],
    "PNDMScheduler": [
        ({"skip_prk_steps": True}, {}),
        ({"skip_prk_steps": True, "prediction_type": "v_prediction"}, {}),
    ],
    "SASolverScheduler": [
        ({}, {}),
        ({"predictor_order": 3, "corrector_order": 4}, {}),
        ({"algorithm_type": "noise_prediction", "prediction_type": "v_prediction"}, {}),
    ],
    "SCMScheduler": [({}, {})],
    "TCDScheduler": [({}, {}), ({}, {"eta": 0.0}), ({"clip_sample": True}, {"eta": 0.8})],
    "UnCLIPScheduler": [
        ({}, {}),
        ({"prediction_type": "sample"}, {}),
        ({"clip_sample": False}, {}),
    ],
    "UniPCMultistepScheduler": [
        ({}, {}),
        ({"solver_order": 3}, {}),
        ({"solver_type": "bh1", "final_sigmas_type": "sigma_min"}, {}),
        ({"solver_order": 3, "prediction_type": "v_prediction", **KARRAS}, {}),
        ({"predict_x0": False, "final_sigmas_type": "sigma_min"}, {}),
    ],
}
# Name: config, why not (as the page has it), and what the error says.
REFUSED = {
    "AmusedScheduler": ({"mask_token_id": 3}, "tokens, not numbers", "torch.multinomial"),
    "BlockRefinementScheduler": ({}, "tokens, not numbers", "its step fails in row 0"),
    "CogVideoXDPMScheduler": (
        {},
        "the pipeline hands `old_pred_original_sample` and `timestep_back` to its step",
        "step also needs old_pred_original_sample and timestep_back",
    ),
    "DPMSolverSDEScheduler": (
        {},
        "its noise is one Brownian path, the second half of a step overlapping the first",
        "one Brownian path, of which it uses a stretch twice",
    ),
    "DiscreteDDIMScheduler": ({}, "tokens, not numbers", "torch.multinomial"),
    "EntropyBoundScheduler": ({}, "tokens, not numbers", "torch.multinomial"),
    "HeliosDMDScheduler": (
        {"stages": 1},
        "the pipeline hands its noise and its sigmas to its step",
        "its step fails in row 0",
    ),
    "KarrasVeScheduler": (
        {},
        "it changes x before the model sees it",
        "its step also needs sigma_",
    ),
    "PiflowScheduler": (
        {},
        "the model gives `n_grid` outputs for one x",
        "not divisible by n_grid",
    ),
    "RFD4ProteinaScheduler": (
        {"schedule_mode": "log", "noise_mode": "tan", "tsr_k": 1.0, "tsr_sigma": 1.0},
        "its step needs `emit_mask`",
        "its step also needs emit_mask",
    ),
    "RePaintScheduler": (
        {},
        "its step needs `original_image` and `mask`",
        "its step also needs original_image and mask",
    ),
    "ScoreSdeVeScheduler": ({}, "no `step`; correction by the norm of x", "it has no step method"),
    "ScoreSdeVpScheduler": ({}, "no `step`", "it has no step method"),
    "VQDiffusionScheduler": (
        {"num_vec_classes": 10},
        "tokens, not numbers",
        "its step fails in row 0",
    ),
}
# Classes of the list above whose other settings are refused.
REFUSED_SETTINGS = [
    ("PNDMScheduler", {}, "needs more than the 4 last outputs and the 4 last x"),
    ("SASolverScheduler", {"predictor_order": 4}, "needs more than the 4 last outputs"),
    ("DDIMScheduler", {"thresholding": True}, "thresholding=True rescales x0 by a quantile"),
    ("DPMSolverMultistepScheduler", {"thresholding": True}, "thresholding=True"),
    ("DDPMScheduler", {"variance_type": "learned_range"}, "a learned variance is a second output"),
    ("DDIMScheduler", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
     "inf or nan in row 0"),
    ("UniPCMultistepScheduler", {"predict_x0": False}, "inf or nan in row 19"),
]  # fmt: skip
# Not every class can take any number of steps.
ONLY_STEPS = {"SCMScheduler": (2,), "ConsistencyDecoderScheduler": (2,)}
LEAST_STEPS = {"MiniMaxH3Scheduler": 2, "UnCLIPScheduler": 2}
# Hidden behind packages that are not installed, which the schedulers themselves do not need.
_HIDDEN = {
    "CosineDPMSolverMultistepScheduler": "scheduling_cosine_dpmsolver_multistep",
    "DPMSolverSDEScheduler": "scheduling_dpmsolver_sde",
    "KarrasVeScheduler": "deprecated.scheduling_karras_ve",
    "ScoreSdeVpScheduler": "deprecated.scheduling_sde_vp",
}


def exported():
    """The names of all scheduler classes that diffusers exports."""
    return sorted(n for n in dir(schedulers) if n.endswith("Scheduler"))


def scheduler_class(name):
    if name not in _HIDDEN:
        return getattr(schedulers, name)
    stub = None if importlib.util.find_spec("torchsde") else types.ModuleType("torchsde")
    if stub is not None:
        sys.modules.setdefault("torchsde", stub)  # its paths are never drawn from
    try:
        return getattr(importlib.import_module(f"diffusers.schedulers.{_HIDDEN[name]}"), name)
    finally:
        if stub is not None:
            del sys.modules["torchsde"]


def make(name, config):
    return scheduler_class(name)(**config)


def steps_of(name, wanted):
    """Those of the step counts that a class can take."""
    if name in ONLY_STEPS:
        return ONLY_STEPS[name]
    return tuple(s for s in wanted if s >= LEAST_STEPS.get(name, 1))


def figure(value):
    return "exact" if value < 1e-9 else f"{value:.0e}"


def compiled_rows():
    """Cells of the page's first table, from running it."""
    from fastdiff.samplers.foreign.from_diffusers import compiled

    for name, cases in sorted(COMPILES.items()):
        config, options = cases[0]
        done = compiled(make(name, config), steps_of(name, [STEPS])[0], **options)
        table = done.table
        clamp = "x0" if table["x0"].any() else "m" if table["clamp_m"].any() else ""
        known = [
            word
            for word, columns in (("level", ("alpha", "sigma")), ("x0", ("x0_from_x", "x0_from_m")))
            if all(any(table[c][k] for c in columns) for k in range(len(table)))
        ]
        yield [
            f"`{name}`",
            ", ".join(f"`{k}={v!r}`" for k, v in config.items()),
            str(len(table)),
            str(table.m_depth),
            str(table.x_depth),
            "yes" if table.uses_noise else "",
            clamp,
            ", ".join(known),
            figure(done.proof.difference),
        ]


HEAD = ["class", "made with", "rows", "m", "x", "noise", "clamp", "knows", "proof"]


def refused_rows():
    for name, (_, why, _) in sorted(REFUSED.items()):
        yield [f"`{name}`", why]


def markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def fenced(name, page):
    """The part of the page between the comments that name it, as (start, end)."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end -->", page, re.DOTALL)
    assert found, f"{PAGE}: no part {name}"
    return found.span(1)


def table_cells(name, page):
    start, end = fenced(name, page)
    lines = page[start:end].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def same_figure(shown, measured):
    """Whether the page's figure is still of the measured size."""
    if "exact" in (shown, measured):
        return shown == measured
    return abs(math.log10(float(shown) / float(measured))) < 1


def write_page():
    page = PAGE.read_text()
    for name, head, rows in (
        ("compiled", HEAD, list(compiled_rows())),
        ("refused", ["class", "why"], list(refused_rows())),
    ):
        start, end = fenced(name, page)
        page = page[:start] + markdown(head, rows) + page[end:]
    PAGE.write_text(page)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    diffusers.utils.logging.set_verbosity_error()
    write_page()
