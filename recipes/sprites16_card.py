"""Puts a finished ``sprites16`` run into the package, with the model card that goes with it.

    python recipes/sprites16_card.py --run runs/sprites16 --data data

copies the averaged model into ``fastdiff/zoo/``, measures its noise error on training and held-out
sprites, draws the loss curve and writes ``sprites16.md``.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import matplotlib
from safetensors import safe_open

from fastdiff.checkpoint import ZOO, load, save
from fastdiff.data.dataset import ImageSet, load_images
from fastdiff.metrics.noise_error import NoiseError, noise_error

matplotlib.use("Agg")
import matplotlib.pyplot as plt

CARD = """# sprites16

Draws 16x16 RGB sprites on white in five classes: {labels}.

| | |
| --- | --- |
| network | `ContextUnet(in_channels=3, n_feat=64, n_cfeat=5, height=16)` |
| parameters | {parameters:,} |
| file | `sprites16.safetensors`, {size_mb:.2f} MB: averaged (EMA) weights, matrices in float16 |
| schedule | the course's: T = 500, beta from 1e-4 to 0.02, time as i / T |
| context | one-hot, 5 wide, in the order above; zeros are unconditional (one sample in ten was) |
| training | {steps:,} Adam steps of {batch} images, lr {lr:g}, warm-up and half cosine |
| | EMA {ema}, half of the images mirrored, {precision} forward |
{remark}| made with | `make train-sprites16`, then `recipes/sprites16_card.py` |

## Data and licence

{train_count:,} sprites ({counts}) made from the tiles of Dungeon Crawl Stone Soup 0.28, in the
majority CC0, curated by `recipes/sprites_data.py`: composited on white, halved from 32x32 by an
area filter; wall, floor and water tiles, tentacle segments, interface glyphs and near-empty tiles
left out. The `player` class is adventurers dressed at random from the game's bodies, clothes and
weapons. The weights carry the licence of this project (Apache-2.0).

{held_count} further sprites were held out. Many tiles are recolours of one another and adventurers
share their parts, so held-out is not the same as unrelated.

## Mean squared noise error

Mean of (eps - model(x_t))^2 with standard error over images, {draws} fixed noises an image
(`fastdiff.metrics.noise_error`); always answering 0 scores 1.

The training column is measured on an equal number of training sprites.

| t / T | held out | training |
| --- | --- | --- |
{errors}

## Loss

![training loss](sprites16-loss.png)

## Limits

A small net on a small set: shapes are convincing at a glance and often not nameable. `spell` mixes
framed icons with bare effects, as the data does. Nothing here was checked for likeness to single
training images.
"""


def loss_curve(log: Path, path: Path) -> None:
    """Draws the loss (mean over 100 steps) against the step."""
    with log.open() as file:
        rows = {int(r["step"]): float(r["loss"]) for r in csv.DictReader(file)}
    steps = sorted(rows)
    figure, axes = plt.subplots(figsize=(6.4, 3.2), dpi=100)
    axes.plot(steps, [rows[s] for s in steps], color="#3465a4", linewidth=1.2)
    axes.set_yscale("log")
    axes.set_xlabel("optimiser step")
    axes.set_ylabel("mean squared noise error")
    axes.set_yticks([0.08, 0.1, 0.15, 0.2, 0.4])
    axes.get_yaxis().set_major_formatter(matplotlib.ticker.ScalarFormatter())
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("runs/sprites16"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--remark", help="what else to know of the run, a row of the card")
    args = parser.parse_args()

    source = args.run / "model.safetensors"
    with safe_open(source, "pt") as file:
        facts = json.loads(file.metadata()["fastdiff"])["facts"]
    facts["source"] = "Dungeon Crawl Stone Soup 0.28 tiles, in the majority CC0"
    facts["licence"] = "Apache-2.0"
    target = ZOO / "sprites16.safetensors"
    save(load(source), target, facts=facts)
    model = load(target)

    training = load_images(args.data / "sprites16.npz")
    held = load_images(args.data / "sprites16-heldout.npz")
    draws = 4
    some = slice(None, None, max(1, len(training) // len(held)))  # as many as are held out
    seen = ImageSet(training.x[some], training.context[some], training.labels)
    errors = [noise_error(model, images, draws=draws) for images in (held, seen)]

    def cell(error: NoiseError) -> str:
        return f"{error.mean:.4f} ± {error.standard_error:.4f}"

    table = [f"| {a.fraction} | {cell(a)} | {cell(b)} |" for a, b in zip(*errors, strict=True)]
    train = facts["train"]
    counts = training.context.sum(axis=0).astype(int).tolist()
    card = CARD.format(
        counts=", ".join(f"{n} {name}" for n, name in zip(counts, model.labels, strict=True)),
        labels=", ".join(f"`{name}`" for name in model.labels),
        parameters=sum(p.numel() for p in model.module.parameters()),
        size_mb=target.stat().st_size / 1e6,
        steps=facts["step"],
        batch=train["batch_size"],
        lr=train["lr"],
        ema=train["ema"],
        precision=train["precision"],
        train_count=len(training),
        held_count=len(held),
        draws=draws,
        errors="\n".join(table),
        remark=f"| | {args.remark} |\n" if args.remark else "",
    )
    (ZOO / "sprites16.md").write_text(card)
    loss_curve(args.run / "loss.csv", ZOO / "sprites16-loss.png")
    print("\n".join(table))


if __name__ == "__main__":
    main()
