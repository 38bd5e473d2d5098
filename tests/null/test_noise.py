"""The noise contract: published vectors, golden vectors, independence, distribution."""

import numpy as np
import pytest

from fastdiff import FastdiffError, noise
from tests.conftest import golden_lines


def test_philox_gives_the_published_random123_vectors():
    rows = [[int(v, 16) for v in line] for line in golden_lines("philox4x32_10.txt")]
    table = np.array(rows, dtype=np.uint32)
    got = noise.philox4x32_10(table[:, :4], table[:, 4:6])
    assert len(rows) == 3
    np.testing.assert_array_equal(got, table[:, 6:])


def test_words_uniforms_and_normals_equal_the_golden_vectors():
    count = 0
    for seed, step, stream, element, word, bits, normal in golden_lines("noise.txt"):
        seeds = np.array([int(seed, 16)], dtype=np.uint64)
        first, k = int(element) // 4 * 4, int(element) % 4
        where = (seeds, int(step), int(stream), 4, first)
        assert noise.words(*where)[0, k] == int(word, 16)
        assert noise.uniform(*where)[0, k].view(np.uint32) == int(bits, 16)
        assert abs(float(noise.normal(*where)[0, k]) - float(normal)) <= 2e-7 * max(
            1.0, abs(float(normal))
        )
        count += 1
    assert count > 800


def test_noise_depends_on_seed_step_stream_and_element_alone():
    seeds = noise.as_seeds([5, 2**40, 3])
    whole = noise.normal(seeds, 7, noise.STREAM_STEP, 50)
    for k, seed in enumerate(seeds):
        np.testing.assert_array_equal(noise.normal(seeds[k : k + 1], 7, 1, 50)[0], whole[k])
        np.testing.assert_array_equal(
            noise.normal(noise.as_seeds([seed]), 7, 1, 13)[0], whole[k, :13]
        )
    np.testing.assert_array_equal(noise.normal(seeds, 7, 1, 22, first_element=28), whole[:, 28:])
    steps = np.array([1, 7, 9], dtype=np.uint32)
    np.testing.assert_array_equal(noise.normal(seeds, steps, 1, 50)[1], whole[1])
    for other in (noise.normal(seeds, 8, 1, 50), noise.normal(seeds, 7, 2, 50)):
        assert not np.isclose(other, whole, atol=1e-3).all(axis=1).any()


def test_normals_have_the_moments_of_a_standard_normal():
    z = noise.normal(noise.as_seeds(1000, 256), 0, 0, 4096).astype(np.float64)
    n = z.size  # the bounds are 5 standard errors
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)
    # Box-Muller's pairs, neighbours and samples with neighbouring seeds are uncorrelated.
    for a, b in ((z[:, 0::2], z[:, 1::2]), (z[:, :-1], z[:, 1:]), (z[:-1], z[1:])):
        assert abs((a * b).mean()) < 5 / np.sqrt(a.size)
    # Exact tail probabilities: P(|z| > 3) = 0.0026998.
    tail = (np.abs(z) > 3).mean()
    assert abs(tail - 0.0026998) < 5 * np.sqrt(0.0027 / n)


def test_uniforms_lie_in_the_half_open_interval_even_for_extreme_words():
    w = np.array([0, 1, 2**24 + 1, 2**31, 2**32 - 129, 2**32 - 1], dtype=np.uint32)
    u = noise.uniform_from_words(w)
    assert u.dtype == np.float32
    assert (u > 0).all()
    assert u[-1] == 1.0
    assert u[-2] < 1.0
    assert np.isfinite(noise.normal_from_uniform(np.repeat(u, 4).reshape(-1, 4))).all()


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 768])
@pytest.mark.parametrize("n", [0, 1, 3])
def test_shapes_of_any_count(n, count):
    seeds = noise.as_seeds(0, n)
    assert noise.normal(seeds, 0, 0, count).shape == (n, count)
    assert noise.words(seeds, 0, 0, count).dtype == np.uint32


@pytest.mark.parametrize(
    ("seed", "n", "message"),
    [
        (-1, None, "0 to 2\\*\\*64 - 1, got -1"),
        (2**64 - 1, 2, "got 18446744073709551616"),
        ([1, 2], 3, "expected 3 seeds for n=3, got 2"),
        ([1, "2"], None, "expected integers, got '2'"),
        (True, None, "got True"),
    ],
)
def test_wrong_seeds_are_named(seed, n, message):
    with pytest.raises(FastdiffError, match=message):
        noise.as_seeds(seed, n)


def test_seeds_count_up_and_lists_are_taken_as_they_are():
    np.testing.assert_array_equal(noise.as_seeds(7, 3), [7, 8, 9])
    np.testing.assert_array_equal(
        noise.as_seeds([9, 9, 2**64 - 1]), np.array([9, 9, 2**64 - 1], np.uint64)
    )
