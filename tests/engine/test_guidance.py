"""Guidance rescale and guidance for a part of the rows, and clamping, on every kind of sampler."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff import FastdiffError
from tests.engine import loops
from tests.engine.loops import COURSE, call64, final, normals

CONTEXT = np.eye(3)
SCALES = np.array([0.0, 1.0, 6.0])
PHI = np.array([0.3, 1.0, 0.7])


def guided(model, until_level=0, scales=SCALES, phi=PHI):
    """eps with guidance above ``until_level``, rescaled as Lin et al. 2024, equations 15 and 16."""

    def predict(x, level):
        cond = call64(model, x, level / 500, CONTEXT)
        if level <= until_level:
            return cond
        uncond = call64(model, x, level / 500, np.zeros((3, 3)))
        out = np.empty_like(cond)
        for k in range(3):
            m = uncond[k] + scales[k] * (cond[k] - uncond[k])
            rescaled = m * (np.std(cond[k], ddof=1) / np.std(m, ddof=1))
            out[k] = phi[k] * rescaled + (1 - phi[k]) * m
        return out

    return predict


# name, rows, levels that its nodes have, loop
KINDS = [
    ("ddim", 10, range(500, 0, -50), loops.ddim),
    ("dpmpp_2m", 10, range(500, 0, -50), loops.dpmpp_2m),
    ("heun", 9, range(500, 0, -100), loops.heun),
]
BY_NAME = pytest.mark.parametrize(("sampler", "rows", "levels", "loop"), KINDS)


@BY_NAME
def test_rescaled_guidance_is_the_papers_in_float64(listener, sampler, rows, levels, loop):
    x = normals((3, 8, 8), [0, 1, 2])
    expected = loop(guided(listener), x, np.array(levels))
    engine = fastdiff.compile(listener, sampler, rows, backend="eager", dtype="float64")
    request = {"context": ["a", "b", "c"], "guidance": SCALES}
    got = final(engine, 3, guidance_rescale=PHI, **request)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
    # Its own effect, and that one phi for all is as good as n.
    assert np.abs(got - final(engine, 3, **request)).max() > 0.01
    all_one = final(engine, 3, guidance_rescale=1.0, **request)
    np.testing.assert_array_equal(all_one, final(engine, 3, guidance_rescale=np.ones(3), **request))


@BY_NAME
@pytest.mark.parametrize("until", [0.0, 0.6, 1.0])
def test_guidance_ends_at_its_row(listener, sampler, rows, levels, loop, until):
    model, sizes = watched(listener)
    engine = fastdiff.compile(model, sampler, rows, backend="eager", dtype="float64")
    got = final(
        engine, 3, context=["a", "b", "c"], guidance=SCALES, guidance_rescale=PHI,
        guidance_until=until,
    )  # fmt: skip
    on = round(until * rows)
    assert sizes == [6] * on + [3] * (rows - on)  # twice the batch, or once
    # The first level without guidance. Heun's rows are two a level, the second one level lower;
    # 0.6 of 9 rows are 5, whose sixth is the second of its level: see by_rows.
    x = normals((3, 8, 8), [0, 1, 2])
    expected = loop(by_rows(listener, on), x, np.array(levels))
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def watched(model):
    """The model, and the batch sizes of its calls."""
    sizes = []

    class Watched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = copy.deepcopy(model.module)

        def forward(self, x, t, context):
            sizes.append(len(x))
            return self.inner(x, t, context)

        def __deepcopy__(self, memo):
            return Watched()

    return fastdiff.DiffusionModel(Watched(), COURSE, (3, 8, 8), 3, ("a", "b", "c")), sizes


def by_rows(model, on):
    """eps with guidance in the first ``on`` calls, whatever their level."""
    calls = 0
    with_guidance, without = guided(model), guided(model, until_level=500)

    def predict(x, level):
        nonlocal calls
        calls += 1
        return with_guidance(x, level) if calls <= on else without(x, level)

    return predict


@BY_NAME
def test_x0_is_clamped_to_what_was_asked(listener, sampler, rows, levels, loop):
    clip = (-0.4, 0.3)
    x = normals((3, 8, 8), [0, 1, 2])
    expected = loop(guided(listener), x, np.array(levels), clip=clip)
    engine = fastdiff.compile(listener, sampler, rows, backend="eager", dtype="float64", clip=clip)
    request = {"context": ["a", "b", "c"], "guidance": SCALES, "guidance_rescale": PHI}
    got = final(engine, 3, **request)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
    assert got.min() >= -0.4 - 1e-6
    assert got.max() <= 0.3 + 1e-6
    assert np.abs(got - final(engine, 3, clip=None, **request)).max() > 0.1


def test_an_output_without_deviation_stays_as_it_is():
    from fastdiff.backends.eager import guide

    flat = torch.ones(2, 3, 4, 4)
    scale, phi = torch.tensor([2.0, 2.0]), torch.tensor([1.0, 0.0])
    assert torch.equal(guide(flat, flat, scale, phi), flat)
    varied = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    without = guide(varied, 2 * varied, scale, None)
    assert torch.equal(guide(varied, 2 * varied, scale, phi)[1], without[1])  # phi 0: bit for bit


def test_phi_without_guidance_changes_nothing(listener):
    """Scale 1 is the conditional output itself, whose deviation is its own."""
    engine = fastdiff.compile(listener, steps=4, backend="eager")
    plain = engine.sample(2, context="a").images
    np.testing.assert_array_equal(
        engine.sample(2, context="a", guidance_rescale=0.7, guidance_until=0.5).images, plain
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guidance_rescale": 1.5}, "guidance_rescale: expected numbers from 0 to 1, got 1.5"),
        ({"guidance_rescale": [0.5, float("nan")]}, "guidance_rescale: expected numbers from 0"),
        ({"guidance_rescale": [1, 1, 1]}, r"guidance_rescale: expected a number or \[2\], got"),
        ({"guidance_rescale": "much"}, "guidance_rescale: expected a number or 2 numbers"),
        ({"guidance_until": 1.1}, "guidance_until: expected a number from 0 to 1, got 1.1"),
        ({"guidance_until": -0.1}, "guidance_until: expected a number from 0 to 1, got -0.1"),
        ({"guidance_until": True}, "guidance_until: expected a number from 0 to 1, got True"),
        ({"guidance_until": float("nan")}, "guidance_until: expected a number from 0 to 1"),
        ({"guidance_until": "late"}, "guidance_until: expected a number from 0 to 1, got 'late'"),
    ],
)
def test_wrong_guidance_is_named(listener, options, message):
    engine = fastdiff.compile(listener, steps=4, backend="eager")
    with pytest.raises(FastdiffError, match=message):
        engine.sample(
            2, context="a", guidance=2.0, on_step=lambda s: pytest.fail("drew"), **options
        )
