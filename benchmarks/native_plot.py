"""Draws what native.py measured: milliseconds per image against batch, a panel for each precision.

    python benchmarks/native_plot.py benchmarks/results/native-<cpu>.json docs/images/native.png

Lines are medians, bars 10th to 90th percentiles; numbers at ours say how many times as fast as the
best peer. Dashed: the direct algorithm's operations at the speed of a matrix product.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from native import Result, middle, roofline
from peers import BF16, F32

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's, as in fastdiff/metrics/frontier_plot.py; by the beginning of the name.
COLOURS = {
    "native": "#0072B2",
    "torch.compile": "#D55E00",
    "ONNX Runtime": "#009E73",
    "OpenVINO": "#CC79A7",
    "eager channels_last": "#E69F00",
    "eager": "#7A5195",
}
MARKERS = {"native": "o", "torch.compile": "s", "ONNX Runtime": "D", "OpenVINO": "^"}
INK = "#333333"
End = tuple[float, str, str]  # where a line ends at the right, its colour, and whose it is


def draw(run: Result, path: Path) -> None:
    """Writes the PNG for one of the file's runs of single steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    results = run["results"]
    precisions = [p for p in (F32, BF16) if any(r["precision"] == p for r in results)]
    figure = Figure(figsize=(6.2 * len(precisions), 5.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(precisions), sharey=True, squeeze=False)[0]
    ends = []
    for axes, precision in zip(panels, precisions, strict=True):
        ends.append(_panel(axes, run, [r for r in results if r["precision"] == precision]))
        axes.set_title(precision, loc="left", color=INK, fontweight="bold")
    panels[0].set_ylim(bottom=0.8 * panels[0].get_ylim()[0])  # room for the numbers, in all panels
    for axes, end in zip(panels, ends, strict=True):
        _labels(axes, end, max(r["batch"] for r in results))
    panels[0].set_ylabel("ms per image and step (lower is better)")
    mflop = run["flops_per_image"] / 1e6
    figure.suptitle(
        f"One step of {run['model']} on {run['threads']} threads of {run['machine']['cpu']}.  "
        f"Numbers: against the best peer.  Dashed: {mflop:.0f} MFLOP per image, the direct\n"
        "algorithm's, at the speed of a matrix product measured in the same turns.",
        x=0.01, ha="left", color=INK, fontsize=10,
    )  # fmt: skip
    figure.savefig(path)


def _panel(axes: Axes, run: Result, results: list[Result]) -> list[End]:
    """One precision; the lines' ends."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    batches = sorted({r["batch"] for r in results})
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends = list[End]()
    for name in dict.fromkeys(r["name"] for r in results if r["kind"] != "roofline"):
        rows = sorted((r for r in results if r["name"] == name), key=lambda r: r["batch"])
        ends.append((*_line(axes, rows), name))
    roof = [
        1e3 * roofline([r for r in results if r["batch"] == b], results[0]["precision"],
                       run["flops_per_image"])
        for b in batches
    ]  # fmt: skip
    if np.isfinite(roof).all():
        axes.plot(batches, roof, color=INK, linestyle=(0, (6, 3)), linewidth=1.2, zorder=2)
        ends.append((roof[-1], INK, "direct convolution"))
    for r in results:
        if r["kind"] == "ours":
            _ratio(axes, r, results)
    axes.xaxis.set_major_locator(FixedLocator(batches))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("batch")
    axes.set_xlim(batches[0] / 1.4, batches[-1] * 1.2)
    return ends


def _style(name: str) -> tuple[str, str]:
    """Colour and marker."""
    family = next((start for start in COLOURS if name.startswith(start)), "")
    return COLOURS.get(family, INK), MARKERS.get(family, "v")


def _line(axes: Axes, rows: list[Result]) -> tuple[float, str]:
    """One contestant; its last value and its colour."""
    colour, marker = _style(rows[0]["name"])
    mine = rows[0]["kind"] == "ours"
    spread = np.array(
        [np.percentile(r["seconds_per_call"], [10, 50, 90]) / r["batch"] * 1e3 for r in rows]
    )
    low, value, high = spread.T
    axes.errorbar(
        [r["batch"] for r in rows], value, yerr=[value - low, high - value],
        color=colour, marker=marker, linewidth=2.6 if mine else 1.4,
        markersize=6.5 if mine else 4.5, elinewidth=1.0, zorder=4 if mine else 3,
    )  # fmt: skip
    return float(value[-1]), colour


def _ratio(axes: Axes, mine: Result, results: list[Result]) -> None:
    """How many times as fast as the best peer, below the point."""
    peers = [middle(r) for r in results if r["kind"] == "peer" and r["batch"] == mine["batch"]]
    if peers:
        axes.annotate(
            f"{min(peers) / middle(mine):.1f}x",
            (mine["batch"], 1e3 * middle(mine) / mine["batch"]),
            xytext=(0, -17), textcoords="offset points", ha="center",
            color=_style(mine["name"])[0], fontsize=10, fontweight="bold",
        )  # fmt: skip


def _labels(axes: Axes, ends: list[End], right: float) -> None:
    """Names right of the lines' ends, moved apart where they would touch."""
    low, high = np.log(axes.get_ylim())
    ends = sorted(ends)
    at = np.array([np.log(value) for value, _, _ in ends])
    gap = 0.05 * (high - low)
    for _ in range(200):
        for k in range(1, len(at)):
            push = max(0.0, gap - (at[k] - at[k - 1])) / 2
            at[k - 1 : k + 1] += (-push, push)
    for (value, colour, name), y in zip(ends, at, strict=True):
        axes.annotate(
            name.removesuffix(" float32").removesuffix(" bf16"),
            (right, value), xytext=(right * 1.5, float(np.exp(y))),
            color=colour, va="center", fontsize=9, annotation_clip=False,
            fontweight="bold" if name.startswith("native") else "normal",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkB": 4,
                        "relpos": (0.0, 0.5)},
        )  # fmt: skip


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, help="what native.py wrote")
    parser.add_argument("picture", type=Path, help="the PNG")
    parser.add_argument("--run", default="step", help='"step" (default) or "step avx2"')
    args = parser.parse_args()
    runs: dict[str, Any] = json.loads(args.results.read_text())["runs"]
    if args.run not in runs or not args.run.startswith("step"):
        parser.error(f"--run: expected one of {', '.join(runs)}, got {args.run!r}")
    draw(runs[args.run], args.picture)
    print(args.picture)


if __name__ == "__main__":
    main()
