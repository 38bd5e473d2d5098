"""fastdiff.runtime and _native.Engine: engine files without torch, held against eager and against
the contracts of ``Engine.sample``.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from fastdiff.errors import FastdiffError
from fastdiff.samplers import build_table
from fastdiff.schedules import course
from tests.conftest import GOLDEN

native = pytest.importorskip("fastdiff._native", reason="fastdiff._native is not built")

SHAPE = (2, 8, 6)
GAMMA = "\N{GREEK SMALL LETTER GAMMA}"
# Draws from every program of the file, in a Python that cannot import torch.
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it fails
from fastdiff import runtime
engine = runtime.load(sys.argv[1], threads=2, autotune=False)
samples = engine.sample(3, seed=5, context=["a", "b", ""], guidance=2.0)
assert samples.complete and samples.images.shape == (3, 2, 8, 6)
print(samples.images.tobytes().hex())
"""


@pytest.fixture(scope="module")
def tiny(tiny_file):
    from fastdiff import runtime

    return runtime.load(tiny_file, threads=2, autotune=False)


@pytest.fixture(scope="module")
def sprites(tmp_path_factory):
    """sprites16 in eager, float64 and float32, and its file in the runtime."""
    pytest.importorskip("torch")
    import fastdiff
    from fastdiff import runtime

    eager = fastdiff.compile("sprites16", steps=6, backend="eager")
    path = tmp_path_factory.mktemp("sprites") / "sprites16.fdiff"
    eager.save(path)
    exact = fastdiff.compile("sprites16", steps=6, backend="eager", dtype="float64")
    return exact, eager, runtime.load(path, autotune=False)


def rms(a, b):
    return float(np.sqrt(np.mean((a.astype(np.float64) - b) ** 2)))


# --- what it draws -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_of",
    [
        {"n": 5},
        {"n": 6, "context": "monster", "guidance": 2.0},
        {
            "n": 4,
            "seed": [9, 3, 9, 7],
            "context": ["player", "item", "", "player"],
            "guidance": [1.0, 3.0, 2.0, 4.0],
            "guidance_rescale": 0.7,
            "guidance_until": 0.5,
            "batch_size": 3,
        },
    ],
    ids=("plain", "guided", "mixed"),
)
def test_images_are_eagers_within_the_rounding_of_float32(sprites, request_of):
    exact, eager, runtime = sprites
    true = exact.sample(**request_of).images
    theirs, ours = eager.sample(**request_of), runtime.sample(**request_of)
    # Measured: 1.6 to 2.3 times eager's; Winograd rounds a little more than plain sums do.
    assert rms(ours.images, true) <= 4 * rms(theirs.images, true) + 1e-6
    assert np.abs(ours.images - true).max() <= 4 * np.abs(theirs.images - true).max() + 1e-4
    assert ours.seeds.tolist() == theirs.seeds.tolist()
    assert ours.rows.tolist() == theirs.rows.tolist()
    assert ours.complete


def test_editing_is_eagers(sprites):
    exact, _, runtime = sprites
    image = exact.sample(1, seed=3).images[0]
    mask = np.zeros(image.shape[1:], bool)
    mask[4:12, 2:9] = True
    for request in (
        {"image": image, "mask": mask, "n": 3},
        {"image": image, "sampler": "ddim", "steps": 8, "strength": 0.5},
        {"x_T": np.stack([image, -image])},
        {"n": 2, "sampler": "ddpm", "steps": 7},
    ):
        theirs, ours = exact.sample(**request), runtime.sample(**request)
        assert np.abs(ours.images - theirs.images).max() <= 2e-3, sorted(request)
    kept = np.broadcast_to(~mask, image.shape)
    assert (runtime.sample(3, image=image, mask=mask).images[:, kept] == image[kept]).all()


def test_the_network_alone_is_the_programs_reference(tiny_file):
    torch = pytest.importorskip("torch")
    from fastdiff.program import engine_file, reference

    parts = engine_file.read(tiny_file).split.parts()
    rng = np.random.default_rng(1)
    x = rng.standard_normal((5, *SHAPE)).astype(np.float32)
    times = np.array([0, 1, 2, 3.5, 4], np.float32)
    context = rng.standard_normal((5, 3)).astype(np.float32)
    values = {"x": x, "t": times, "context": context}
    values = {name: torch.tensor(v) for name, v in values.items()}
    for part in parts.values():
        inputs = {name: values[name] for name in part.inputs}
        outputs = reference.run(part, inputs, dtype=torch.float64)
        values.update(zip(part.outputs, outputs, strict=True))
    expected = outputs[0].numpy()
    m = native.Engine(str(tiny_file), autotune=False, exact=True).predict(x, times, context)
    assert m.dtype == np.float32
    assert np.abs(m - expected).max() <= 2e-5 * np.abs(expected).max()


def test_it_draws_where_torch_cannot_be_imported(tiny, tiny_file):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tiny_file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    here = tiny.sample(3, seed=5, context=["a", "b", ""], guidance=2.0)
    assert done.stdout.strip() == here.images.tobytes().hex()


# --- the contracts of Engine.sample ------------------------------------------------------------


def test_an_image_depends_on_its_seed_and_its_own_request_alone(tiny):
    whole = tiny.sample(7, seed=20, context="b")
    assert whole.images.dtype == np.float32
    assert np.abs(whole.images).max() <= 1
    for k in (0, 4, 6):
        alone = tiny.sample(1, seed=20 + k, context="b")
        assert np.abs(alone.images[0] - whole.images[k]).max() <= 1e-5
    again = tiny.sample(7, seed=20, context="b", batch_size=7)
    np.testing.assert_array_equal(whole.images, again.images)


def test_contexts_by_name_and_by_numbers(tiny):
    assert tiny.labels == ("a", "b", GAMMA)
    by_name = tiny.sample(2, context=["b", GAMMA])
    by_numbers = tiny.sample(context=np.eye(3, dtype=np.float32)[1:])
    np.testing.assert_array_equal(by_name.images, by_numbers.images)
    assert len(by_numbers) == 2


def test_steps_are_seen_kept_and_cancelled(tiny):
    steps = []
    samples = tiny.sample(5, batch_size=2, on_step=steps.append)
    assert [(s.row, s.rows, s.first, len(s.x)) for s in steps[:5]] == [
        (1, 4, 0, 2), (2, 4, 0, 2), (3, 4, 0, 2), (4, 4, 0, 2), (1, 4, 2, 2),
    ]  # fmt: skip
    np.testing.assert_array_equal(np.clip(steps[3].x, -1, 1), samples.images[:2])
    # x0 of a row that is long over: copied because the step was kept.
    asked_at_once = []
    tiny.sample(2, on_step=lambda step: asked_at_once.append(step.x0))
    for step, x0 in zip(steps, asked_at_once, strict=False):
        np.testing.assert_array_equal(step.x0, x0)
    assert not np.array_equal(asked_at_once[0], steps[0].x)

    stopped = tiny.sample(5, batch_size=2, on_step=lambda s: s.first < 2 or s.row < 3)
    assert stopped.rows.tolist() == [4, 4, 3, 3]
    assert not stopped.complete


def test_what_a_callback_raises_reaches_the_caller(tiny):
    def angry(step):
        raise LookupError(step.row)

    with pytest.raises(LookupError, match="1"):
        tiny.sample(2, on_step=angry)

    def interrupt(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.sample(2, on_step=interrupt)


def test_a_request_without_callback_can_be_interrupted(tiny_file):
    engine = native.Engine(str(tiny_file), threads=1, autotune=False)
    table = build_table("ddpm", course(), 500)
    seeds = np.arange(1000, dtype=np.uint64)

    def ring(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(TimeoutError):
            engine.sample(table.rows, 1.0, seeds)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_many_threads_sample_at_once(tiny):
    expected = tiny.sample(6, seed=1, context="a").images
    got = [None] * 4

    def draw(k):
        got[k] = tiny.sample(6, seed=1, context="a", on_step=lambda step: step.x0).images

    threads = [threading.Thread(target=draw, args=(k,)) for k in range(len(got))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for images in got:
        np.testing.assert_array_equal(images, expected)


def test_it_says_what_it_is(tiny):
    assert tiny.name == "tiny"
    assert tiny.sample_shape == SHAPE
    assert tiny.context_width == 3
    assert len(tiny.table) == 4
    assert tiny.table == build_table("ddim", course(), 4)
    assert tiny.schedule == course()
    assert "tiny" in repr(tiny)
    assert "conv" in tiny.describe(8)


# --- wrong input -------------------------------------------------------------------------------

WRONG = [
    ({"n": -1}, "n: expected an integer from 0"),
    ({"seed": -1}, "seed: expected an integer from 0"),
    ({"seed": [1, 2], "n": 3}, "seeds: expected 3 seeds"),
    ({"context": "z"}, f"context: expected one of a, b, {GAMMA}, got 'z'"),
    ({"context": [1.0, 2.0]}, r"context: expected numbers \[3\]"),
    ({"guidance": 2.0}, "guidance: expected a context"),
    ({"guidance_rescale": 2.0}, "guidance_rescale: expected numbers from 0 to 1"),
    ({"x_T": np.zeros((1, 2, 8, 7))}, "x_T: expected finite values"),
    ({"mask": np.ones((8, 6))}, "mask: expected an image"),
    ({"image": np.zeros((2, 6, 8))}, "image: expected float"),
    ({"batch_size": 0}, "batch_size: expected an integer of at least 1"),
    ({"on_step": 3}, "on_step: expected a function"),
    ({"steps": 3}, "steps: expected with a sampler by name"),
    ({"eta": 1.0}, "eta: expected with a sampler by name"),
    ({"sampler": "dim"}, "sampler: expected"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_requests_are_named(tiny, arguments, message):
    with pytest.raises(FastdiffError, match=f"^{message}"):
        tiny.sample(**arguments)


def test_files_that_cannot_be_read_are_named(tmp_path, tiny_file):
    from fastdiff import runtime

    with pytest.raises(FastdiffError, match=r"no-such\.fdiff"):
        runtime.load(tmp_path / "no-such.fdiff")
    cut = tmp_path / "cut.fdiff"
    cut.write_bytes(tiny_file.read_bytes()[:5000])
    with pytest.raises(FastdiffError, match=r"cut\.fdiff: expected"):
        runtime.load(cut)
    for options, name in (({"precision": "half"}, "precision"), ({"threads": -1}, "threads")):
        with pytest.raises(FastdiffError, match=f"^{name}: expected"):
            runtime.load(tiny_file, **options)


TABLE = build_table("ddim", course(), 4).rows
GOOD = {"table": TABLE, "init_scale": 1.0, "seeds": np.arange(2, dtype=np.uint64)}
NATIVE_WRONG = [
    ("table", TABLE[:, :18], "table: expected a float64 array [rows, 19]"),
    ("table", TABLE[:0], "table: expected a float64 array [rows, 19]"),
    ("table", TABLE.astype(np.float32), "table: expected a float64 array [rows, 19]"),
    ("table", None, "table: expected a float64 array [rows, 19], got None"),
    ("seeds", [1], "seeds: expected a uint64 array [n]"),
    ("context", np.zeros((2, 4), np.float32), "context: expected a float32 array [2, 3] or None"),
    ("context", np.zeros((2, 3)), "context: expected a float32 array [2, 3] or None"),
    ("guidance", np.ones(3, np.float32), "guidance: expected a float32 array [2] or None"),
    ("guidance_rescale", 0.5, "guidance_rescale: expected a float32 array [2] or None"),
    ("guided_rows", 5, "guided_rows: expected a whole number from 0 to 4, got 5"),
    ("guided_rows", True, "guided_rows: expected a whole number"),
    ("x_T", np.zeros((2, 96), np.float32), "x_T: expected a float32 array [2, 2, 8, 6] or None"),
    ("image", np.zeros((1, *SHAPE), np.float32), "image: expected a float32 array [2, 2, 8, 6]"),
    ("mask", np.zeros((2, 2, 8, 6), np.float32), "mask: expected a float32 array [2, 1, 8, 6]"),
    ("after_row", 3, "after_row: expected a function or None, got 3"),
]


@pytest.fixture(scope="module")
def engine():
    return native.Engine(str(GOLDEN / "tiny.fdiff"), threads=1, autotune=False)


@pytest.mark.parametrize(("name", "value", "message"), NATIVE_WRONG)
def test_wrong_arguments_of_the_binding_are_named(engine, name, value, message):
    with pytest.raises(ValueError, match=f"^{name}: expected") as error:
        engine.sample(**{**GOOD, name: value})
    assert str(error.value).startswith(message)


def test_wrong_files_and_options_of_the_binding_are_named(tiny_file):
    for file in (3, None, ["x"]):
        with pytest.raises(ValueError, match=r"^file: expected a path or bytes"):
            native.Engine(file)
    with pytest.raises(ValueError, match=r"^file: expected"):
        native.Engine(b"no engine file at all")
    with pytest.raises(ValueError, match=r"^precision: expected 'float32' or 'bf16', got 'half'"):
        native.Engine(str(tiny_file), precision="half")
    with pytest.raises(ValueError, match=r"^threads: expected a whole number from 0 to 1024"):
        native.Engine(str(tiny_file), threads=5000)
    with pytest.raises(ValueError, match=r"^progress: expected a function"):
        native.Engine(str(tiny_file), progress=1)


def test_a_row_is_over_when_its_callback_has_returned(engine):
    kept = []
    x, rows = engine.sample(**GOOD, after_row=lambda done, row: kept.append((done, row)))
    assert rows == 4
    assert x.shape == (2, *SHAPE)
    assert [done for done, _ in kept] == [1, 2, 3, 4]
    for read in (kept[0][1].x, kept[0][1].x0):
        with pytest.raises(RuntimeError, match=r"^row: it is over"):
            read()


def test_rows_that_do_not_say_x0_are_refused(engine):
    table = TABLE.copy()
    table[:, 11:13] = 0  # x0_from_x, x0_from_m
    table[:, 10] = 0
    seen = []

    def look(done, row):
        seen.append(row.has_x0)
        row.x0()

    with pytest.raises(ValueError, match=r"^x0: expected a table that says how"):
        engine.sample(**{**GOOD, "table": table}, after_row=look)
    assert seen == [False]


def test_empty_requests_and_arrays_not_contiguous(engine):
    x, rows = engine.sample(**{**GOOD, "seeds": GOOD["seeds"][:0]})
    assert x.shape == (0, *SHAPE)
    assert rows == 4
    wide = np.random.default_rng(0).standard_normal((2, 6)).astype(np.float32)
    strided, _ = engine.sample(**GOOD, context=wide[:, ::2])
    plain, _ = engine.sample(**GOOD, context=wide[:, ::2].copy())
    np.testing.assert_array_equal(strided, plain)
