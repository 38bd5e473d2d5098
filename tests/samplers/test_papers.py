"""Every sampler's table against its paper, transcribed as a plain loop (``papers.py``)."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from fastdiff import schedules
from fastdiff.samplers import SAMPLERS, build_table
from fastdiff.samplers.reference import run
from fastdiff.testing.network import relative
from tests.samplers import papers

T = 1000
COUNTS = (31, 14, 9, 6, 3)


def ask_of(prediction, time):
    """What a model of that kind says of (x0, eps), and the model itself."""

    def network(x, alpha, sigma):
        return np.tanh(0.7 * x + np.sin(3 * time(alpha, sigma)))

    def ask(x, alpha, sigma):
        m = network(x, alpha, sigma)
        if prediction == "eps":
            return (x - sigma * m) / alpha, m
        if prediction == "x0":
            return m, (x - alpha * m) / sigma
        return alpha * x - sigma * m, sigma * x + alpha * m

    return ask, network


def log_rho(alpha, sigma):
    return np.arctan(np.log(sigma / alpha))


def levels(count):
    """Trailing levels, from Lin et al. 2024's table 2."""
    return np.array([round(T - k * T / count) for k in range(count)] + [0])


def problem(schedule, visited, rows, seed):
    ab = np.append(np.cumprod(1 - schedule.beta[1:])[visited[:-1] - 1], 1.0)
    ask, network = ask_of(schedule.prediction, log_rho)
    rng = np.random.default_rng(seed)
    zs = rng.standard_normal((rows, 16))
    return papers.Problem(np.sqrt(ab), np.sqrt(1 - ab), ask, zs), network, rng.standard_normal(16)


def lifted(p, x, v, churn=0.0, low=0.0, high=np.inf, noise=1.0):
    return papers.edm(p, x, churn, low, high, noise, p.rho[0])


def taus(v):
    time = (v[:-1] - 1) / T
    return np.where((time >= 0.2) & (time <= 0.8), 1.0, 0.0)


def alpha_s(v, gamma, p):
    below = np.floor((1 - gamma) * (v[1:] - 1) + 1e-9).astype(int) + 1
    ab = np.cumprod(1 - schedules.linear().beta[1:])
    return np.sqrt(ab[np.maximum(below, 1) - 1])


def distilled(count):
    return np.append(
        np.arange(50, 0, -1)[np.floor(np.arange(count) * 50 / count).astype(int)] * 20, 0
    )


# sampler with its options -> (levels of the loop, rows of the table, loop)
ONE, TWO = (lambda n: (levels(n), n)), (lambda n: (levels(n), 2 * n - 1))
DISTILLED = lambda n: (distilled(n), n)  # noqa: E731
ALMOST = lambda n: (levels(n), n if n == 1 else n + 1)  # noqa: E731
CASES = {
    ("ddim", "eta", 0.4): (ONE, lambda p, x, v: papers.ddim(p, x, 0.4)),
    ("ddpm", "variance", "small"): (ONE, lambda p, x, v: papers.ddim(p, x, 1.0)),
    ("euler",): (ONE, lambda p, x, v: papers.ddim(p, x, 0.0)),
    ("euler_ancestral",): (ONE, lambda p, x, v: papers.euler_ancestral(p, x, 1.0)),
    ("euler_ancestral", "eta", 0.6): (ONE, lambda p, x, v: papers.euler_ancestral(p, x, 0.6)),
    ("heun",): (TWO, lifted),
    ("edm", "churn", 0.0, "spacing", "trailing"): (TWO, lifted),
    ("edm", "churn", 3.0, "spacing", "trailing"): (TWO, lambda p, x, v: lifted(p, x, v, 3.0)),
    ("edm", "churn", 40.0, "churn_from", 0.1, "churn_to", 9.0, "churn_noise", 1.01, "spacing",
     "trailing"): (TWO, lambda p, x, v: lifted(p, x, v, 40.0, 0.1, 9.0, 1.01)),
    ("kdpm2",): (TWO, lambda p, x, v: papers.kdpm2(p, x, 0.0)),
    ("kdpm2_ancestral",): (TWO, lambda p, x, v: papers.kdpm2(p, x, 1.0)),
    ("lms",): (ONE, lambda p, x, v: papers.lms(p, x, 4)),
    ("lms", "order", 2): (ONE, lambda p, x, v: papers.lms(p, x, 2)),
    ("deis",): (ONE, lambda p, x, v: papers.deis(p, x, 3)),
    ("deis", "order", 4): (ONE, lambda p, x, v: papers.deis(p, x, 4)),
    ("plms",): (ALMOST, lambda p, x, v: papers.plms(p, x)),
    ("dpmpp_2s",): (ONE, lambda p, x, v: papers.dpmpp_2s(p, x)),
    ("dpmpp_2m",): (ONE, lambda p, x, v: papers.dpmpp_multistep(p, x, 2, False)),
    ("dpmpp_2m_sde",): (ONE, lambda p, x, v: papers.dpmpp_multistep(p, x, 2, True)),
    ("dpmpp_3m",): (ONE, lambda p, x, v: papers.dpmpp_3m(p, x, False)),
    ("dpmpp_3m", "full_order", True): (ONE, lambda p, x, v: papers.dpmpp_3m(p, x, True)),
    ("ddim_inverse",): (ONE, lambda p, x, v: papers.ddim_inverse(p, x)),
    ("unipc",): (ONE, lambda p, x, v: papers.unipc(p, x, 2)),
    ("unipc", "order", 3): (ONE, lambda p, x, v: papers.unipc(p, x, 3)),
    ("sa_solver", "predictor", 1, "corrector", 1):
        (ONE, lambda p, x, v: papers.sa_solver(p, x, taus(v), 1, 1)),
    ("lcm",): (DISTILLED, lambda p, x, v: papers.lcm(p, x, v[:-1] - 1)),
    ("tcd", "gamma", 0.3): (DISTILLED, lambda p, x, v: papers.tcd(p, x, alpha_s(v, 0.3, p))),
    ("tcd", "gamma", 1.0): (DISTILLED, lambda p, x, v: papers.tcd(p, x, alpha_s(v, 1.0, p))),
}  # fmt: skip


# PNDM's paper and the inversion know eps alone; diffusers' v is tested against diffusers.
EPS_ALONE = ("plms", "ddim_inverse")
RUNS = [(s, p) for s in CASES for p in schedules.PREDICTIONS if s[0] not in EPS_ALONE or p == "eps"]


@pytest.mark.parametrize(
    ("spec", "prediction"), RUNS, ids=lambda v: v if isinstance(v, str) else ",".join(map(str, v))
)
def test_the_table_is_the_papers_loop(spec, prediction):
    shape, loop = CASES[spec]
    name, options = spec[0], dict(zip(spec[1::2], spec[2::2], strict=True))
    schedule = schedules.Schedule(prediction=prediction)
    for count in COUNTS:
        visited, rows = shape(count)
        p, network, x = problem(schedule, visited, rows, count)
        table = build_table(name, schedule, rows, **options)
        want = loop(p, x, visited)
        asked = zip(table["alpha"], table["sigma"], strict=True)
        if table.to_noise:  # it asks with the time of the level above
            asked = zip(p.alpha[-2::-1], p.sigma[-2::-1], strict=True)
        nodes = iter(asked)
        got = run(table, x, p.zs, lambda x, t, nodes=nodes, f=network: f(x, *next(nodes)))
        assert relative(got, want) < 1e-8, (count, relative(got, want))


def test_every_sampler_is_compared_with_its_paper():
    assert {spec[0] for spec in CASES} == set(SAMPLERS)
