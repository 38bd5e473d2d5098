"""From one image to another, from one seed to another, and from images to latents and back."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff import FastdiffError, schedules
from fastdiff.data.pictures import from_pixels
from fastdiff.requests.editing import mixed, slerp
from fastdiff.samplers import SamplerTable, build_table
from tests.engine import loops
from tests.engine.loops import AB, COURSE, at_level, call64, normals

SHAPE = (3, 8, 8)
RNG = np.random.default_rng(6)
A, B = RNG.uniform(-1, 1, (2, *SHAPE)).astype(np.float32)
CONTEXT = np.array([[0.0, 1.0, 0.0]])
ROUND_TRIP = 0.08


@pytest.fixture(scope="module")
def engine(listener):
    return fastdiff.compile(listener, "ddim", 10, backend="eager", dtype="float64")


def arc(a, b, w):
    """Shoemake 1985, for one pair and one weight, by the angle between the two."""
    a, b = a.ravel(), b.ravel()
    omega = np.arccos(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    out = np.sin((1 - w) * omega) / np.sin(omega) * a + np.sin(w * omega) / np.sin(omega) * b
    return out.reshape(SHAPE)


def predict(listener):
    return lambda x, level: call64(listener, x, level / 500, np.repeat(CONTEXT, len(x), axis=0))


@pytest.mark.parametrize("mix", ["linear", "spherical"])
def test_interpolation_is_the_papers_in_float64(listener, engine, mix):
    """Ho et al. 2020, figure 8, with DDIM's noise shared by all; 0.5 of 10 rows are 5."""
    levels, weights = range(250, 0, -50), [0, 0.25, 0.5, 0.75, 1]
    eps_a, eps_b = normals(SHAPE, [7, 8])
    start = []
    for w in weights:
        if mix == "linear":
            start.append((1 - w) * at_level(A, eps_a, 250) + w * at_level(B, eps_b, 250))
        else:
            start.append(at_level((1 - w) * A + w * B, arc(eps_a, eps_b, w), 250))
    expected = loops.ddim(
        predict(listener), np.array(start), levels, eta=0.6,
        z=lambda row: np.repeat(loops.step_normals(SHAPE, [7], row), 5, axis=0),
    )  # fmt: skip
    raw = []
    got = engine.interpolate(
        A, B, 5, seed=7, mix=mix, context="b", eta=0.6, on_step=lambda s: raw.append(s.x)
    )
    assert np.abs(raw[-1] - expected).max() < 5e-6
    np.testing.assert_array_equal(got.images, np.clip(raw[-1], -1, 1))
    assert list(got.rows) == [5] * 5
    assert [int(s) for s in got.seeds] == [7] * 5
    assert got.complete


@pytest.mark.parametrize("mix", ["linear", "spherical"])
@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m", "heun"])
def test_interpolation_ends_at_the_two_images_edited(engine, mix, sampler):
    options = {"sampler": sampler, "steps": 9, "strength": 0.5, "context": "a"}
    got = engine.interpolate(A, B, 3, seed=[4, 11], mix=mix, **options).images
    for image, seed, at in ((A, 4, 0), (B, 11, 2)):
        end = engine.sample(1, seed=seed, image=image, **options).images
        assert np.abs(got[at] - end[0]).max() < 1e-5
    one = engine.interpolate(A, B, 1, seed=[4, 11], mix=mix, **options).images
    assert np.abs(one - got[:1]).max() < 1e-6
    assert len(engine.interpolate(A, B, 0, **options)) == 0


def test_a_spherical_mixture_keeps_the_noise_that_the_model_is_told():
    """Half-way, what is not signal deviates by sigma on the arc and by 0.7 sigma on the line."""
    images, noises = np.zeros((2, 3, 64, 64)), normals((3, 64, 64), [20, 21])
    weights = np.array([0.25, 0.5])
    for mix, wanted in (("spherical", [1.0, 1.0]), ("linear", np.sqrt([10 / 16, 0.5]))):
        got = mixed(images, noises, 0.8, 0.6, weights, mix)
        np.testing.assert_allclose(got.std(axis=(1, 2, 3)) / 0.6, wanted, atol=0.02)
        assert got.dtype == np.float32


def test_uint8_images_and_chunks_make_no_difference(engine):
    pixels = RNG.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    a, b = from_pixels(pixels)
    whole = engine.interpolate(a, b, 7).images
    np.testing.assert_array_equal(engine.interpolate(*pixels, 7).images, whole)
    assert np.abs(engine.interpolate(a, b, 7, batch_size=2).images - whole).max() < 1e-5
    assert len(engine.interpolate(a, b)) == 9


@pytest.mark.parametrize("sampler", ["ddim", "heun", "unipc"])
def test_between_seeds_leads_from_one_image_to_the_other(listener, engine, sampler):
    options = {"sampler": sampler, "steps": 9, "context": "c", "guidance": 1.5}
    got = engine.between_seeds(3, 14, 5, **options)
    assert [int(s) for s in got.seeds] == [3] * 5
    for seed, at in ((3, 0), (14, 4)):
        assert np.abs(engine.sample(1, seed, **options).images - got.images[at]).max() < 1e-5
    assert np.abs(engine.between_seeds(3, 14, 1, **options).images - got.images[:1]).max() < 1e-6
    assert np.abs(engine.between_seeds(3, 3, 4, **options).images - got.images[:1]).max() < 1e-6
    assert len(engine.between_seeds(3, 14, 0, **options)) == 0
    assert len(engine.between_seeds(3, 14)) == 9


def test_between_seeds_is_the_arc_in_float64(listener, engine):
    a, b = normals(SHAPE, [3, 14])
    start = np.array([arc(a, b, w) for w in (0, 0.5, 1)])
    expected = loops.ddim(
        predict(listener), start, range(500, 0, -50), eta=1.0,
        z=lambda row: np.repeat(loops.step_normals(SHAPE, [3], row), 3, axis=0),
    )  # fmt: skip
    raw = []
    engine.between_seeds(3, 14, 3, context="b", eta=1.0, on_step=lambda s: raw.append(s.x))
    assert np.abs(raw[-1] - expected).max() < 5e-6


def test_between_seeds_starts_at_the_tables_own_scale():
    class Still(torch.nn.Module):
        def forward(self, x, t):
            return 0 * x

    model = fastdiff.DiffusionModel(Still(), schedules.EDMSchedule(sigma_max=7.0), SHAPE)
    engine = fastdiff.compile(model, "euler", 3, backend="eager")
    seen = []
    engine.between_seeds(0, 1, 2, on_step=lambda s: seen.append(s.x) or False)
    plain = []
    engine.sample(2, on_step=lambda s: plain.append(s.x) or False)
    np.testing.assert_allclose(seen[0], plain[0], atol=1e-5)


def test_slerp_is_an_arc_and_copes_with_its_edges():
    a, b = normals(SHAPE, [0, 1])
    w = np.linspace(0, 1, 7)
    expected = np.array([arc(a, b, v) for v in w])
    np.testing.assert_allclose(slerp(a, b, w), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(slerp(a, b, [0.0, 1.0]), [a, b])
    np.testing.assert_allclose(slerp(a, a, w), np.stack([a] * 7), rtol=1e-15)
    np.testing.assert_allclose(slerp(a, 3 * a, [0.5]), [2 * a], rtol=1e-15)
    near = a + 1e-9 * b
    np.testing.assert_allclose(slerp(a, near, [0.5]), [(a + near) / 2], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(slerp(0 * a, b, [0.5]), [b / 2])
    assert slerp(a.astype(np.float32), b, []).shape == (0, *SHAPE)
    unit = slerp(np.array([1.0, 0.0]), np.array([0.0, 1.0]), w)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, rtol=1e-15)
    np.testing.assert_allclose(np.degrees(np.arctan2(unit[:, 1], unit[:, 0])), 90 * w, atol=1e-12)
    with pytest.raises(FastdiffError, match="slerp: expected vectors that are not opposite"):
        slerp(a, -a, w)
    with pytest.raises(FastdiffError, match="slerp: expected two arrays of one shape"):
        slerp(a, b[0], w)
    with pytest.raises(FastdiffError, match="slerp: expected two arrays of one shape"):
        slerp(a, b, 0.5)


# --- there and back ------------------------------------------------------------------------


def inverse(predict, x, levels):
    """Dhariwal & Nichol 2021, section F: DDIM's step upwards, asked with the upper level's time."""
    for i, j in zip([0, *levels], levels, strict=False):
        eps = predict(x, j)
        x0 = (x - np.sqrt(1 - AB[i]) * eps) / np.sqrt(AB[i])
        x = np.sqrt(AB[j]) * x0 + np.sqrt(1 - AB[j]) * eps
    return x


def test_encode_is_ddim_backwards_in_float64(listener, engine):
    images = np.stack([A, B])
    expected = inverse(predict(listener), images.astype(np.float64), list(range(50, 501, 50)))
    got = engine.encode(images, context="b")
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
    assert np.abs(got).max() > 1.5  # not clipped
    for other in (
        engine.encode(images, context=["b", "b"], batch_size=1),
        np.concatenate([engine.encode(image, context="b") for image in images]),
    ):
        np.testing.assert_allclose(other, got, atol=1e-5)
    half = inverse(predict(listener), images.astype(np.float64), list(range(50, 251, 50)))
    np.testing.assert_allclose(
        engine.encode(images, context="b", strength=0.5), half, rtol=1e-6, atol=1e-6
    )
    np.testing.assert_array_equal(  # as many rows as the engine has, whatever its sampler
        fastdiff.compile(listener, "heun", 10, backend="eager", dtype="float64").encode(
            images, context="b"
        ),
        got,
    )
    assert engine.encode(images[:0]).shape == (0, *SHAPE)


def test_an_interrupt_leaves_no_part_of_the_latents(listener, monkeypatch):
    engine = fastdiff.compile(listener, "ddim", 5, backend="eager")
    whole, calls = engine._runner.run, []

    def interrupted(request):
        calls.append(request)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(request)

    monkeypatch.setattr(engine._runner, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.encode(np.stack([A, B]), batch_size=1)


def test_sprites_come_back_from_their_latents():
    """The error is of first order: it halves as the steps double. Bounds: twice what was found."""
    engine = fastdiff.compile("sprites16", "ddim", 30, backend="eager")
    context = ["monster", "player", "item"]
    images = engine.sample(seed=0, n=3, context=context).images
    errors = []
    for steps in (30, 60):
        latents = engine.encode(images, steps=steps, context=context)
        assert 0.6 < latents.std() < 1.1
        back = engine.sample(x_T=latents, steps=steps, context=context).images
        errors.append(np.sqrt(np.mean((back - images) ** 2)))
    assert errors[0] < ROUND_TRIP  # rms, of a range of 2
    assert errors[1] < 0.65 * errors[0]
    share = engine.encode(images, strength=0.5, context=context)
    back = engine.sample(x_T=share, strength=0.5, context=context).images
    assert np.sqrt(np.mean((back - images) ** 2)) < ROUND_TRIP
    print(errors, np.sqrt(np.mean((back - images) ** 2)))


# --- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.interpolate(A, B, -1), "n: expected an integer from 0 to"),
        (lambda e: e.interpolate(A, B, 2.5), "n: expected an integer from 0 to .* got 2.5"),
        (lambda e: e.interpolate(A, None), "b: expected an array of numbers, got object"),
        (lambda e: e.interpolate(A[:2], B), r"a: expected float \[3, 8, 8\]"),
        (lambda e: e.interpolate(A, 2 * B + 3), r"b: expected finite values in \[-1, 1\]"),
        (lambda e: e.interpolate(A, B, mix="cubic"), "mix: expected one of spherical, linear, got"),
        (lambda e: e.interpolate(A, B, seed=[1]), "seeds: expected 2 seeds for n=2, got 1"),
        (lambda e: e.interpolate(A, B, seed=2**64 - 1), r"seed: expected an integer from 0 to 2\*"),
        (lambda e: e.interpolate(A, B, strength=0), r"strength: expected a number in \(0, 1\], g"),
        (lambda e: e.interpolate(A, B, image=A), "x_T: expected none beside an image"),
        (lambda e: e.interpolate(A, B, mask=A), "mask: expected an image to keep a part of"),
        (lambda e: e.interpolate(A, B, colour=1), "colour: sampler 'ddim' takes eta"),
        (lambda e: e.interpolate(A, B, sampler="ddim_inverse"), "sampler: expected one that leads"),
        (lambda e: e.interpolate(A, B, batch_size=0), "batch_size: expected an integer"),
        (lambda e: e.between_seeds(0, 1, True), "n: expected an integer from 0 to .* got True"),
        (lambda e: e.between_seeds(0, 1.5), "seeds: expected integers, got 1.5"),
        (lambda e: e.between_seeds(-1, 1), r"seed: expected an integer from 0 to 2\*\*64"),
        (lambda e: e.between_seeds(0, 1, context="d"), "context: expected one of a, b, c, got 'd'"),
        (lambda e: e.encode(A[:2]), r"images: expected float \[3, 8, 8\] or \[1, 3, 8, 8\], got"),
        (lambda e: e.encode(A + 3), r"images: expected finite values in \[-1, 1\]"),
        (lambda e: e.encode(None), "images: expected an array of numbers, got object"),
        (lambda e: e.encode(A, steps=0), "steps: expected an integer from 1 to 500, got 0"),
        (lambda e: e.encode(A, eta=1), "eta: sampler 'ddim_inverse' takes clip, spacing, strength"),
        (lambda e: e.encode(A, context="d"), "context: expected one of a, b, c, got 'd'"),
        (lambda e: e.encode(A, batch_size=0), "batch_size: expected an integer of at least 1"),
    ],
)
def test_wrong_requests_are_named(engine, monkeypatch, call, message):
    monkeypatch.setattr(engine, "_runner", None)  # nothing may be drawn
    with pytest.raises(FastdiffError, match=message):
        call(engine)


def test_tables_are_cut_or_refused_here_too(listener):
    table = build_table("ddim", COURSE, 10)
    engine = fastdiff.compile(listener, table, backend="eager")
    by_name = fastdiff.compile(listener, "ddim", 10, backend="eager")
    np.testing.assert_array_equal(
        engine.interpolate(A, B, 3, strength=0.4).images,
        by_name.interpolate(A, B, 3, strength=0.4).images,
    )
    assert len(engine.between_seeds(0, 1, 3)) == 3
    unknown = SamplerTable.build("mine", {"t": [1.0], "x[0]": 0.7})
    with pytest.raises(FastdiffError, match="expected a table that knows its noise levels"):
        engine.interpolate(A, B, 3, sampler=unknown, strength=1)
    assert len(engine.between_seeds(0, 1, 3, sampler=unknown)) == 3
