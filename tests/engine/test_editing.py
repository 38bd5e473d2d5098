"""Image to image, inpainting and previews of x0: against plain loops in float64."""

import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff import FastdiffError, schedules
from fastdiff.data.pictures import from_pixels
from fastdiff.samplers import SAMPLERS, SamplerTable, build_table
from tests.engine import loops
from tests.engine.loops import COURSE, at_level, call64, final, normals

SHAPE = (3, 8, 8)
RNG = np.random.default_rng(5)
IMAGES = RNG.uniform(-1, 1, (3, *SHAPE)).astype(np.float32)
PIXELS = RNG.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
MASK = np.zeros((8, 8), dtype=bool)
MASK[2:6, 1:5] = True
SOFT = RNG.uniform(0, 1, (3, 1, 8, 8)).astype(np.float32)
SOFT[:, :, 0], SOFT[:, :, 1] = 0, 1
CONTEXT = np.eye(3)
NAMES = ["a", "b", "c"]

# name, rows, options, levels of its nodes, how many of them are left at strength 0.6, loop
KINDS = [
    ("ddim", 10, {}, range(500, 0, -50), 6, loops.ddim),
    ("ddim", 10, {"eta": 0.7}, range(500, 0, -50), 6, loops.ddim),
    ("dpmpp_2m", 10, {}, range(500, 0, -50), 6, loops.dpmpp_2m),
    ("heun", 9, {}, range(500, 0, -100), 3, loops.heun),
]
BY_KIND = pytest.mark.parametrize(("sampler", "rows", "options", "levels", "left", "loop"), KINDS)


@pytest.fixture(scope="module")
def engine(listener):
    return fastdiff.compile(listener, "ddim", 8, backend="eager")


def guided(model, scale=2.0):
    def predict(x, level):
        cond = call64(model, x, level / 500, CONTEXT)
        uncond = call64(model, x, level / 500, np.zeros((3, 3)))
        return uncond + scale * (cond - uncond)

    return predict


def keeping(mask, image, eps):
    return lambda x, level: mask * x + (1 - mask) * at_level(image, eps, level)


def noisy(loop, options, shape=SHAPE):
    """The loop with the step noise that the options ask for."""
    if not options:
        return loop
    return lambda *a, **k: loop(
        *a, **k, **options, z=lambda row: loops.step_normals(shape, [7, 8, 9], row)
    )


@BY_KIND
def test_an_image_is_drawn_again_from_its_noise(
    listener, sampler, rows, options, levels, left, loop
):
    walked = np.array(levels)[-left:]
    start = at_level(IMAGES, normals(SHAPE, [7, 8, 9]), walked[0])
    expected = noisy(loop, options)(guided(listener), start, walked)
    engine = fastdiff.compile(listener, sampler, rows, backend="eager", dtype="float64", **options)
    request = {"context": NAMES, "guidance": 2.0, "image": IMAGES}
    got = final(engine, 3, seed=7, strength=0.6, **request)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(got, final(engine, 3, seed=7, **request))  # 0.6 unless given


@BY_KIND
@pytest.mark.parametrize("strength", [None, 0.6])
def test_a_part_of_an_image_is_drawn_anew(
    listener, sampler, rows, options, levels, left, loop, strength
):
    walked = np.array(levels) if strength is None else np.array(levels)[-left:]
    eps = normals(SHAPE, [7, 8, 9])
    # At full strength the start is the seed's own noise, else the image's.
    start = eps if strength is None else at_level(IMAGES, eps, walked[0])
    mix = keeping(SOFT, IMAGES.astype(np.float64), eps)
    expected = noisy(loop, options)(guided(listener), start, walked, mix=mix)
    engine = fastdiff.compile(listener, sampler, rows, backend="eager", dtype="float64", **options)
    got = final(
        engine, 3, seed=7, context=NAMES, guidance=2.0, image=IMAGES, mask=SOFT, strength=strength
    )
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "ddim_inverse"])
def test_every_sampler_keeps_what_it_is_told_to(listener, sampler):
    engine = fastdiff.compile(listener, sampler, 8, backend="eager")
    clean = from_pixels(PIXELS)
    for strength in (None, 0.5):
        got = engine.sample(3, image=PIXELS, mask=MASK, strength=strength, seed=2, context=NAMES)
        np.testing.assert_array_equal(got.images[:, :, ~MASK], clean[:, :, ~MASK])
        assert np.isfinite(got.images).all()
        assert np.abs(got.images - clean)[:, :, MASK].max() > 0.1
        assert set(got.rows) == ({8} if strength is None else {len(
            build_table(sampler, COURSE, 8, strength=0.5)
        )})  # fmt: skip
    again = engine.sample(3, image=PIXELS, strength=0.5, seed=2, context=NAMES)
    assert np.isfinite(again.images).all()


def test_the_ends_of_mask_and_strength(engine):
    plain = engine.sample(3, seed=4, context=NAMES).images
    ones = engine.sample(3, seed=4, context=NAMES, image=IMAGES, mask=np.ones((8, 8))).images
    np.testing.assert_array_equal(ones, plain)  # nothing kept: the seed's own image
    none = engine.sample(3, seed=4, image=IMAGES, mask=np.zeros((8, 8))).images
    np.testing.assert_array_equal(none, IMAGES)
    # What is drawn anew does not see what was there.
    other = np.where(MASK, -IMAGES, IMAGES)
    np.testing.assert_array_equal(
        engine.sample(3, image=IMAGES, mask=MASK).images,
        engine.sample(3, image=other, mask=MASK).images,
    )
    # The less strength, the nearer to the image; at 1 a trace of it is left, as the level says.
    far = [
        np.abs(engine.sample(3, image=IMAGES, strength=s, context=NAMES).images - IMAGES).mean()
        for s in (0.125, 0.25, 0.5, 1.0)
    ]
    assert far == sorted(far)
    whole = engine.sample(3, seed=4, image=IMAGES, strength=1, context=NAMES).images
    level = at_level(IMAGES, normals(SHAPE, [4, 5, 6]), 500)
    started = engine.sample(3, seed=4, x_T=level, context=NAMES).images
    assert np.abs(whole - started).max() < 1e-5


def test_images_and_masks_as_people_have_them(engine):
    clean = from_pixels(PIXELS)
    request = {"seed": [3, 4, 5], "strength": 0.5}
    expected = engine.sample(image=clean, **request).images
    for image in (PIXELS, torch.from_numpy(PIXELS), clean.astype(np.float64), clean.tolist()):
        np.testing.assert_array_equal(engine.sample(image=image, **request).images, expected)
    one = engine.sample(image=clean[0], **request).images
    np.testing.assert_array_equal(one, engine.sample(image=PIXELS[0], **request).images)
    np.testing.assert_array_equal(one[0], expected[0])
    assert np.abs(one[1] - expected[1]).max() > 0.1
    kept = engine.sample(3, image=PIXELS, mask=MASK).images
    for mask in (
        *(MASK.astype(int), MASK.tolist(), MASK[None], MASK[None, None]),
        *(np.stack([MASK] * 3), np.stack([MASK[None]] * 3), MASK.astype(np.float16)),
    ):
        np.testing.assert_array_equal(engine.sample(3, image=PIXELS, mask=mask).images, kept)
    # As many as there are images or masks.
    assert len(engine.sample(image=PIXELS)) == 3
    assert len(engine.sample(image=PIXELS[0])) == 1
    assert len(engine.sample(image=PIXELS[0], mask=np.stack([MASK] * 2))) == 2
    assert len(engine.sample(image=PIXELS[0], mask=np.stack([MASK[None]] * 4))) == 4
    assert len(engine.sample(0, image=PIXELS[0], mask=MASK)) == 0
    assert len(engine.sample(image=PIXELS[:0])) == 0


def test_an_edited_image_depends_on_its_seed_alone(engine):
    per_sample = {
        "context": [NAMES[k % 3] for k in range(6)],
        "guidance": np.linspace(0, 4, 6),
        "guidance_rescale": np.linspace(0, 1, 6),
        "image": np.concatenate([IMAGES, -IMAGES]),
        "mask": np.concatenate([SOFT, 1 - SOFT]),
    }
    options = {"sampler": "dpmpp_2m_sde", "steps": 10, "strength": 0.8, "guidance_until": 0.7}
    batch = engine.sample(6, seed=3, **per_sample, **options).images
    alone = [
        engine.sample(1, seed=3 + k, **{w: v[k : k + 1] for w, v in per_sample.items()}, **options)
        for k in range(6)
    ]
    backwards = engine.sample(
        seed=range(8, 2, -1), **{what: v[::-1] for what, v in per_sample.items()}, **options
    ).images[::-1]
    chunks = engine.sample(6, seed=3, batch_size=4, **per_sample, **options).images
    for other in (np.concatenate([s.images for s in alone]), backwards, chunks):
        assert np.abs(other - batch).max() < 1e-5


def test_many_threads_edit_with_one_engine(engine):
    def draw(seed):
        request = {"image": IMAGES[seed % 3], "mask": MASK, "sampler": "heun", "steps": 7}
        return engine.sample(2, seed=seed, **request).images

    alone = [draw(seed) for seed in range(6)]
    together = [None] * 6

    def work(seed):
        together[seed] = draw(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(alone, together, strict=True):
        assert np.abs(a - b).max() < 1e-5


def test_edits_are_cancelled_and_interrupted_like_any_request(engine):
    got = engine.sample(
        5, image=IMAGES[0], strength=0.5, batch_size=2,
        on_step=lambda s: not (s.first == 2 and s.row == 3),
    )  # fmt: skip
    assert not got.complete
    assert list(got.rows) == [4, 4, 3, 3]

    def interrupt(step):
        if step.first == 4:
            raise KeyboardInterrupt

    got = engine.sample(9, image=IMAGES[0], mask=MASK, batch_size=2, on_step=interrupt)
    assert (len(got), got.complete) == (4, False)


def test_what_on_step_sees_holds_the_kept_part_at_its_level(engine):
    eps = normals(SHAPE, [0, 1, 2])
    seen = []
    engine.sample(3, image=IMAGES, mask=MASK, on_step=seen.append)
    for step, level in zip(seen, [438, 375, 312, 250, 188, 125, 62, 0], strict=True):
        expected = at_level(IMAGES, eps, level)[:, :, ~MASK]
        assert np.abs(step.x[:, :, ~MASK] - expected).max() < 1e-5


# --- a given table and a scheduler are cut --------------------------------------------------


def test_a_given_table_is_cut_where_nothing_looks_back(listener):
    by_name = fastdiff.compile(listener, "ddim", 10, backend="eager", eta=0.5)
    table = build_table("ddim", COURSE, 10, eta=0.5)
    given = fastdiff.compile(listener, table, backend="eager")
    request = {"image": IMAGES, "strength": 0.3, "context": NAMES}
    expected = by_name.sample(3, **request)
    assert list(expected.rows) == [3, 3, 3]
    for got in (given.sample(3, **request), by_name.sample(3, sampler=table, **request)):
        np.testing.assert_array_equal(got.images, expected.images)
    # Heun's pairs can be cut between two of them, not inside one.
    heun = fastdiff.compile(listener, build_table("heun", COURSE, 9), backend="eager")
    assert list(heun.sample(1, image=IMAGES[0], strength=5 / 9).rows) == [5]
    with pytest.raises(FastdiffError, match=r"strength: 'heun:9' looks back 1 rows, .* last 4 of"):
        heun.sample(1, image=IMAGES[0], strength=0.5)
    for name, depth in (("dpmpp_2m", 1), ("dpmpp_3m", 2), ("lms", 3)):
        table = build_table(name, COURSE, 20)
        message = f"looks back {depth} rows, beyond the last 10 of 20 .use the sampler by name"
        with pytest.raises(FastdiffError, match=message):
            by_name.sample(1, sampler=table, image=IMAGES[0], strength=0.5)
        whole = by_name.sample(1, sampler=table, image=IMAGES[0], strength=1)
        assert list(whole.rows) == [20]


def test_a_foreign_scheduler_is_a_table_too(listener, monkeypatch):
    class Foreign:
        """What an engine knows a scheduler of diffusers by."""

        kind = "ddim"

        def set_timesteps(self, n):
            raise AssertionError("the engine leaves this to from_diffusers")

        def step(self, m, t, x):
            raise AssertionError("and this")

    def from_diffusers(scheduler, steps, *, schedule, begin=0, **options):
        assert schedule == COURSE
        share = {} if begin == 0 else {"strength": (steps - begin) / steps}
        return build_table(scheduler.kind, schedule, steps, **share, **options)

    monkeypatch.setattr("fastdiff.samplers.from_diffusers", from_diffusers)
    foreign = Foreign()
    engine = fastdiff.compile(listener, foreign, 10, backend="eager")
    ours = fastdiff.compile(listener, "ddim", 10, backend="eager")
    foreign.kind = "ddpm"  # the engine has its own
    edit = {"image": IMAGES, "strength": 0.4}
    for request in ({}, {"steps": 5}, edit, {"steps": 5, "eta": 0.5, **edit}):
        got = engine.sample(3, context=NAMES, **request)
        expected = ours.sample(3, context=NAMES, **request)
        np.testing.assert_array_equal(got.images, expected.images)
        assert list(got.rows) == list(expected.rows)
    assert list(ours.sample(1, sampler=Foreign(), steps=3).rows) == [3]
    with pytest.raises(FastdiffError, match="steps: expected how many with a scheduler object"):
        fastdiff.compile(listener, Foreign(), backend="eager")
    with pytest.raises(FastdiffError, match="steps: expected how many with a scheduler object"):
        ours.sample(1, sampler=Foreign())
    with pytest.raises(FastdiffError, match="begin: expected none, the engine gives"):
        ours.sample(1, sampler=Foreign(), steps=3, begin=1)
    with pytest.raises(FastdiffError, match="sampler: expected one of"):
        ours.sample(1, sampler=Foreign, steps=3)  # the class, not an object


# NumPy 2 about how diffusers reads a tensor
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", ["DDIMScheduler", "DPMSolverMultistepScheduler"])
def test_a_scheduler_of_diffusers_edits_like_our_own(listener, name):
    diffusers = pytest.importorskip("diffusers")
    from fastdiff.samplers import diffusers_config

    config = {**diffusers_config(COURSE), "timestep_spacing": "trailing"}
    if name == "DDIMScheduler":
        config |= {"clip_sample": False, "set_alpha_to_one": True}
    scheduler = getattr(diffusers, name)(**config)
    ours = {"DDIMScheduler": "ddim", "DPMSolverMultistepScheduler": "dpmpp_2m"}[name]
    engine = fastdiff.compile(listener, scheduler, 10, backend="eager")
    request = {"image": IMAGES, "mask": SOFT, "strength": 0.6, "context": NAMES}
    got, expected = engine.sample(3, **request), engine.sample(3, sampler=ours, steps=10, **request)
    assert list(got.rows) == [6, 6, 6]
    assert np.abs(got.images - expected.images).max() < 1e-3


# --- previews ------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [None, (-0.3, 0.4)])
def test_x0_is_what_each_row_takes_the_image_for(listener, clip):
    expected = []
    levels = range(500, 0, -100)
    loops.ddim(guided(listener), normals(SHAPE, [0, 1, 2]), levels, clip=clip, seen=expected)
    engine = fastdiff.compile(listener, "ddim", 5, backend="eager", dtype="float64", clip=clip)
    steps = []
    engine.sample(3, context=NAMES, guidance=2.0, on_step=steps.append)
    for step, x0 in zip(steps, expected, strict=True):  # asked for long afterwards
        assert step.x0.dtype == np.float32
        np.testing.assert_allclose(step.x0, x0, rtol=1e-6, atol=1e-6)
        assert step.x0 is step.x0
    np.testing.assert_allclose(steps[-1].x, steps[-1].x0, atol=1e-6)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "heun", "unipc", "lcm", "ddpm"])
def test_x0_of_every_kind_of_sampler_is_within_its_bounds(listener, sampler):
    engine = fastdiff.compile(listener, sampler, 6, backend="eager", clip=(-0.2, 0.2))
    steps = []
    engine.sample(2, context="a", on_step=steps.append, image=IMAGES[0], mask=MASK)
    for step in steps:
        assert np.abs(step.x0).max() <= 0.2 + 1e-6
        assert np.abs(step.x0).max() > 0.1


def test_x0_is_computed_only_when_asked_for(listener, monkeypatch):
    from fastdiff.backends import eager

    calls = []
    real = eager.predicted_x0
    monkeypatch.setattr(eager, "predicted_x0", lambda *a: calls.append(1) or real(*a))
    engine = fastdiff.compile(listener, "ddim", 5, backend="eager")
    engine.sample(2, on_step=lambda step: None)
    assert not calls
    engine.sample(2, on_step=lambda step: step.row == 3 and step.x0 is None)
    assert not calls  # cancelled at row 1: 1 == 3 is False
    engine.sample(2, on_step=lambda step: step.x0.shape == (2, *SHAPE))
    assert len(calls) == 5


def test_a_table_without_the_formula_of_x0_says_so(listener):
    table = SamplerTable.build("mine", {"t": [1.0, 0.5], "x[0]": 1.0, "m[0]": -0.5})
    engine = fastdiff.compile(listener, table, backend="eager")
    engine.sample(1, on_step=lambda step: None)
    with pytest.raises(FastdiffError, match="x0: 'mine' does not say in row 0 how the image"):
        engine.sample(1, on_step=lambda step: step.x0)


# --- sigma-space ---------------------------------------------------------------------------


def test_a_model_in_sigma_space_edits_too(tiny_model, tmp_path):
    edm = schedules.EDMSchedule(sigma_max=10.0)

    class Shrink(torch.nn.Module):
        def forward(self, x, t):
            return 0.5 * torch.tanh(x) * t[:, None, None, None]

    model = fastdiff.DiffusionModel(Shrink(), edm, SHAPE)
    engine = fastdiff.compile(model, "heun", 9, backend="eager", dtype="float64")
    table = build_table("heun", edm, 9, strength=0.6)
    x = IMAGES + table["sigma"][0] * normals(SHAPE, [0, 1, 2])
    np.testing.assert_allclose(
        final(engine, 3, image=IMAGES, strength=0.6),
        final(engine, 3, x_T=x, sampler=table),
        atol=2e-5,  # x_T is float32 and sigma some units
    )
    kept = engine.sample(3, image=IMAGES, mask=MASK).images
    np.testing.assert_array_equal(kept[:, :, ~MASK], IMAGES[:, :, ~MASK])
    with pytest.raises(FastdiffError, match="model: expected a schedule with levels, got EDM"):
        fastdiff.save(fastdiff.DiffusionModel(tiny_model.module, edm, SHAPE, 3), tmp_path / "m")


# --- what is refused -----------------------------------------------------------------------

BLANK = np.zeros(SHAPE, np.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": np.zeros((3, 8, 9))}, r"image: expected float \[3, 8, 8\] or \[2, 3, 8, 8\], g"),
        ({"image": np.zeros((3, 3, 8, 8))}, r"image: expected float .* got \[3, 3, 8, 8\]"),
        ({"image": np.zeros((1, 3, 8, 8))}, r"image: expected float .* got \[1, 3, 8, 8\]"),
        ({"image": np.zeros(SHAPE, np.uint8)}, r"image: expected uint8 \[8, 8, 3\] or \[2, 8, 8, "),
        ({"image": np.zeros((8, 8, 3))}, r"image: expected float \[3, 8, 8\] .* got \[8, 8, 3\]"),
        ({"image": BLANK.astype(int)}, r"image: expected floats in \[-1, 1\] or uint8, got int64"),
        ({"image": BLANK + 2}, r"image: expected finite values in \[-1, 1\], got 2 to 2"),
        ({"image": BLANK + np.nan}, "image: expected finite values in"),
        ({"image": "cat.png"}, "image: expected an array of numbers, got <U7"),
        ({"image": [[1.0], [1.0, 2.0]]}, "image: expected an array of numbers"),
        ({"image": BLANK, "x_T": np.zeros((2, *SHAPE))}, "x_T: expected none beside an image"),
        ({"image": BLANK, "strength": 0}, r"strength: expected a number in \(0, 1\], got 0"),
        ({"image": BLANK, "strength": 1.5}, r"strength: expected a number in \(0, 1\], got 1.5"),
        ({"image": BLANK, "strength": float("nan")}, "strength: expected a number in"),
        ({"image": BLANK, "strength": "half"}, "strength: expected a number in .* got 'half'"),
        ({"image": BLANK, "strength": True}, "strength: expected a number in .* got True"),
        ({"strength": 0.5}, "strength: expected an image or x_T to start from, got neither"),
        ({"mask": MASK}, "mask: expected an image to keep a part of, got none"),
        ({"image": BLANK, "mask": np.zeros((8, 9))}, r"mask: expected \[8, 8\], \[2, 8, 8\] or "),
        ({"image": BLANK, "mask": np.zeros((3, 8, 8))}, r"mask: expected .* got \[3, 8, 8\]"),
        ({"image": BLANK, "mask": np.zeros((2, 3, 8, 8))}, r"mask: expected .* got \[2, 3, 8, 8\]"),
        ({"image": BLANK, "mask": MASK * 255}, "mask: expected bool or numbers from 0 .* 0 to 255"),
        ({"image": BLANK, "mask": MASK * np.nan}, "mask: expected bool or numbers from 0"),
        ({"image": BLANK, "mask": "hole.png"}, "mask: expected an array of numbers"),
        ({"sampler": "ddim_inverse"}, "sampler: expected one that leads to an image, .*encode"),
        ({"x_T": lambda table: "noise"}, "x_T: expected an array of numbers"),
    ],
)
def test_wrong_edits_are_named_before_anything_is_drawn(engine, options, message):
    with pytest.raises(FastdiffError, match=message):
        engine.sample(2, **options, on_step=lambda s: pytest.fail("it drew something"))


def test_a_table_of_unknown_levels_draws_but_edits_nothing(listener):
    table = SamplerTable.build("mine", {"t": [1.0, 0.5], "x[0]": 0.7, "m[0]": -0.3})
    half = SamplerTable.build(
        "half", {"t": [1.0, 0.5], "x[0]": 0.7, "m[0]": -0.3, "alpha": [0.1, 0], "sigma": [0.9, 0]}
    )
    engine = fastdiff.compile(listener, table, backend="eager")
    assert len(engine.sample(2)) == 2
    message = "image: expected a table that knows its noise levels, 'mine' does not"
    for request in ({"strength": 1}, {"mask": MASK}):
        with pytest.raises(FastdiffError, match=message):
            engine.sample(2, image=BLANK, **request)
    assert len(engine.sample(2, sampler=half, image=BLANK, strength=1)) == 2
    with pytest.raises(FastdiffError, match="'half' does not"):
        engine.sample(2, sampler=half, image=BLANK, mask=MASK)


def test_strength_belongs_to_the_request(listener):
    with pytest.raises(FastdiffError, match="strength: expected with the image that it is for"):
        fastdiff.compile(listener, "ddim", 10, backend="eager", strength=0.5)
    engine = fastdiff.compile(listener, "ddim_inverse", 5, backend="eager")
    with pytest.raises(FastdiffError, match=r"leads to noise \(engine.encode runs it\)"):
        engine.sample(1)
    assert len(engine.sample(1, sampler="ddim")) == 1
