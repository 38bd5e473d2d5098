"""Draws ``docs/images/convergence.png``: every deterministic sampler's error against its rows.

    python recipes/convergence_picture.py --out docs/images/convergence.png

One-dimensional data (a mixture of three Gaussians) whose score and whose exact solution are known:
``fastdiff/testing/mixture.py``. Small multiples by order, each with the slope of its order.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from tqdm import tqdm

from fastdiff.testing.convergence import ORDERS, ode_error

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STEPS = (11, 15, 21, 29, 41, 57, 81, 115, 161, 227, 321)
# Okabe and Ito's colours, told apart by colour-blind people too.
COLOURS = (
    "#882255",
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#999999",
)
MARKERS = "osD^vXP*<"


def label(name: str, options: dict[str, object]) -> str:
    """``lms, order=2``: how the sampler is written."""
    return ", ".join(
        [name, *(f"{k}={v:g}" if k != "full_order" else k for k, v in options.items())]
    )


def main() -> None:
    """Measures and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/convergence.png"))
    args = parser.parse_args()
    # Euler is DDIM and EDM without churn is Heun: one line each.
    drawn = [case for case in ORDERS if case[0] not in ("euler", "edm")]
    orders = sorted({order for _, _, order in drawn})
    figure, axes = plt.subplots(1, len(orders), figsize=(15, 5.2), sharey=True)
    bar = tqdm(total=len(drawn) * len(STEPS), unit="run")
    for axis, order in zip(axes, orders, strict=True):
        cases = [case for case in drawn if case[2] == order]
        worst = 0.0
        for k, (name, options, _) in enumerate(cases):
            errors = []
            for steps in STEPS:
                errors.append(ode_error(name, options, steps))
                bar.update()
            worst = max(worst, errors[-1])
            axis.loglog(
                STEPS,
                errors,
                marker=MARKERS[k],
                color=COLOURS[k],
                markersize=5,
                linewidth=1.6,
                label=label(name, options),
            )
        rows = np.array(STEPS[3:], dtype=float)
        axis.loglog(rows, 2.5 * worst * (rows / rows[-1]) ** -order, "k--", linewidth=1, alpha=0.6)
        axis.text(rows[-3], 4.5 * worst * (rows[-3] / rows[-1]) ** -order, f"slope -{order}")
        axis.set_title(f"order {order}")
        axis.set_xlabel("model evaluations")
        axis.set_xticks([11, 21, 41, 81, 161, 321], ["11", "21", "41", "81", "161", "321"])
        axis.minorticks_off()
        axis.grid(alpha=0.25)
        axis.legend(fontsize=8.5, loc="lower left", framealpha=0.9)
    axes[0].set_ylim(1e-9, 1.0)
    axes[0].set_ylabel("largest error of x at the last level")
    figure.suptitle(
        "Deterministic samplers on a Gaussian mixture with the exact score (levels even in lambda)"
    )
    figure.tight_layout()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
