"""The frontier as a picture: one overview, and a small panel for every sampler."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastdiff.errors import FastdiffError
from fastdiff.metrics.frontier_results import Frontier, Point
from fastdiff.metrics.quality import Quality

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito's colours: told apart with every common colour vision, and in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195")
GREY = "#c4c4c4"
INK = "#333333"
COLUMNS = 5
REFERENCE = "ddim"  # named in the overview even where it is never the best


def check_matplotlib() -> None:
    """Raises FastdiffError where matplotlib, the ``plots`` extra, is not installed."""
    try:
        import matplotlib  # noqa: F401 (whether it is there)
    except ModuleNotFoundError as error:
        raise FastdiffError(
            "--frontier: the picture needs matplotlib, which is not installed "
            "(pip install 'fastdiff[plots]')"
        ) from error


def draw(frontier: Frontier, path: Path) -> None:
    """Writes the PNG: distance against model evaluations, both axes logarithmic.

    Above all samplers, those that are best somewhere in colour; below a panel for each, with the
    others in grey behind it. Dashed lines with open circles are stochastic samplers.
    """
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    series = _series(frontier)
    best = list(dict.fromkeys(p.sampler for p in frontier.best().values()))
    colour = {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(best)}
    if REFERENCE in series:
        colour.setdefault(REFERENCE, INK)
    order = sorted(series, key=lambda name: _typical(frontier, series[name]))
    rows = -(-len(order) // COLUMNS)
    figure = Figure(figsize=(12.0, 5.6 + 2.0 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows + 1, COLUMNS, height_ratios=[5.6, *[2.0] * rows])
    overview = figure.add_subplot(grid[0, :])
    for name in order:
        _line(
            overview, frontier, series[name], colour.get(name, GREY), 2.0 if name in colour else 1
        )
    _axes(overview, frontier)
    _labels(overview, frontier, series, colour)
    s = frontier.settings
    overview.set_title(
        f"{s.model}: distance to held-out pictures, all samplers\n", loc="left", color=INK,
        fontweight="bold",
    )  # fmt: skip
    overview.text(
        0.0, 1.015,
        f"{s.features}, n = {s.n}, guidance {s.guidance:g}, {s.dtype}, mean ± 95 % interval."
        " In colour: best at some cost, and ddim. Open circles: stochastic. Grey: named below.",
        transform=overview.transAxes, fontsize=9, color=INK,
    )  # fmt: skip
    overview.set_xlabel("model evaluations per image")
    overview.set_ylabel("Fréchet distance (lower is better)")
    for k, name in enumerate(order):
        panel = figure.add_subplot(
            grid[1 + k // COLUMNS, k % COLUMNS], sharex=overview, sharey=overview
        )
        for other in order:
            _line(panel, frontier, series[other], GREY, 0.6, marks=False)
        _line(panel, frontier, series[name], colour.get(name, INK), 1.8)
        _axes(panel, frontier)
        panel.set_title(name, fontsize=10, color=colour.get(name, INK), fontweight="bold", pad=3)
        panel.tick_params(labelsize=7, labelleft=k % COLUMNS == 0)
    try:
        figure.savefig(path)
    except OSError as error:
        raise FastdiffError(f"out: cannot write {path} ({error.strerror or error})") from error


def _series(frontier: Frontier) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for point in sorted(frontier.points, key=lambda p: p.evaluations):
        found.setdefault(point.sampler, []).append(point)
    return found


def _typical(frontier: Frontier, points: list[Point]) -> float:
    """The mean logarithm of a sampler's distances: who is good overall comes first."""
    return float(np.mean([np.log(frontier.quality(p).mean + 1e-9) for p in points]))


def _line(
    axes: Axes,
    frontier: Frontier,
    points: list[Point],
    colour: str,
    width: float,
    marks: bool = True,
) -> None:
    x = [p.evaluations for p in points]
    found = [frontier.quality(p) for p in points]
    stochastic = points[0].stochastic
    over = 1 if colour == GREY else 3
    axes.errorbar(
        x,
        [q.mean for q in found],
        yerr=[q.half_width or 0.0 for q in found] if marks else None,
        color=colour,
        linewidth=width,
        elinewidth=0.8 * width,
        linestyle="--" if stochastic else "-",
        marker=("o" if marks else ""),
        markersize=2.0 + 1.5 * width,
        markerfacecolor="white" if stochastic else colour,
        zorder=over,
    )


def _axes(axes: Axes, frontier: Frontier) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted({p.evaluations for p in frontier.points})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    means = [frontier.quality(p).mean for p in frontier.points]
    if frontier.floor:
        level = Quality(frontier.settings.n, frontier.floor).mean
        means.append(level)
        axes.axhline(level, color=INK, linewidth=1.0, linestyle=(0, (6, 3)), zorder=2)
    # By the means: intervals over two draws are so wide that they would hide everything else.
    axes.set_ylim(0.75 * min(means), 1.3 * max(means))


def _labels(
    axes: Axes, frontier: Frontier, series: dict[str, list[Point]], colour: dict[str, str]
) -> None:
    """Names at the coloured lines' right ends, moved apart where they would touch."""
    right = max(p.evaluations for p in frontier.points)
    ends = sorted((frontier.quality(series[n][-1]).mean, n) for n in colour)
    low, high = np.log(axes.get_ylim())
    at = np.array([np.log(value) for value, _ in ends])
    for k in range(1, len(at)):
        at[k] = max(at[k], at[k - 1] + 0.045 * (high - low))
    for (value, name), y in zip(ends, at, strict=True):
        axes.annotate(
            name,
            (series[name][-1].evaluations, value),
            xytext=(right * 1.05, float(np.exp(y))),
            color=colour[name],
            fontweight="bold",
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour[name], "linewidth": 0.6, "shrinkB": 4},
        )
    axes.set_xlim(right=right * 1.4)
    if frontier.floor:
        level = Quality(frontier.settings.n, frontier.floor).mean
        left = min(p.evaluations for p in frontier.points)
        axes.annotate(
            "floor: training pictures",
            (left, level), (0, -12), textcoords="offset points", color=INK, fontsize=9,
        )  # fmt: skip
