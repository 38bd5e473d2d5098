"""Draws what pixelcnn.py measured: seconds a run against images, with the times against the loop.

    python benchmarks/pixelcnn_plot.py benchmarks/results/pixelcnn-<cpu>.json PICTURE

Lines are medians; numbers at ours say how many times as fast as the naive loop. Dashed: the
multiplications that are needed at all, at the speed of a matrix product in float32.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pixelcnn_table import OURS, Run, batches, middle, naive, needed, ratio

# Okabe and Ito's, as in native_plot.py.
LINES = {
    "naive loop (eager)": ("#7A5195", "s"),
    OURS[0]: ("#0072B2", "o"),
    OURS[1]: ("#56B4E9", "^"),
}
INK = "#333333"


def draw(run: Run, path: Path) -> None:
    """Writes the PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 5.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    sizes = batches(run)
    for name, (colour, marker) in LINES.items():
        ours = name in OURS
        seconds = [middle(run, name, n) if ours else naive(run, n) for n in sizes]
        axes.plot(sizes, seconds, color=colour, marker=marker, lw=1.8)
        axes.annotate(name, (sizes[-1], seconds[-1]), (8, 0), textcoords="offset points",
                      color=colour, va="center", fontsize=9)  # fmt: skip
        for n, s in zip(sizes, seconds, strict=True):
            if ours:
                below = name == OURS[1]
                axes.annotate(f"{ratio(run, name, n):,.0f}x", (n, s), (0, -13 if below else 7),
                              textcoords="offset points", color=colour, ha="center",
                              fontsize=8)  # fmt: skip
    bound = [needed(run, n) for n in sizes]
    axes.plot(sizes, bound, color=INK, ls="--", lw=1)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.set_xlim(sizes[0] * 0.8, sizes[-1] * 3.2)
    axes.set_xlabel("images drawn together")
    axes.set_ylabel("seconds a run (lower is better)")
    axes.grid(color="#DDDDDD", lw=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    gflop = run["flops_per_image"] / 1e9
    figure.suptitle(
        f"PixelCNN, 15 blocks, h = 128, 28x28, 256 levels, on {run['threads']} threads of "
        f"{run['machine']['cpu']}.\nDashed: the {gflop:.1f} GFLOP that an image needs, at the "
        "speed of a float32 matrix product.",
        x=0.01, ha="left", color=INK, fontsize=10,
    )  # fmt: skip
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    draw(json.loads(args.results.read_text()), args.picture)


if __name__ == "__main__":
    main()
