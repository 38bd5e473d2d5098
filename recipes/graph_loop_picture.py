"""Draws ``docs/images/graph-loop.png``: a request on a GPU as one CUDA graph.

    python recipes/graph_loop_picture.py --out docs/images/graph-loop.png

Names and shapes of the buffers are those of a real session (``fastdiff/cuda/buffers.py``) of the
packaged sprites16 at batch 8, and so are the numbers of ops in the captured parts.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import matplotlib
import torch

import fastdiff
from fastdiff.cuda.buffers import Buffers, Shape
from fastdiff.cuda.network import Network

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

# Okabe and Ito's colours, told apart by colour-blind people too.
KERNEL, CHILD, LOOP, MEMORY, HOST = "#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7"
BATCH, CAPACITY = 8, 1024


def box(axes: Axes, at: tuple[float, float], size: tuple[float, float], colour: str, text: str,
        fill: float = 0.35, bold: bool = False, top: bool = False) -> None:  # fmt: skip
    """A rounded box with its text in the middle, or at its top."""
    (x, y), (w, h) = at, size
    axes.add_patch(
        FancyBboxPatch(
            (x, y),
            w,
            h,
            boxstyle="round,pad=0.02,rounding_size=0.12",
            linewidth=1.6,
            edgecolor=colour,
            facecolor=(*matplotlib.colors.to_rgb(colour), fill),
        )
    )
    axes.text(
        x + w / 2, y + h - 0.18 if top else y + h / 2, text, ha="center",
        va="top" if top else "center", fontsize=8.6, fontweight="bold" if bold else "normal",
        linespacing=1.35,
    )  # fmt: skip


def arrow(axes: Axes, a: tuple[float, float], b: tuple[float, float], curve: float = 0.0) -> None:
    """From a to b."""
    style = {"arrowstyle": "-|>", "linewidth": 1.5, "color": "#333333"}
    axes.annotate("", b, a, arrowprops={**style, "connectionstyle": f"arc3,rad={curve}"})


def main() -> None:
    """Draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/graph-loop.png"))
    args = parser.parse_args()
    network = Network(fastdiff.load("sprites16"), torch.device("cpu"), torch.float32, False)
    buffers = Buffers(network, Shape(BATCH, CAPACITY, slots=1))
    rules = Counter(found.rule for found in network.step.matches)
    fused = sum(n for rule, n in rules.items() if rule.startswith("fuse"))

    def shape(name: str) -> str:
        tensor = getattr(buffers, name)
        kind = str(tensor.dtype).removeprefix("torch.")
        return f"{name}  {kind} {list(tensor.shape)}"

    figure, axes = plt.subplots(figsize=(12.5, 6.2))
    axes.set(xlim=(0, 12.5), ylim=(0, 6.2))
    axes.axis("off")
    box(
        axes,
        (0.15, 2.5),
        (1.75, 1.5),
        HOST,
        "host\n\nwrites seeds,\ntable, contexts;\none launch",
        bold=False,
    )
    box(axes, (2.25, 1.35), (10.1, 4.7), "#555555", "one CUDA graph", 0.03, True, True)
    box(axes, (2.5, 2.7), (1.3, 1.1), KERNEL, "begin\n\nrows = 0\ngoes on?")
    box(
        axes,
        (4.15, 2.55),
        (1.75, 1.4),
        CHILD,
        "start\n\nwhat contexts\ndecide; x_T from\nthe seeds",
    )
    box(
        axes,
        (6.25, 1.6),
        (5.9, 3.95),
        LOOP,
        "WHILE rows are left and nobody cancels",
        0.10,
        True,
        True,
    )
    box(
        axes, (6.45, 2.35), (2.35, 1.9), CHILD,
        f"step\n\n{len(network.step.matches)} ops of the network,\n{fused} of them fused;\n"
        "then sampler_update:\nrow, noise, history",
    )  # fmt: skip
    box(axes, (9.15, 2.6), (1.3, 1.4), KERNEL, "keep_preview\n\nwhere the\nschedule says")
    box(axes, (10.75, 2.6), (1.25, 1.4), KERNEL, "advance\n\nrows += 1\ngoes on?")
    for a, b in (((1.95, 3.25), (2.45, 3.25)), ((3.85, 3.25), (4.1, 3.25)),
                 ((5.95, 3.25), (6.2, 3.25)), ((8.85, 3.3), (9.1, 3.3)),
                 ((10.5, 3.3), (10.7, 3.3))):  # fmt: skip
        arrow(axes, a, b)
    arrow(axes, (11.4, 4.08), (7.6, 4.33), 0.22)
    memory = "     ".join(shape(name) for name in ("rows", "count", "seeds", "table"))
    more = "    ".join(shape(name) for name in ("x", "x_past", "m_past", "schedule"))
    box(
        axes, (2.25, 0.12), (10.1, 1.0), MEMORY,
        f"device memory that stays where it is, read anew by every launch\n{memory}\n{more}", 0.25,
    )  # fmt: skip
    axes.text(
        1.02, 2.05, "progress and cancel:\ntwo words that\nboth sides see", ha="center",
        va="center", fontsize=8.5, color="#555555",
    )  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=110, bbox_inches="tight")
    print(args.out)


if __name__ == "__main__":
    main()
