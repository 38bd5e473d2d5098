"""The order of every deterministic sampler, and the limit of every stochastic one."""

import numpy as np
import pytest

from fastdiff import noise
from fastdiff.samplers import SAMPLERS, build_table
from fastdiff.samplers.reference import run
from fastdiff.testing.convergence import ORDERS, SCHEDULE, Exact, ode_error
from fastdiff.testing.mixture import Mixture

MIXTURE = Mixture()
N = 20_000


@pytest.mark.parametrize(
    ("name", "options", "order"), ORDERS, ids=[f"{n}-{o}-{i}" for i, (n, _, o) in enumerate(ORDERS)]
)
def test_deterministic_samplers_converge_at_their_order(name, options, order):
    errors = [ode_error(name, options, steps) for steps in (81, 161, 321)]
    slope = np.log2(errors[0] / errors[-1]) / 2
    assert slope > order - 0.3, errors
    # And not by another mistake: the one that is said to be of second order is not of third.
    assert slope < order + 0.9, errors


def test_the_mixture_is_what_it_says():
    y = np.linspace(-3, 3, 4001)
    for rho in (0.0, 0.3, 2.0):
        density = MIXTURE.density(y, rho)
        slope = np.gradient(MIXTURE.cdf(y, rho), y)
        np.testing.assert_allclose(slope[5:-5], density[5:-5], atol=2e-4)
        if rho:
            score = np.gradient(np.log(density), y)
            np.testing.assert_allclose(MIXTURE.eps(y, rho)[5:-5], -rho * score[5:-5], atol=2e-3)
    # The flow solves dy = eps drho.
    at = np.array([-1.0, 0.1, 0.8])
    ahead = MIXTURE.flow(at, 1.0, 1.0 + 1e-4)
    np.testing.assert_allclose((ahead - at) / 1e-4, MIXTURE.eps(at, 1.0), atol=1e-4)


def drawn(table, answer):
    """N samples by the table, with the noise that the engine would use."""
    seeds = noise.as_seeds(0, N)
    x = table.init_scale * noise.normal(seeds, 0, noise.STREAM_INIT, 1)[:, 0].astype(np.float64)
    zs = (noise.normal(seeds, k, noise.STREAM_STEP, 1)[:, 0] for k in range(len(table)))
    return run(table, x, [z.astype(np.float64) for z in zs], answer)


def distance(x):
    """Kolmogorov and Smirnov's: the largest difference between the samples' cdf and the data's."""
    exact = MIXTURE.cdf(np.sort(x))
    return max(np.abs(exact - (np.arange(N) + k) / N).max() for k in (0, 1))


# N exact samples lie within this in all but one run of ten thousand (Kolmogorov's distribution).
LIMIT = 2.23 / np.sqrt(N)
STOCHASTIC = {
    "ddpm": ({"variance": "small"}, 500),
    "ddim": ({"eta": 1.0}, 500),
    "euler_ancestral": ({}, 500),
    "dpmpp_2m_sde": ({}, 200),
    "edm": ({"churn": 40.0}, 201),
    "kdpm2_ancestral": ({}, 401),
    "sa_solver": ({"tau": 1.0, "tau_from": 0.0, "tau_to": 1.0}, 200),
}


@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_samplers_converge_in_distribution(name):
    options, steps = STOCHASTIC[name]
    far = {}
    for count in (9, steps):
        table = build_table(name, SCHEDULE, count, spacing="karras", **options)
        assert table.uses_noise
        far[count] = distance(drawn(table, Exact(MIXTURE, table)))
    assert far[steps] < LIMIT, far
    assert far[9] > 2 * far[steps], far  # few steps are told apart: the measure can fail


@pytest.mark.parametrize(
    ("name", "options"), [("lcm", {}), ("tcd", {"gamma": 0.3}), ("tcd", {"gamma": 1.0})]
)
@pytest.mark.parametrize("steps", [1, 4, 8])
def test_consistency_samplers_are_exact_at_any_step_count(name, options, steps):
    """A perfectly distilled f(x, t) is where the flow leads, and few steps are enough."""
    table = build_table(name, SCHEDULE, steps, **options)
    rows = iter(range(steps))

    def distilled(x, t):
        k = next(rows)
        alpha, sigma = table["alpha"][k], table["sigma"][k]
        # TCD goes to a level s of its own, then up to the next: the row's weights tell it.
        end_alpha, end_sigma = 1.0, 0.0
        if name == "tcd" and k + 1 < steps:
            up = np.sqrt(1.0 - table["noise"][k] ** 2)
            end_alpha = table["alpha"][k + 1] / up
            end_sigma = np.sqrt(1.0 - end_alpha**2)
        y = MIXTURE.flow(x / alpha, sigma / alpha, end_sigma / end_alpha)
        # The eps whose straight step from (alpha, sigma) ends there.
        return (end_alpha * y - end_alpha / alpha * x) / (end_sigma - end_alpha * sigma / alpha)

    assert distance(drawn(table, distilled)) < LIMIT


def test_every_sampler_is_here():
    deterministic = {name for name, _, _ in ORDERS}
    elsewhere = {"ddim_inverse"}  # tests/engine: there and back again
    assert deterministic | set(STOCHASTIC) | {"lcm", "tcd"} | elsewhere == set(SAMPLERS)
