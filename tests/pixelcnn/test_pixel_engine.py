"""``PixelEngine.sample``: every promise of its docstring, on the C++ engine and on eager."""

import functools
import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")

import fastdiff
from fastdiff import FastdiffError, noise
from fastdiff.data.dataset import ImageSet
from fastdiff.metrics.bits_per_dimension import bits_per_dimension
from fastdiff.pixelcnn import incremental
from fastdiff.pixelcnn.lower import lower
from fastdiff.requests.pixels import images_of
from tests.pixelcnn.agreement import check_naive, judge
from tests.pixelcnn.random_models import in_float64, random_model

QUICK = {"autotune": False}


@pytest.fixture(scope="module", autouse=True)
def traced_once():
    """Eager traces its model for every chunk, which takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental, "lower", functools.cache(lower))
        yield


@pytest.fixture(scope="module")
def model():
    return random_model(
        "pixelcnn", seed=4, labels=("a", "b"), in_channels=3, height=6, width=5, levels=8,
        hidden=9, blocks=2, n_context=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def exact(model):
    return in_float64(model)


@pytest.fixture(scope="module")
def engine(model):
    return fastdiff.compile(model, backend="native", options={**QUICK, "threads": 2})


@pytest.fixture(scope="module")
def slow():
    """One whose request for thousands of images takes seconds."""
    model = random_model("pixelcnn", height=24, width=24, levels=16, hidden=48, blocks=3)
    return fastdiff.compile(model, backend="native", options={**QUICK, "threads": 2})


def one_hot(*labels):
    return torch.tensor([[float(label == "a"), float(label == "b")] for label in labels])


def test_images_are_their_levels(engine, exact):
    drawn = engine.sample(4, seed=9, context=["a", "b", "", "a"], temperature=0.8, top_k=6)
    assert drawn.levels.shape == drawn.images.shape == (4, 3, 6, 5)
    assert (drawn.levels.dtype, drawn.images.dtype) == (np.int32, np.float32)
    np.testing.assert_allclose(drawn.images, drawn.levels * (2 / 7) - 1, atol=1e-6)
    assert drawn.seeds.tolist() == [9, 10, 11, 12]
    assert drawn.rows.tolist() == [6] * 4
    assert drawn.complete
    context = one_hot("a", "b", "", "a")
    check_naive(exact, drawn.seeds, drawn.levels, context, temperature=0.8, top_k=6)


@pytest.mark.parametrize("how", [{}, {"incremental": False}, {"dtype": "float64"},
                                 {"dtype": "float64", "incremental": False}], ids=str)  # fmt: skip
def test_eager_draws_the_same(engine, model, exact, how):
    dtype = {k: v for k, v in how.items() if k == "dtype"}
    rest = {k: v for k, v in how.items() if k != "dtype"}
    eager = fastdiff.compile(model, backend="eager", options=rest, **dtype)
    ours = engine.sample(seed=[5, 2**63, 6], context="b")
    theirs = eager.sample(seed=[5, 2**63, 6], context="b")
    tied = judge(exact, ours.seeds, ours.levels, one_hot("b", "b", "b"))
    tied |= judge(exact, ours.seeds, theirs.levels, one_hot("b", "b", "b"))
    np.testing.assert_array_equal(ours.levels[~tied], theirs.levels[~tied])


def test_an_image_depends_on_its_seed_alone(engine):
    together = engine.sample(seed=[3, 9, 3, 4], batch_size=3)
    np.testing.assert_array_equal(together.levels[0], together.levels[2])
    assert (together.levels[0] != together.levels[1]).any()
    np.testing.assert_array_equal(engine.sample(1, seed=9).levels[0], together.levels[1])
    np.testing.assert_array_equal(engine.sample(33, seed=-24 + 33).levels[0], together.levels[1])
    np.testing.assert_array_equal(engine.sample(4, seed=1).levels[2:], together.levels[2:])


def test_likelier_images_at_lower_temperature(engine):
    bits = [
        engine.bits_per_dimension(engine.sample(32, temperature=t).images).mean()
        for t in (0.05, 0.5, 1.0, 3.0)
    ]
    assert sorted(bits) == bits
    coldest = engine.sample(4, temperature=1e-4)
    np.testing.assert_array_equal(coldest.levels, engine.sample(4, seed=50, top_k=1).levels)
    np.testing.assert_array_equal(engine.sample(4, top_k=8).levels, engine.sample(4).levels)


@pytest.mark.parametrize("rows", [0, 2, 6])
def test_given_rows_stay_and_the_rest_follows(engine, exact, rows):
    start = engine.sample(3, seed=70)
    drawn = engine.sample(seed=[1, 2, 3], image=start.images, given_rows=rows)
    np.testing.assert_array_equal(drawn.levels[:, :, :rows], start.levels[:, :, :rows])
    kept = np.arange(6)[:, None] < np.full(5, rows)
    check_naive(exact, drawn.seeds, drawn.levels, one_hot("", "", ""), start.levels, kept)
    one = engine.sample(3, seed=1, image=start.images[1], given_rows=rows)
    np.testing.assert_array_equal(one.levels[1], drawn.levels[1])


def test_pixels_under_a_mask_are_drawn_anew(engine, model, exact):
    start = engine.sample(3, seed=70)
    rng = np.random.default_rng(2)
    mask = rng.random((3, 6, 5)) < 0.5
    drawn = engine.sample(3, seed=1, image=start.images, mask=mask, context="a")
    kept = np.broadcast_to(~mask[:, None], drawn.levels.shape)
    np.testing.assert_array_equal(drawn.levels[kept], start.levels[kept])
    judge(exact, drawn.seeds, drawn.levels, one_hot("a", "a", "a"), kept=kept)
    one = engine.sample(3, seed=1, image=start.images[0], mask=mask[0].astype(float), context="a")
    np.testing.assert_array_equal(one.levels[0], drawn.levels[0])
    seen = []
    eager = fastdiff.compile(model, backend="eager").sample(
        3, seed=1, image=start.images, mask=mask, context="a",
        on_progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    judge(exact, eager.seeds, eager.levels, one_hot("a", "a", "a"), kept=kept)
    assert seen == sorted(seen)
    assert seen[-1] == (270, 270)


def test_pictures_are_read_as_levels(engine):
    """uint8 [H, W, C]: value v is level 8 v // 256."""
    picture = np.random.default_rng(3).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    drawn = engine.sample(2, image=picture, given_rows=6)
    for levels in drawn.levels:
        np.testing.assert_array_equal(levels, picture.transpose(2, 0, 1).astype(int) * 8 // 256)


def test_no_images(engine):
    for drawn in (
        engine.sample(0),
        engine.sample(seed=[]),
        engine.sample(0, image=np.zeros((3, 6, 5), np.float32), given_rows=2),
    ):
        assert drawn.levels.shape == drawn.images.shape == (0, 3, 6, 5)
        assert drawn.complete
        assert len(drawn.rows) == 0
    assert engine.bits_per_dimension(np.zeros((0, 3, 6, 5), np.float32)).shape == (0,)


def test_progress_is_told_and_a_run_ends_when_asked(slow):
    seen = []

    def stop(done, total):
        seen.append((done, total))
        return len(seen) < 2

    drawn = slow.sample(2000, seed=5, on_progress=stop, batch_size=2000)
    assert len(seen) == 2
    assert 0 < seen[0][0] < seen[1][0] < seen[1][1] == 2000 * 576
    assert not drawn.complete
    assert len(drawn) == 2000
    there = drawn.levels >= 0
    assert 0 < there.sum() < there.size
    assert (drawn.images[~there] == -1).all()
    whole = there.all(axis=(1, 3))
    assert all(whole[k, :rows].all() for k, rows in enumerate(drawn.rows))
    assert not any(rows < 24 and whole[k, rows] for k, rows in enumerate(drawn.rows))
    first = np.flatnonzero(there.any(axis=(1, 2, 3)))[:2]
    again = slow.sample(seed=drawn.seeds[first].tolist()).levels
    np.testing.assert_array_equal(drawn.levels[first][there[first]], again[there[first]])


@pytest.mark.parametrize("backend", ["native", "eager"])
def test_a_run_also_ends_between_chunks(model, backend):
    """The engine may not ask before a small chunk is whole; what it then hears counts."""
    engine = fastdiff.compile(model, backend=backend, options=QUICK if backend == "native" else {})
    seen = []

    def stop(done, total):
        seen.append(done)
        return done < 90  # values of one image

    drawn = engine.sample(5, on_progress=stop, batch_size=1)
    assert seen[-1] == 90
    assert len(drawn) == 1
    assert not drawn.complete
    np.testing.assert_array_equal(drawn.levels, engine.sample(1).levels)
    seen.clear()
    whole = engine.sample(3, on_progress=lambda done, _: seen.append(done), batch_size=2)
    assert whole.complete
    assert seen == sorted(seen)
    assert seen[-1] == 270


def test_what_a_callback_raises_reaches_the_caller(engine, slow):
    def angry(done, total):
        raise LookupError(total)

    for each in (engine, slow):
        with pytest.raises(LookupError, match=str(3 * np.prod(each.sample_shape))):
            each.sample(3, on_progress=angry)
    assert engine.sample(1).complete


def test_many_threads_share_an_engine(engine):
    requests = [
        {"n": 1 + k % 5, "seed": k, "context": "ab"[k % 2], "temperature": 1 + k / 8}
        for k in range(16)
    ]
    expected = [engine.sample(**request).levels for request in requests]
    got = [[] for _ in requests]
    begin = threading.Barrier(len(requests))

    def draw(k):
        begin.wait()
        for _ in range(4):
            got[k].append(engine.sample(**requests[k]).levels)

    threads = [threading.Thread(target=draw, args=(k,)) for k in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for levels, mine in zip(expected, got, strict=True):
        assert len(mine) == 4
        for each in mine:
            np.testing.assert_array_equal(each, levels)


def test_bits_per_dimension_are_the_metrics(engine, model):
    x = np.random.default_rng(5).integers(0, 256, (7, 6, 5, 3), dtype=np.uint8)
    context = np.eye(2, dtype=np.float32)[np.arange(7) % 2]
    bits = engine.bits_per_dimension(x, context=context)
    assert (bits.shape, bits.dtype) == ((7,), np.float64)
    for k in range(7):
        image = ImageSet(x[k : k + 1], context[k : k + 1], ("a", "b"))
        assert abs(bits_per_dimension(model, image).mean - bits[k]) < 1e-5
    levels = engine.sample(2).levels
    images = images_of(levels, 8)
    np.testing.assert_array_equal(
        engine.bits_per_dimension(images)[1:], engine.bits_per_dimension(images[1])
    )
    with pytest.raises(FastdiffError, match="backend: expected native, eager has no log_prob"):
        fastdiff.compile(model, backend="eager").bits_per_dimension(images)


def test_drawn_images_cost_what_they_should(engine):
    """Of its own samples a model's bits are its entropy: below log2(levels), above 0."""
    bits = engine.bits_per_dimension(engine.sample(200).images)
    assert 0.2 < bits.mean() < 3.0


def test_it_says_what_it_is(engine, model):
    assert engine.model is model
    assert (engine.backend, engine.sample_shape) == ("native", (3, 6, 5))
    text = repr(engine)
    assert text.startswith("PixelEngine(pixelcnn, backend=native: cpu, ")
    assert "2 threads, wavefront slope 4" in text
    assert "(smallest 4)" in engine.describe(3)
    assert noise.STREAM_CHOICE == 3
