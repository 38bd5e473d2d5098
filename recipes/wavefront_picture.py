"""Draws ``docs/images/wavefront.png``: the order in which a PixelCNN's pixels are chosen.

    python recipes/wavefront_picture.py --out docs/images/wavefront.png

Both panels are drawn from the analysis of a PixelCNN as the paper has it (mask A 7x7, blocks with
mask B 3x3), traced from its module.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import torch

from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.models.pixelcnn import PixelCNN, PixelCNNConfig
from fastdiff.pixelcnn.dependencies import Dependencies, analyse, seen_by
from fastdiff.pixelcnn.lower import lower

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch, Rectangle

HEIGHT, WIDTH = 9, 14
PIXEL = (5, 6)
# Okabe and Ito's colours, told apart by colour-blind people too.
CHOSEN, SAME, NEEDED, KNOWN, LATER = "#D55E00", "#E69F00", "#0072B2", "#A6CEE3", "#FFFFFF"


def analysed() -> Dependencies:
    """The dependencies of a random PixelCNN of two blocks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = PixelCNN(PixelCNNConfig(1, HEIGHT, WIDTH, levels=2, hidden=2, blocks=2)).eval()
    model = AutoregressiveModel(module, (1, HEIGHT, WIDTH), 2, input_scale=1.0, input_shift=0.0)
    return analyse(lower(model).step)


def main() -> None:
    """Analyses and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/wavefront.png"))
    args = parser.parse_args()
    dependencies = analysed()
    wavefront = dependencies.at()
    time = np.zeros((HEIGHT, WIDTH), dtype=int)
    for subtime in wavefront.subtimes:
        time[wavefront.active(0, subtime)] = subtime
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.7))

    left.imshow(time, cmap="viridis", alpha=0.55)
    left.set_title(
        f"Step at which a pixel is chosen: {time.max() + 1} steps instead of {HEIGHT * WIDTH}"
    )
    numbers(left, time)

    network = wavefront.network
    needed = seen_by(network, *PIXEL, 0)[network.channels[network.x]][0]
    now = time[PIXEL]
    shade = np.empty((HEIGHT, WIDTH, 3))
    for where, colour in (
        (time > now, LATER), (time < now, KNOWN), (needed, NEEDED), (time == now, SAME),
    ):  # fmt: skip
        shade[where] = to_rgb(colour)
    shade[PIXEL] = to_rgb(CHOSEN)
    right.imshow(shade, alpha=0.75)
    right.set_title(f"Step {now}")
    numbers(right, time)
    legend = {
        CHOSEN: f"pixel {PIXEL}",
        SAME: "chosen at the same step",
        NEEDED: "what its logits depend on",
        KNOWN: "known",
        LATER: "not known yet",
    }
    handles = [
        Patch(facecolor=colour, alpha=0.75, edgecolor="black", label=label)
        for colour, label in legend.items()
    ]
    right.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.03), ncol=3, frameon=False
    )
    for axis in (left, right):
        for row, column in np.argwhere(time == now):
            axis.add_patch(
                Rectangle(
                    (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=2
                )
            )
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle(
        f"A PixelCNN of slope {dependencies.slope}: pixel (i, j) at {dependencies.slope} i + j"
    )
    figure.tight_layout()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=110)


def numbers(axis: Axes, time: np.ndarray) -> None:
    """The steps, written into their pixels."""
    for (row, column), step in np.ndenumerate(time):
        axis.text(column, row, str(step), ha="center", va="center", fontsize=9)


if __name__ == "__main__":
    main()
