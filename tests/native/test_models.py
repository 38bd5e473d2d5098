"""Whole networks on the native engine: foreign ones, and sprites16 drawn like eager draws it."""

import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")

import fastdiff
from fastdiff import DiffusionModel, FastdiffError, schedules
from fastdiff.backends.native import runner_of
from fastdiff.program.lower import lower
from fastdiff.program.save import engine_bytes_of
from tests.program.foreign import NETS, inputs, net
from tests.program.small import Wrapped

# Of the output's rms, a step against float64 (docs/native.md).
STEP_ERROR = 1.0e-6


def model_of(name):
    module, example = net(name)
    context = example.get("context")
    return DiffusionModel(
        module,
        schedules.Schedule(kind="linear", T=1000, time="index"),
        tuple(example["x"].shape[1:]),
        0 if context is None else context.shape[1],
        name=name,
    ), example


def rms(array):
    return float(np.sqrt(np.square(array).mean()))


@pytest.fixture(scope="module", params=NETS)
def foreign(request):
    model, example = model_of(request.param)
    return model, example, engine_bytes_of(model)


def test_foreign_networks_run_at_any_batch(foreign):
    model, example, data = foreign
    module = model.module
    runner = runner_of(data, autotune=False)
    for batch in (1, 2, 5, 19):
        given = inputs(example, batch)
        with torch.no_grad():
            single = module(*given.values()).numpy()
            exact = module.double()(*(v.double() for v in given.values())).numpy()
            module.float()
        got = runner.predict(*(v.numpy() for v in given.values()))
        # Time embeddings compute in float32 whatever the network is: `single` has that error too.
        assert rms(got - exact) <= max(3 * rms(single - exact), STEP_ERROR * rms(exact))


def test_exact_keeps_to_twice_eagers_error(foreign):
    model, example, data = foreign
    runner = runner_of(data, autotune=False, exact=True)
    given = inputs(example, 4)
    with torch.no_grad():
        single = model.module(*given.values()).numpy()
        exact = model.module.double()(*(v.double() for v in given.values())).numpy()
        model.module.float()
    got = runner.predict(*(v.numpy() for v in given.values()))
    assert rms(got - exact) <= 2 * rms(single - exact)
    assert "winograd" not in runner.plan(8)


def test_an_engine_describes_its_plan(sprites16):
    lines = sprites16.describe(8).splitlines()
    assert "float32" in lines[0]
    assert sum("winograd4" in line for line in lines) > 10
    assert "301.2 MFLOP a sample" in lines[-1]
    eager = fastdiff.compile("sprites16", "ddim", 2, backend="eager")
    assert eager.describe() == "cpu, float32, noise by torch"


@pytest.fixture(scope="module")
def sprites16():
    return fastdiff.compile("sprites16", "ddim", 25, backend="native", options={"autotune": False})


def test_a_step_is_within_its_bound(sprites16):
    module = sprites16.model.module
    rng = np.random.default_rng(0)
    for batch in (1, 8, 33):
        x = rng.standard_normal((batch, 3, 16, 16)).astype(np.float32)
        t = rng.uniform(0, 1, batch).astype(np.float32)
        context = rng.uniform(0, 1, (batch, 5)).astype(np.float32)
        with torch.no_grad():
            given = (torch.from_numpy(a).double() for a in (x, t, context))
            exact = module.double()(*given).numpy()
            module.float()
        error = rms(sprites16._runner.predict(x, t, context) - exact) / rms(exact)
        assert error <= STEP_ERROR


@pytest.mark.parametrize("n", [1, 2, 9])
def test_draws_what_eager_draws(sprites16, n):
    eager = fastdiff.compile("sprites16", "ddim", 25, backend="eager")
    request = {"n": n, "seed": 7, "context": "monster"}
    assert np.abs(sprites16.sample(**request).images - eager.sample(**request).images).max() < 1e-4
    guided = {**request, "guidance": 2.0, "guidance_until": 0.5}
    assert np.abs(sprites16.sample(**guided).images - eager.sample(**guided).images).max() < 2e-4


@pytest.mark.long
def test_draws_what_eager_draws_over_500_noisy_rows(sprites16):
    eager = fastdiff.compile("sprites16", "ddpm", 500, backend="eager")
    request = {"n": 8, "seed": 3, "context": "each"}
    request["context"] = np.eye(5, dtype=np.float32)[np.arange(8) % 5]
    ours = sprites16.sample(**request, sampler="ddpm", steps=500).images
    assert np.abs(ours - eager.sample(**request).images).max() < 1e-3


def test_a_seed_is_the_same_image_in_any_company(sprites16):
    alone = [sprites16.sample(1, seed=s).images[0] for s in range(5)]
    together = sprites16.sample(5).images
    # The algorithm may differ with the batch: rounding, no more.
    assert np.abs(together - np.stack(alone)).max() < 1e-4


def test_16_threads_share_an_engine(sprites16):
    expected = sprites16.sample(16, seed=0).images
    found = [None] * 16
    errors = []

    def draw(k):
        try:
            for _ in range(3):
                found[k] = sprites16.sample(1, seed=k).images[0]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=draw, args=(k,)) for k in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert np.abs(np.stack(found) - expected).max() < 1e-4


def test_bf16_is_near_and_says_so(sprites16):
    from fastdiff import _native

    if _native.isa() != "avx512_bf16":
        with pytest.raises(FastdiffError, match="precision: expected float32 on a processor"):
            fastdiff.compile("sprites16", "ddim", 5, backend="native", dtype="bfloat16")
        return
    engine = fastdiff.compile(
        "sprites16", "ddim", 5, backend="native", dtype="bfloat16", options={"autotune": False}
    )
    assert "bf16" in repr(engine)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((8, 3, 16, 16)).astype(np.float32)
    t, context = np.full(8, 0.5, np.float32), np.eye(5, dtype=np.float32)[np.arange(8) % 5]
    exact = sprites16._runner.predict(x, t, context)
    error = rms(engine._runner.predict(x, t, context) - exact) / rms(exact)
    assert 1e-4 < error < 8e-3


def test_an_op_without_a_kernel_is_named_and_auto_goes_on_without():
    module = Wrapped(lambda x, t: torch.cumsum(x, -1) + t[:, None, None, None])
    model = DiffusionModel(module, schedules.course(), (1, 4, 4), name="odd")
    with pytest.raises(FastdiffError, match=r"model: .*cumsum.*eager"):
        fastdiff.compile(model, "ddim", 2, backend="native")
    with pytest.warns(RuntimeWarning, match="backend 'native' is passed over: model: .*cumsum"):
        engine = fastdiff.compile(model, "ddim", 2)
    assert engine.backend == "eager"
    assert "cumsum" in repr(engine)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int3"}, "dtype: expected one of float32, bfloat16, got 'int3'"),
        ({"device": "cuda"}, "device: expected 'cpu', got 'cuda'"),
        ({"options": {"speed": 3}}, "speed: backend 'native' takes device, dtype"),
        ({"options": {"threads": -1}}, "threads: expected"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(FastdiffError, match=message):
        fastdiff.compile("sprites16", "ddim", 2, backend="native", **options)


def test_contexts_that_are_no_numbers_are_refused(sprites16):
    context = np.zeros((3, 5), np.float32)
    context[1, 2] = np.nan
    with pytest.raises(FastdiffError, match="context: expected finite numbers"):
        sprites16.sample(3, context=context)
    with pytest.raises(ValueError, match=r"context: expected finite .*nan in sample 1"):
        sprites16._runner.predict(
            np.zeros((3, 3, 16, 16), np.float32), np.zeros(3, np.float32), context
        )


def test_what_time_and_context_decide_is_not_in_the_step():
    model, _ = model_of("transformer")
    parts = lower(model)
    assert len(parts.row_request.nodes) > 5
    engine = fastdiff.compile(model, "ddim", 12, backend="native", options={"autotune": False})
    before, step = engine.describe(8).split("\nstep\n")
    assert "row_request, for each row of the table and distinct context" in before
    # The layers that modulate, of time and label, are in the one and not in the other.
    assert "modulation" in before
    assert "modulation" not in step
    assert "qkv" in step
    assert "qkv" not in before
    steps = [what for what, *_ in engine._runner.engine.profile(8, 1)]
    mine = [what for what in steps if not what.startswith("row_request: ")]
    assert 0 < len(mine) < len(steps)
    assert f"{len(mine)} steps" in step

    eager = fastdiff.compile(model, "ddim", 12, backend="eager")
    each = np.eye(5, dtype=np.float32)[np.arange(9) % 5]
    for context in (None, each[:1].repeat(9, 0), each):
        for guidance in (None, 2.0):
            if context is None and guidance is not None:
                continue
            request = {"n": 9, "seed": 3, "context": context, "guidance": guidance}
            request = {k: v for k, v in request.items() if v is not None}
            expected = eager.sample(**request).images
            # 1.2e-4 was found: an untrained network's x goes far beyond what is clipped.
            assert np.abs(engine.sample(**request).images - expected).max() < 3e-4
            assert expected.std() > 0.1


@pytest.mark.parametrize("batch", [1, 8])
def test_a_profile_has_every_step_of_the_plan(sprites16, batch):
    engine = sprites16._runner.engine
    steps = engine.profile(batch, 3)
    lines = engine.describe(batch).splitlines()[1:-1]
    assert all(what in line for (what, *_), line in zip(steps, lines, strict=True))
    assert all(seconds > 0 for _, _, seconds, _ in steps)
    assert 300e6 < sum(flops for *_, flops in steps) < 303e6


def test_a_step_that_is_kept_shows_its_row_later(sprites16):
    kept = []
    samples = sprites16.sample(2, on_step=kept.append)
    eager = fastdiff.compile("sprites16", "ddim", 25, backend="eager")
    expected = []
    eager.sample(2, on_step=expected.append)
    assert len(kept) == 25
    for ours, theirs in zip(kept, expected, strict=True):
        assert np.abs(ours.x - theirs.x).max() < 1e-3
        assert np.abs(ours.x0 - theirs.x0).max() < 1e-3
    assert np.abs(np.clip(kept[-1].x, -1, 1) - samples.images).max() == 0


@pytest.mark.long
def test_a_million_samples_take_the_memory_of_their_answer(tiny_model):
    import resource

    engine = fastdiff.compile(tiny_model, "ddim", 1, backend="native", options={"autotune": False})
    engine.sample(4096, batch_size=1024)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    samples = engine.sample(10**6, batch_size=1024)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert len(samples) == 10**6
    assert np.isfinite(samples.images[::997]).all()
    # The answer, its seeds and row counts; nothing that grows with n beside them.
    assert after - before < 1.1 * samples.images.nbytes + 64e6
