"""The frontier: resumed, never mixed up, drawn; and what the command line prints and writes."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from PIL import Image

import fastdiff
from fastdiff.cli.main import main
from fastdiff.errors import FastdiffError
from fastdiff.metrics import frontier, frontier_plot, quality
from fastdiff.metrics.features_file import save_features
from fastdiff.metrics.floor import floor
from fastdiff.metrics.frontier_results import (
    Frontier,
    Point,
    Settings,
    load_frontier,
    markdown,
    save_frontier,
)
from fastdiff.samplers import SAMPLERS, build_table


@pytest.fixture
def drawn(monkeypatch):
    """Counts the pictures that are really drawn, by their sampler's table."""
    seen = []
    original = quality.drawing

    def counted(engine, *args, **request):
        inner = original(engine, *args, **request)

        def draw(seeds, names):
            seen.append((request["sampler"].name, int(seeds[0])))
            return inner(seeds, names)

        return draw

    monkeypatch.setattr(quality, "drawing", counted)
    return seen


@pytest.fixture
def measured(tiny_model, tiny_features, tmp_path):
    """``measure`` of the tiny model into one file."""

    def measure(samplers=("ddim", "ddpm"), steps=(3, 2), n=4, draws=2, **more):
        engine = fastdiff.compile(tiny_model, "ddim", 2, backend="eager")
        path = tmp_path / "frontier.json"
        return frontier.measure(engine, tiny_features, path, samplers, steps, n, draws, **more)

    return measure


def test_every_point_is_that_samplers_quality(measured, tiny_model, tiny_features):
    found = measured(seed=5, guidance=1.5)
    assert [(p.sampler, p.steps, p.evaluations) for p in found.points] == [
        ("ddim", 2, 4), ("ddpm", 2, 4), ("ddim", 3, 6), ("ddpm", 3, 6),
    ]  # fmt: skip
    assert [p.stochastic for p in found.points] == [False, True, False, True]
    for point in found.points:
        engine = fastdiff.compile(tiny_model, point.sampler, point.steps, backend="eager")
        expected = quality.quality(engine, tiny_features, 4, 2, 5, 1.5)
        assert point.distances == pytest.approx(expected.distances, rel=1e-6)
    assert found.floor == floor(tiny_features, 4).distances


def test_equal_tables_are_drawn_once_and_stand_under_both_names(measured, drawn):
    found = measured(samplers=("ddim", "euler", "euler_ancestral"), steps=(3,))
    values = {p.sampler: p.distances for p in found.points}
    assert values["euler"] == values["ddim"] != values["euler_ancestral"]
    assert {name for name, _ in drawn} == {"ddim:3", "euler_ancestral:3"}


def test_a_measurement_is_taken_up_where_it_was_left(measured, drawn, monkeypatch, tmp_path):
    whole = measured()
    assert len(drawn) == 8
    drawn.clear()
    (tmp_path / "frontier.json").unlink()

    original, calls = frontier.save_frontier, []

    def interrupted(found, path):
        original(found, path)
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(frontier, "save_frontier", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measured()
    monkeypatch.setattr(frontier, "save_frontier", original)
    held = load_frontier(tmp_path / "frontier.json")
    assert [len(p.distances) for p in held.points] == [2, 1]
    drawn.clear()
    assert measured() == whole
    assert drawn == [("ddpm:2", 4), *((f"{s}:3", k) for s in ("ddim", "ddpm") for k in (0, 4))]
    drawn.clear()
    assert measured() == whole
    assert not drawn
    more = measured(samplers=("ddim",), steps=(2,), draws=3)
    assert drawn == [("ddim:2", 8)]
    assert [len(p.distances) for p in more.points] == [3, 2, 2, 2]


def test_a_sampler_that_changed_is_drawn_again(measured, drawn, monkeypatch):
    measured()
    drawn.clear()
    monkeypatch.setitem(SAMPLERS, "ddim", lambda s, steps: build_table("ddpm", s, steps))
    found = measured()
    assert drawn == [("ddpm:2", 0), ("ddpm:2", 4), ("ddpm:3", 0), ("ddpm:3", 4)]
    by_name = {(p.sampler, p.steps): p.distances for p in found.points}
    assert by_name["ddim", 3] == by_name["ddpm", 3]


def test_other_settings_need_another_folder(measured):
    measured()
    for change, text in (
        ({"n": 5}, "n 4, now 5"),
        ({"seed": 1}, "seed 0, now 1"),
        ({"guidance": 2.0}, r"guidance 1.0, now 2.0"),
    ):
        with pytest.raises(FastdiffError, match=f"holds another measurement .{text}"):
            measured(**change)


def test_other_weights_are_another_measurement(tiny_model, tiny_features, measured, tmp_path):
    import torch

    measured()
    with torch.random.fork_rng(devices=[]):
        from fastdiff.models.registry import build, describe

        other = build(*describe(tiny_model.module), tiny_model.schedule, ("a", "b", "c"), "tiny")
    engine = fastdiff.compile(other, "ddim", 2, backend="eager")
    with pytest.raises(FastdiffError, match=r"holds another measurement .weights"):
        frontier.measure(engine, tiny_features, tmp_path / "frontier.json", ["ddim"], [2], 4, 2)


class ToNoise:
    """A table as ``ddim_inverse`` has it."""

    to_noise = True


def test_what_cannot_draw_a_picture_is_left_out_with_its_reason(measured, monkeypatch):
    def refuses(schedule, steps):
        raise FastdiffError("steps: expected an even number")

    def runs_away(schedule, steps):
        rows = build_table("ddim", schedule, steps).rows.copy()
        rows[:, 6] = 1e300
        return fastdiff.SamplerTable(rows, "far")

    monkeypatch.setitem(SAMPLERS, "refuses", refuses)
    monkeypatch.setitem(SAMPLERS, "inverse", lambda schedule, steps: ToNoise())
    monkeypatch.setitem(SAMPLERS, "far", runs_away)
    found = measured(samplers=("refuses", "inverse", "far", "ddim"), steps=(2,))
    assert [p.sampler for p in found.points] == ["ddim"]
    assert [(s, k, why) for s, k, why in found.skipped] == [
        ("refuses", 2, "steps: expected an even number"),
        ("inverse", 2, "its table ends in noise"),
        ("far", 2, "it drew values that are not finite"),
    ]
    text = markdown(found)
    assert "- refuses at 2 steps left out: steps: expected an even number" in text
    with pytest.raises(FastdiffError, match="samplers: expected some of ddpm"):
        measured(samplers=("magic",))


def made_up():
    points = tuple(
        Point(name, k, k, name == "ddpm", "x", (start / k, 1.1 * start / k))
        for name, start in (("ddim", 40.0), ("ddpm", 60.0), ("dpmpp_2m", 30.0))
        for k in (4, 10, 30)
        if (name, k) != ("dpmpp_2m", 30)
    )
    settings = Settings("m", "w", "m-features-1", 64, 0, 1.0)
    return Frontier(settings, (0.9, 1.0), points, (("lms", 4, "why not"),))


def test_the_table_marks_the_best(tmp_path):
    text = markdown(made_up())
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line[:1] == "|"}
    assert lines["model evaluations"].split("|")[2:5] == [" 4 ", " 10 ", " 30 "]
    assert lines["dpmpp_2m"].count("**") == 4
    assert "**1.400 ±" in lines["ddim"]
    assert "**" not in lines["ddpm"]
    assert "Floor: 0.950 ±" in text


def test_results_come_back_from_their_file_and_damage_is_refused(tmp_path):
    path = tmp_path / "deep" / "f.json"
    save_frontier(made_up(), path)
    assert load_frontier(path) == made_up()
    facts = json.loads(path.read_text())
    for change, message in (
        ({"format": 2}, "has format 2, this version reads up to 1"),
        ({"points": [{}]}, "holds no frontier of fastdiff"),
        ({"floor": [float("nan")]}, "holds no frontier of fastdiff"),
        ({"settings": {}}, "holds no frontier of fastdiff"),
        ({"skipped": [1]}, "holds no frontier of fastdiff"),
    ):
        path.write_text(json.dumps({**facts, **change}))
        with pytest.raises(FastdiffError, match=message):
            load_frontier(path)
    path.write_text("[")
    with pytest.raises(FastdiffError, match="holds no frontier of fastdiff"):
        load_frontier(path)
    with pytest.raises(FastdiffError, match="cannot read"):
        load_frontier(tmp_path / "none.json")
    with pytest.raises(FastdiffError, match="cannot write"):
        save_frontier(made_up(), path / "below-a-file.json")


def test_the_picture_shows_each_sampler(tmp_path):
    frontier_plot.draw(made_up(), tmp_path / "f.png")
    with Image.open(tmp_path / "f.png") as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    for shade in ("#0072B2", "#D55E00"):  # dpmpp_2m and ddim, each best somewhere
        rgb = [int(shade[k : k + 2], 16) for k in (1, 3, 5)]
        assert (np.abs(pixels.astype(int) - rgb).max(axis=1) < 3).sum() > 200
    with pytest.raises(FastdiffError, match="cannot write"):
        frontier_plot.draw(made_up(), tmp_path / "no" / "f.png")


@pytest.fixture
def files(tiny_model, tiny_features, tmp_path):
    """Flags for the tiny model and its features."""
    fastdiff.save(tiny_model, tmp_path / "tiny.safetensors")
    save_features(tiny_features, tmp_path / "tiny-features.safetensors")
    return ["--model", str(tmp_path / "tiny.safetensors"), "--quiet",
            "--features", str(tmp_path / "tiny-features.safetensors")]  # fmt: skip


def test_eval_prints_one_block_and_writes_json(files, tmp_path, capsys):
    out = tmp_path / "r" / "out.json"
    flags = ["--sampler", "ddim", "--steps", "3", "--n", "8", "--draws", "3", "--guidance", "2",
             "--seed", "9", "--set", "eta=0.5", "--batch-size", "8"]  # fmt: skip
    flags += ["--json", str(out)]
    assert main(["eval", *files, *flags]) == 0
    text = capsys.readouterr().out
    facts = json.loads(out.read_text())
    assert text.startswith("tiny, ddim:3,eta=0.5, guidance 2, backend ")
    for line in (
        f"distance     {facts['distance']:.3f} ± {facts['half_width']:.3f}",
        f"floor        {facts['floor']:.3f} ± ",
        "n, draws     8, 3",
        "evaluations  6 per image",
        "features     tiny-features-1",
    ):
        assert f"\n{line}" in text
    assert np.mean(facts["distances"]) == pytest.approx(facts["distance"])
    assert (facts["n"], facts["seed"], facts["evaluations"]) == (8, 9, 6)
    assert main(["eval", *files, "--steps", "1", "--n", "50", "--draws", "1"]) == 0
    text = capsys.readouterr().out
    assert "(one draw has no interval)" in text
    assert "none: fewer than 50 training pictures" in text


def test_eval_frontier_and_plot_only(files, tmp_path, capsys):
    out = tmp_path / "front"
    flags = ["eval", *files, "--frontier", "--out", str(out), "--n", "4", "--draws", "2"]
    assert main([*flags, "--samplers", "ddim, ddpm", "--evaluations", "2,3"]) == 0
    text = capsys.readouterr().out
    found = load_frontier(out / "frontier.json")
    assert f"   3 evaluations: {found.best()[3].sampler} " in text
    assert sorted(p.name for p in out.iterdir()) == [
        "frontier.json", "frontier.md", "frontier.png",
    ]  # fmt: skip
    (out / "frontier.png").unlink()
    assert main(["eval", "--plot-only", "--out", str(out)]) == 0
    assert (out / "frontier.png").stat().st_size > 10_000


def test_wrong_input_ends_with_one_sentence_and_code_2(files, tmp_path, capsys):
    for args, message in (
        (["--model", files[1]], "--features: expected a features file made for the data of 'tiny'"),
        ([*files, "--n", "1"], "n: expected an integer of at least 2, got 1"),
        ([*files, "--draws", "0"], "draws: expected an integer of at least 1"),
        ([*files, "--features", "no"], "features: expected a features file or a model that"),
        ([*files, "--features", "sprites16"], "are of pictures [3, 16, 16], tiny draws"),
        ([*files, "--features", files[1]], "is not a features file of fastdiff"),
        ([*files, "--sampler", "magic"], "sampler: expected one of"),
        ([*files, "--sampler", "ddim", "--set", "eta=2"], "eta: expected a number from 0 to 1"),
        ([*files, "--json", "/proc/no/x.json"], "cannot write /proc/no"),
        ([*files, "--frontier", "--steps", "3"], "--steps: not with --frontier"),
        ([*files, "--frontier", "--set", "eta=1"], "--set: not with --frontier"),
        ([*files, "--frontier", "--evaluations", "4,x"], "--evaluations: expected numbers like"),
        ([*files, "--frontier", "--evaluations", "0"], "--evaluations: expected numbers like"),
        ([*files, "--frontier", "--samplers", "magic", "--out", str(tmp_path)], "got 'magic'"),
        ([*files, "--frontier", "--out", "/proc/no"], "cannot write /proc/no"),
        (["--plot-only", "--out", str(tmp_path / "empty")], "cannot read"),
    ):
        assert main(["eval", *args]) == 2, args
        text = capsys.readouterr().err.strip()
        assert message in text, args
        assert len(text.splitlines()) == 1


def test_without_matplotlib_it_says_so_before_drawing(files, tmp_path, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["eval", *files, "--frontier", "--out", str(tmp_path / "x")]) == 2
    assert "pip install 'fastdiff[plots]'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
