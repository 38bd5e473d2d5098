"""The mathematics, against closed forms and SciPy."""

import numpy as np
import pytest

from fastdiff.errors import FastdiffError
from fastdiff.metrics.frechet import Statistics, frechet_distance, statistics
from fastdiff.metrics.student import t_quantile, t_within

linalg = pytest.importorskip("scipy.linalg")
stats = pytest.importorskip("scipy.stats")


def gaussian(rng, d, rank=None):
    factor = rng.normal(size=(d, d if rank is None else rank))
    return Statistics(rng.normal(size=d), factor @ factor.T, 100)


@pytest.mark.parametrize("d", [1, 2, 7, 64])
def test_it_is_the_formula_with_scipys_matrix_root(d):
    rng = np.random.default_rng(d)
    a, b = gaussian(rng, d), gaussian(rng, d)
    root = linalg.sqrtm(a.cov @ b.cov)
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.cov + b.cov - 2 * root).real
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)


def test_commuting_covariances_have_a_closed_form():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(9, 9)))[0]
    u, v = rng.uniform(0.1, 4, 9), rng.uniform(0.1, 4, 9)
    a = Statistics(np.zeros(9), basis * u @ basis.T, 10)
    b = Statistics(np.full(9, 0.5), basis * v @ basis.T, 10)
    expected = 9 * 0.25 + ((np.sqrt(u) - np.sqrt(v)) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_one_dimension_is_the_distance_of_mean_and_deviation():
    a = Statistics(np.array([3.0]), np.array([[4.0]]), 5)
    b = Statistics(np.array([-1.0]), np.array([[49.0]]), 5)
    assert frechet_distance(a, b) == pytest.approx(16 + 25, rel=1e-14)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_singular_covariances_are_no_trouble(rank):
    """With fewer pictures than features: 0 to itself, and the right distance to a multiple."""
    a = gaussian(np.random.default_rng(rank), 8, rank)
    b = Statistics(a.mean, 9 * a.cov, a.count)
    assert frechet_distance(a, a) < 1e-6 * np.trace(a.cov)
    assert frechet_distance(a, b) == pytest.approx(4 * np.trace(a.cov), rel=1e-6)


def test_statistics_are_numpys_and_do_not_depend_on_the_input_type():
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    got = statistics(x)
    np.testing.assert_allclose(got.cov, np.cov(x.astype(np.float64).T), rtol=1e-12)
    np.testing.assert_allclose(got.mean, x.mean(axis=0, dtype=np.float64), rtol=1e-12)
    assert (got.mean.dtype, got.cov.dtype, got.count) == (np.float64, np.float64, 50)


def test_a_small_sample_of_the_same_gaussian_is_biased_upwards():
    """What the docstrings warn of: the smaller n, the larger the distance to the truth."""
    rng = np.random.default_rng(0)
    truth = Statistics(np.zeros(16), np.eye(16), 1)
    means = [
        np.mean([frechet_distance(statistics(rng.normal(size=(n, 16))), truth) for _ in range(20)])
        for n in (25, 100, 400, 1600)
    ]
    assert means == sorted(means, reverse=True)
    assert means[0] > 5 * means[-1]


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 10, 31])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_students_t_is_scipys(freedom, confidence):
    expected = stats.t.ppf((1 + confidence) / 2, freedom)
    assert t_quantile(confidence, freedom) == pytest.approx(expected, rel=1e-9)
    within = stats.t.cdf(1.7, freedom) - stats.t.cdf(-1.7, freedom)
    assert t_within(1.7, freedom) == pytest.approx(within, rel=1e-12)


def test_wrong_input_is_named():
    with pytest.raises(FastdiffError, match="at least 2 finite ones"):
        statistics(np.zeros((1, 3)))
    with pytest.raises(FastdiffError, match="at least 2 finite ones"):
        statistics(np.array([[0.0], [np.nan]]))
    a, b = (statistics(np.zeros((2, d))) for d in (3, 4))
    with pytest.raises(FastdiffError, match="equal widths"):
        frechet_distance(a, b)
    for confidence, freedom in ((0.0, 3), (1.0, 3), (0.9, 0)):
        with pytest.raises(FastdiffError, match="confidence and freedom"):
            t_quantile(confidence, freedom)
