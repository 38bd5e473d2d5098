"""The engine on the eager backend: against transcriptions, and every promise of ``sample``."""

import copy
import dataclasses
import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff import FastdiffError, noise, noise_torch, schedules
from fastdiff.backends.eager import sampler_update
from fastdiff.samplers.table import COLUMNS, INDEX, SamplerTable
from tests.conftest import golden_lines
from tests.engine.loops import call64

COURSE = schedules.course()


@pytest.fixture(scope="module")
def engine(tiny_model):
    return fastdiff.compile(tiny_model, sampler="ddim", steps=5, backend="eager")


def start(model, n, seed=0):
    """x_T by the NumPy reference of the noise."""
    shape = model.sample_shape
    z = noise.normal(noise.as_seeds(seed, n), 0, noise.STREAM_INIT, int(np.prod(shape)))
    return z.reshape(n, *shape).astype(np.float64)


@pytest.mark.parametrize("noisy", [True, False])
def test_ddpm_is_the_course_loop_in_float64(listener, noisy):
    b, a, ab = COURSE.beta, COURSE.alpha, COURSE.alpha_bar
    context = np.tile([0.0, 1.0, 0.0], (2, 1))
    x = start(listener, 2, seed=3)
    for step, i in enumerate(range(500, 0, -1)):
        z = noise.normal(noise.as_seeds(3, 2), step, noise.STREAM_STEP, x[0].size)
        z = z.reshape(x.shape) if noisy and i > 1 else 0.0
        eps = call64(listener, x, i / 500, context)
        x = (x - eps * (1 - a[i]) / np.sqrt(1 - ab[i])) / np.sqrt(a[i]) + np.sqrt(b[i]) * z
    raw = []
    engine = fastdiff.compile(listener, "ddpm", 500, backend="eager", dtype="float64", noise=noisy)
    got = engine.sample(2, seed=3, context="b", on_step=lambda s: raw.append(s.x), every=500)
    assert np.abs(raw[-1] - x).max() <= 1e-6 * max(1.0, np.abs(x).max())  # float32 on the way out
    np.testing.assert_array_equal(got.images, np.clip(raw[-1], -1, 1))


def test_ddim_with_guidance_is_the_formula_in_float64(listener):
    ab = COURSE.alpha_bar
    g = np.array([0.0, 1.0, 2.5])[:, None, None, None]
    context = np.eye(3)
    x = start(listener, 3)
    for i in range(500, 0, -50):
        cond = call64(listener, x, i / 500, context)
        uncond = call64(listener, x, i / 500, np.zeros((3, 3)))
        eps = uncond + g * (cond - uncond)
        x0 = (x - np.sqrt(1 - ab[i]) * eps) / np.sqrt(ab[i])
        x = np.sqrt(ab[i - 50]) * x0 + np.sqrt(1 - ab[i - 50]) * eps
    engine = fastdiff.compile(listener, "ddim", 10, backend="eager", dtype="float64")
    got = engine.sample(3, context=["a", "b", "c"], guidance=[0.0, 1.0, 2.5]).images
    assert np.abs(got - np.clip(x, -1, 1)).max() < 1e-6


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_float32_stays_near_float64(tiny_model, sampler):
    runs = [
        fastdiff.compile(tiny_model, sampler, 50, backend="eager", dtype=dtype).sample(4).images
        for dtype in ("float32", "float64")
    ]
    assert np.abs(runs[0] - runs[1]).max() < 1e-4


def test_bfloat16_is_the_network_alone(tiny_model):
    """Times and tables keep their digits: a schedule of 500 levels has more than bfloat16 tells."""
    seen = []
    module = copy.deepcopy(tiny_model.module)
    module.register_forward_pre_hook(lambda _, given: seen.append(given[1].clone()))
    convolved = []
    next(m for m in module.modules() if isinstance(m, torch.nn.Conv2d)).register_forward_hook(
        lambda _, given, out: convolved.append(out.dtype)
    )
    model = dataclasses.replace(tiny_model, module=module)
    engine = fastdiff.compile(model, "dpmpp_2m", 50, backend="eager", dtype="bfloat16")
    exact = fastdiff.compile(tiny_model, "dpmpp_2m", 50, backend="eager", dtype="float64")
    assert "bfloat16" in repr(engine)
    got = engine.sample(4).images
    assert np.abs(got - exact.sample(4).images).max() < 0.05
    assert len({float(t[0]) for t in seen}) == 50
    assert set(convolved) == {torch.bfloat16}


def test_an_image_depends_on_its_seed_alone(engine):
    seeds = list(range(8))
    options = {"context": "a", "guidance": 2.0, "sampler": "ddim", "steps": 8, "eta": 0.5}
    batch = engine.sample(8, seed=0, **options)
    np.testing.assert_array_equal(batch.seeds, seeds)
    alone = np.concatenate([engine.sample(1, seed=s, **options).images for s in seeds])
    backwards = engine.sample(seed=seeds[::-1], **options).images[::-1]
    chunks = engine.sample(8, seed=0, batch_size=3, **options).images
    for other in (alone, backwards, chunks):
        assert np.abs(other - batch.images).max() < 1e-5
    assert np.abs(batch.images[0] - batch.images[1]).max() > 0.1


def test_the_answer_is_images_in_range_with_their_seeds(engine):
    got = engine.sample(3, seed=2**64 - 3)
    assert got.images.dtype == np.float32
    assert got.images.shape == (3, 3, 8, 8)
    assert np.abs(got.images).max() <= 1.0
    assert [int(s) for s in got.seeds] == [2**64 - 3, 2**64 - 2, 2**64 - 1]
    assert got.complete
    assert list(got.rows) == [5, 5, 5]
    assert len(engine.sample(0)) == 0
    assert len(engine.sample(seed=[4, 4])) == 2
    assert len(engine.sample()) == 1
    assert len(engine.sample(context=["a", "b", "c"])) == 3
    assert len(engine.sample(context=[[1.0, 0, 0], [0, 1, 0]])) == 2
    assert len(engine.sample(context=np.zeros((2, 3)))) == 2
    assert len(engine.sample(context=[1.0, 0.0, 0.0])) == 1
    assert len(engine.sample(x_T=start(engine.model, 2))) == 2
    assert "eager" in repr(engine)
    assert "ddim:5" in repr(engine)


def test_contexts_may_be_names_vectors_or_rows(engine):
    a = engine.sample(2, context=["a", "c"]).images
    b = engine.sample(2, context=np.array([[1, 0, 0], [0, 0, 1]])).images
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        engine.sample(2, context="b").images, engine.sample(2, context=[0, 1, 0]).images
    )
    np.testing.assert_array_equal(
        engine.sample(2).images, engine.sample(2, context=[0.0, 0.0, 0.0]).images
    )
    np.testing.assert_array_equal(
        engine.sample(1, context="a", guidance=1.0).images, engine.sample(1, context="a").images
    )


def test_x_T_replaces_the_seeds_noise(engine, tiny_model):
    x_T = start(tiny_model, 2, seed=7)
    assert np.abs(engine.sample(2, x_T=x_T).images - engine.sample(2, seed=7).images).max() < 1e-5


def test_on_step_sees_every_kth_row_and_the_last(engine):
    seen = []
    engine.sample(3, on_step=seen.append, every=2, batch_size=2)
    assert [(s.row, s.rows, s.first, len(s.x)) for s in seen] == [
        (2, 5, 0, 2), (4, 5, 0, 2), (5, 5, 0, 2), (2, 5, 2, 1), (4, 5, 2, 1), (5, 5, 2, 1),
    ]  # fmt: skip
    assert list(seen[3].seeds) == [2]


def test_on_step_may_keep_or_change_what_it_got(engine):
    def spoil(step):
        step.x[:] = np.nan

    np.testing.assert_array_equal(engine.sample(2, on_step=spoil).images, engine.sample(2).images)


def test_cancelling_returns_what_was_drawn(engine):
    got = engine.sample(5, batch_size=2, on_step=lambda s: not (s.first == 2 and s.row == 3))
    assert not got.complete
    assert list(got.rows) == [5, 5, 3, 3]
    assert list(got.seeds) == [0, 1, 2, 3]
    whole = engine.sample(5)
    np.testing.assert_allclose(got.images[:2], whole.images[:2], atol=1e-5)


def test_an_interrupt_keeps_the_chunks_that_are_whole(engine):
    def interrupt(step):
        if step.first == 4:
            raise KeyboardInterrupt

    got = engine.sample(9, batch_size=2, on_step=interrupt)
    assert len(got) == 4
    assert not got.complete
    with pytest.raises(KeyboardInterrupt):
        engine.sample(9, batch_size=9, on_step=lambda s: interrupt(type(s)(1, 1, 4, s.x, s.seeds)))


def test_one_engine_serves_many_threads_and_samplers_at_once(engine):
    jobs = [("ddim", 4, 1), ("ddpm", 6, 2), ("ddim", 7, 3), ("ddpm", 3, 4)] * 2
    alone = [engine.sample(2, seed=s, sampler=name, steps=k).images for name, k, s in jobs]
    together = [None] * len(jobs)

    def work(j):
        name, k, s = jobs[j]
        together[j] = engine.sample(2, seed=s, sampler=name, steps=k).images

    threads = [threading.Thread(target=work, args=(j,)) for j in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(alone, together, strict=True):
        assert np.abs(a - b).max() < 1e-5


def test_an_override_keeps_the_engines_other_options(tiny_model):
    engine = fastdiff.compile(tiny_model, "ddim", 5, backend="eager", eta=0.7)
    wanted = fastdiff.compile(tiny_model, "ddim", 8, backend="eager", eta=0.7).sample(1).images
    np.testing.assert_array_equal(engine.sample(1, steps=8).images, wanted)
    plain = fastdiff.compile(tiny_model, "ddim", 5, backend="eager").sample(1).images
    np.testing.assert_array_equal(engine.sample(1, eta=0.0).images, plain)


def test_an_engine_is_a_copy_of_its_model(tiny_model):
    import copy

    model = fastdiff.DiffusionModel(
        copy.deepcopy(tiny_model.module).train(), COURSE, (3, 8, 8), 3, ("a", "b", "c")
    )
    engine = fastdiff.compile(model, steps=3, backend="eager")
    before = engine.sample(2).images
    with torch.no_grad():
        for p in model.module.parameters():
            p.zero_()
    assert model.module.training
    np.testing.assert_array_equal(engine.sample(2).images, before)


def test_models_without_context(tiny_model):
    class Plain(torch.nn.Module):
        def forward(self, x, t):
            return x * t[:, None, None, None]

    model = fastdiff.DiffusionModel(Plain(), COURSE, (1, 3, 5))
    engine = fastdiff.compile(model, steps=4, backend="eager")
    assert engine.sample(2).images.shape == (2, 1, 3, 5)
    with pytest.raises(FastdiffError, match="context: expected none"):
        engine.sample(2, context=[1.0])
    with pytest.raises(FastdiffError, match="guidance: expected a context"):
        engine.sample(2, guidance=2.0)


def test_the_update_takes_every_column_and_a_row_for_each_sample():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((4, len(COLUMNS)))
    rows[:, INDEX["x0_lo"]], rows[:, INDEX["x0_hi"]] = -0.3, 0.4
    rows[0, INDEX["x0"]] = 0  # and an unbounded clamp in a row that does not use it
    rows[0, INDEX["x0_lo"]], rows[0, INDEX["x0_hi"]] = -np.inf, np.inf
    xs, ms = rng.standard_normal((3, 4, 2, 3, 3)), rng.standard_normal((4, 4, 2, 3, 3))
    z = rng.standard_normal((4, 2, 3, 3))
    expected = np.empty_like(z)
    for b in range(4):
        row = dict(zip(COLUMNS, rows[b], strict=True))
        out = sum(row[f"x[{j}]"] * xs[j, b] for j in range(3))
        out = out + sum(row[f"m[{j}]"] * ms[j, b] for j in range(4))
        x0 = row["x0_from_x"] * xs[0, b] + row["x0_from_m"] * ms[0, b]
        out = out + row["x0"] * np.clip(x0, row["x0_lo"], row["x0_hi"])
        expected[b] = out + row["noise"] * z[b]
    got = sampler_update(
        torch.from_numpy(rows),
        [torch.from_numpy(x) for x in xs],
        [torch.from_numpy(m) for m in ms],
        torch.from_numpy(z),
        uses_x0=True,
    )
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_tables_with_history_run(listener):
    """A two-step rule, x_{k+1} = x_k + h (1.5 m_k - 0.5 m_{k-1}), transcribed."""
    t = np.array([0.9, 0.6, 0.3])
    table = SamplerTable.build(
        "ab2",
        {
            "t": t,
            "x[0]": 1.0,
            "m[0]": [-0.2, -0.3, -0.3],
            "m[1]": [0, 0.1, 0.1],
            "x[2]": [0, 0, 0.05],
        },
        init_scale=2.0,
    )
    x = 2.0 * start(listener, 1)
    xs, ms = [], []
    for k in range(3):
        xs.insert(0, x)
        ms.insert(0, call64(listener, x, t[k], np.zeros((1, 3))))
        x = x + table["m[0]"][k] * ms[0]
        x = x + (table["m[1]"][k] * ms[1] if k else 0) + (0.05 * xs[2] if k == 2 else 0)
    engine = fastdiff.compile(listener, table, backend="eager", dtype="float64")
    raw = []
    engine.sample(1, on_step=lambda s: raw.append(s.x))
    np.testing.assert_allclose(raw[-1], x, rtol=1e-6, atol=1e-6)


def test_torch_noise_equals_the_reference():
    for seed, step, stream, element, word, _, normal in list(golden_lines("noise.txt"))[::7]:
        if int(element) > 1000:
            continue
        seeds = noise_torch.seeds_to_tensor([int(seed, 16)])
        count = int(element) + 1
        assert int(noise_torch.words(seeds, int(step), int(stream), count)[0, -1]) == int(word, 16)
        z = noise_torch.normal(seeds, int(step), int(stream), count)[0, -1]
        assert abs(float(z) - float(normal)) <= noise.NORMAL_TOLERANCE
    w = np.random.default_rng(0).integers(0, 2**32, 10_000, dtype=np.uint32)
    u = noise_torch.uniform_from_words(torch.from_numpy(w.astype(np.int64))).numpy()
    np.testing.assert_array_equal(u.view(np.uint32), noise.uniform_from_words(w).view(np.uint32))
    seeds = noise.as_seeds([1, 2**63, 2**64 - 1])
    steps = np.array([5, 0, 2**32 - 1], dtype=np.uint32)
    z = noise_torch.normal(
        noise_torch.seeds_to_tensor([int(s) for s in seeds]),
        torch.from_numpy(steps.astype(np.int64)),
        1,
        30,
    )
    assert np.abs(z.numpy() - noise.normal(seeds, steps, 1, 30)).max() <= noise.NORMAL_TOLERANCE
    assert noise_torch.normal(noise_torch.seeds_to_tensor([]), 0, 0, 5).shape == (0, 5)
    assert noise_torch.normal(noise_torch.seeds_to_tensor([1]), 0, 0, 0).shape == (1, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": -1}, "n: expected an integer from 0 to"),
        ({"n": 2.5}, "n: expected an integer from 0 to"),
        ({"n": 10**9}, "got 1000000000"),
        ({"n": 2, "seed": [1]}, "seeds: expected 2 seeds for n=2, got 1"),
        ({"n": 2, "context": "dragon"}, "context: expected one of a, b, c, got 'dragon'"),
        ({"n": 2, "context": ["a"]}, "context: expected 2 class names, got 1"),
        (
            {"n": 2, "context": [1.0, 0.0]},
            "context: expected numbers \\[3\\] or \\[2, 3\\], got \\[2\\]",
        ),
        ({"n": 2, "context": np.zeros((3, 3))}, "got \\[3, 3\\]"),
        ({"n": 1, "context": [0, np.nan, 0]}, "context: expected finite numbers"),
        ({"n": 2, "context": [[1, 0], [1]]}, "context: expected class names or numbers"),
        ({"n": 2, "guidance": 2.0}, "guidance: expected a context"),
        ({"n": 2, "context": "a", "guidance": [1, 2, 3]}, "guidance: expected a number or \\[2\\]"),
        ({"n": 2, "context": "a", "guidance": float("nan")}, "guidance: expected finite"),
        ({"n": 2, "context": "a", "guidance": "much"}, "guidance: expected a number"),
        ({"n": 1, "x_T": np.zeros((1, 3, 8, 9))}, "x_T: expected finite values"),
        ({"n": 1, "x_T": np.full((1, 3, 8, 8), np.inf)}, "x_T: expected finite values"),
        ({"n": 1, "batch_size": 0}, "batch_size: expected an integer of at least 1, got 0"),
        ({"n": 1, "every": 0}, "every: expected an integer of at least 1, got 0"),
        ({"n": 1, "steps": 501}, "steps: expected an integer from 1 to 500, got 501"),
        ({"n": 1, "sampler": "magic"}, "sampler: expected one of"),
        ({"n": 1, "colour": 1}, "colour: sampler 'ddim' takes eta"),
        ({"seed": 1.5}, "seed: expected an integer or a sequence of them, got 1.5"),
        ({"n": 1, "context": 5}, "context: expected numbers \\[3\\]"),
        ({"n": 1, "x_T": "noise"}, "x_T: expected an array of numbers"),
        ({"n": 1, "sampler": "ddpm", "noise": 0}, "noise: expected True or False, got 0"),
    ],
)
def test_wrong_requests_are_named_before_anything_is_drawn(engine, options, message):
    with pytest.raises(FastdiffError, match=message):
        engine.sample(**options, on_step=lambda s: pytest.fail("it drew something"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "abacus"}, "backend: expected auto or one of cuda, native, inductor, eager"),
        ({"backend": "tensorrt"}, "backend: 'tensorrt' is not available here: not part of"),
        ({"backend": "eager", "device": "toaster"}, "device: 'toaster' cannot be used here"),
        ({"backend": "eager", "dtype": "int3"}, "dtype: expected one of float32, float64"),
        ({"sampler": 3}, "sampler: expected one of"),
        ({"steps": 0}, "steps: expected an integer from 1 to 500, got 0"),
    ],
)
def test_wrong_engines_are_named(tiny_model, options, message):
    with pytest.raises(FastdiffError, match=message):
        fastdiff.compile(tiny_model, **options)


def test_a_bare_network_is_refused_with_what_to_do(tiny_model, engine):
    with pytest.raises(FastdiffError, match="got ContextUnet \\(wrap a network"):
        fastdiff.compile(tiny_model.module)
    with pytest.raises(FastdiffError, match="on_step: expected a function, got 3"):
        engine.sample(1, on_step=3)


def test_auto_takes_the_fastest_backend_that_can_and_says_why_not_a_faster_one(tiny_model):
    pytest.importorskip("fastdiff._native")
    assert fastdiff.compile(tiny_model, steps=2).backend == "native"
    engine = fastdiff.compile(tiny_model, steps=2, dtype="float64")
    assert engine.backend == "eager"
    assert "native: dtype: expected one of float32, bfloat16, got 'float64'" in repr(engine)
