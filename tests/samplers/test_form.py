"""Forms and paths: what samplers are written in."""

import numpy as np
import pytest

from fastdiff import FastdiffError, schedules
from fastdiff.samplers import SamplerTable, build_table, ddim
from fastdiff.samplers.form import SYMBOLS, Form, M, Rows, X, Z, combine, remember
from fastdiff.samplers.path import at_rho, path
from fastdiff.samplers.table import COLUMNS, INDEX

LINEAR = schedules.linear(1000)


def test_forms_are_linear():
    form = 2.0 * X - M / 4.0 + np.float64(3.0) * Z - (-X)
    assert {s: form[s] for s in SYMBOLS if form[s]} == {"x[0]": 3.0, "m[0]": -0.25, "noise": 3.0}
    assert str(form) == "3 x[0] + -0.25 m[0] + 3 noise"
    assert combine([1.0, 2.0], [X, M])["m[0]"] == 2.0
    assert set(SYMBOLS) <= set(COLUMNS)


def test_a_row_later_everything_is_one_back_and_nothing_is_made_up():
    form = (X + 2.0 * M).older()
    assert (form["x[1]"], form["m[1]"], form["x[0]"]) == (1.0, 2.0, 0.0)
    assert [f["m[1]"] for f in remember(M, [M.older()], 2)] == [1.0, 0.0]
    assert remember(M, [M.older()], 2)[1]["m[2]"] == 1.0
    with pytest.raises(ValueError, match=r"m\[3\] is not kept"):
        M.older().older().older().older()
    with pytest.raises(ValueError, match="noise is not kept"):
        Z.older()
    with pytest.raises(ValueError, match="x0 is not kept"):
        Form.of("x0").older()


def test_a_table_has_a_row_for_every_node():
    rows = Rows(path(LINEAR, 3))
    rows.add(X)
    with pytest.raises(ValueError, match="1 rows over a path of 3"):
        rows.table("short")


def test_between_levels_sigma_and_time_belong_together():
    level = np.array([1.0, 2.5, 500.0, 999.9, 1000.0])
    ab = LINEAR.alpha_bar
    log = np.interp(level, np.arange(1, 1001), 0.5 * np.log((1 - ab[1:]) / ab[1:]))
    nodes = at_rho(LINEAR, np.exp(log))
    np.testing.assert_allclose(nodes.level[:-1], level, rtol=1e-9)
    np.testing.assert_allclose(nodes.t[:-1], level - 1, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(nodes.alpha**2 + nodes.sigma**2, 1.0, rtol=1e-14)
    assert (nodes.alpha[-1], nodes.sigma[-1], nodes.rho[-1]) == (1.0, 0.0, 0.0)
    course = at_rho(schedules.course(), np.exp(log[:1]) * 5)
    assert 0 < course.t[0] < 1


@pytest.mark.parametrize("steps", [1, 2, 7, 50, 400, 999, 1000])
def test_every_spacing_falls_and_stays_inside(steps):
    for spacing in ("trailing", "leading", "linspace", "quad", "karras", "exponential"):
        visited = path(LINEAR, steps, spacing)
        assert len(visited) == steps
        assert (np.diff(visited.level) < 0).all(), spacing
        assert visited.level[0] <= 1000
        assert visited.level[-2] >= 1 - 1e-9
        assert spacing == "leading" or visited.level[0] > 999.999


def test_quad_is_ddims():
    visited = path(LINEAR, 10, "quad").level[:-1][::-1]
    np.testing.assert_array_equal(visited, [round(1000 * (k / 10) ** 2) for k in range(1, 11)])


def test_tables_know_their_levels_and_what_they_clamp():
    table = ddim(LINEAR, 10)
    level = (table["t"] + 1).astype(int)
    np.testing.assert_allclose(table["alpha"] ** 2, LINEAR.alpha_bar[level], rtol=1e-12)
    np.testing.assert_allclose(table["sigma"] ** 2, 1 - LINEAR.alpha_bar[level], rtol=1e-12)
    assert not table.clamps
    assert ddim(LINEAR, 10, clip=(-1, 1)).clamps
    clamped = build_table("dpmpp_2m", LINEAR, 10, clip=(-1, 1))
    assert clamped.clamps
    assert clamped["clamp_m"].all()
    assert "clamp_m" in str(clamped)
    assert build_table("ddim_inverse", LINEAR, 4).to_noise
    assert "x_0 = image" in str(build_table("ddim_inverse", LINEAR, 4))
    rows = table.rows.copy()
    same, other = SamplerTable(rows, "a"), SamplerTable(rows, "a", to_noise=True)
    assert same == table
    assert other != table
    rows[:, INDEX["clamp_m"]] = 0.5
    with pytest.raises(FastdiffError, match="clamp_m 0 or 1"):
        SamplerTable(rows, "half")
    rows[:, INDEX["clamp_m"]], rows[:, INDEX["x0_from_m"]] = 1.0, 0.0
    with pytest.raises(FastdiffError, match="only where x0_from_m is not 0"):
        SamplerTable(rows, "none")


EDM = schedules.EDMSchedule()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build_table("ddim", LINEAR, 5, strength=0), r"strength: .* in \(0, 1\], got 0"),
        (lambda: build_table("ddim", LINEAR, 5, strength=1.5), "got 1.5"),
        (lambda: build_table("unipc", LINEAR, 5, order=4), "order: .* from 1 to 3, got 4"),
        (lambda: build_table("lms", LINEAR, 5, order=2.5), "order: .* from 1 to 4, got 2.5"),
        (lambda: build_table("tcd", LINEAR, 5, gamma=-1), "gamma: .* from 0 to 1, got -1"),
        (lambda: build_table("lcm", LINEAR, 51), "steps: expected at most original_steps 50"),
        (lambda: build_table("edm", LINEAR, 5, churn=-1), "churn: .* of at least 0, got -1"),
        (
            lambda: build_table("edm", LINEAR, 5, churn_from=2, churn_to=1),
            "churn_to: .* of at least churn_from 2, got 1",
        ),
        (lambda: build_table("sa_solver", LINEAR, 5, predictor=4), "predictor: .* 1 to 3, got 4"),
        (lambda: build_table("dpmpp_3m", LINEAR, 5, full_order=1), "full_order: expected True"),
        (lambda: build_table("dpmpp_2m", EDM, 5, spacing="trailing"), "one of karras, exponential"),
        (lambda: build_table("ddim", EDM, 0), "steps: expected an integer from 1"),
        (lambda: build_table("plms", EDM, 5), "'plms' is defined over a schedule's levels"),
        (
            lambda: build_table("ddim", ZERO_SNR, 5, spacing="karras"),
            "spacing: 'karras' needs some signal at level T",
        ),
        (lambda: schedules.EDMSchedule(sigma_min=0), "schedule sigma_min: .* above 0, got 0"),
        (lambda: schedules.EDMSchedule(sigma_min=90.0), "less than sigma_max 80.0, got 90.0"),
    ],
)
def test_wrong_options_are_named(call, message):
    with pytest.raises(FastdiffError, match=message):
        call()


ZERO_SNR = schedules.Schedule(prediction="v", zero_snr=True)
