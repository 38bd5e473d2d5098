"""Puts a finished ``pixelcnn-mnist`` run into the package, with the model card that goes with it.

    python recipes/pixelcnn_mnist_card.py --run runs/pixelcnn-mnist --data ../shared/data/mnist

copies the averaged model into ``fastdiff/zoo/``, measures its bits per dimension on all of MNIST's
test images and on as many training images, draws the loss curve and writes ``pixelcnn-mnist.md``.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import matplotlib
import numpy as np
from safetensors import safe_open
from tqdm import tqdm

from fastdiff.checkpoint import ZOO, load, save
from fastdiff.data.dataset import ImageSet, load_images
from fastdiff.metrics.bits_per_dimension import BitsPerDimension, bits_per_dimension
from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.models.kinds import expect_autoregressive

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NAME = "pixelcnn-mnist"
CARD = """# pixelcnn-mnist

Draws 28x28 grey handwritten digits of 256 levels, pixel by pixel, without classes.

| | |
| --- | --- |
| network | `PixelCNN(hidden={hidden}, blocks={blocks})`: mask A 7x7, then mask B 3x3 in blocks |
| parameters | {parameters:,}, of which masks hold {masked:,} at zero |
| file | `pixelcnn-mnist.safetensors`, {size_mb:.2f} MB: averaged weights, matrices in float16 |
| input | level / 255 |
| training | {steps:,} Adam steps of {batch} images ({epochs:.1f} epochs) |
| | lr {lr:g}, {warmup} steps of warm-up, half cosine; EMA {ema}, norm clipped to {clip_norm:g} |
| | no augmentation, {precision} forward |
{remark}| made with | `make train-pixelcnn-mnist`, then `recipes/pixelcnn_mnist_card.py` |

## Data and licence

MNIST (LeCun, Cortes, Burges): the 60,000 training images, none held back. Commonly given as
CC BY-SA 3.0. The weights carry the licence of this project (Apache-2.0).

## Bits per dimension

-log2 p(image) / 784 with standard error over images (`fastdiff.metrics.bits_per_dimension`), of
these weights in float32; knowing nothing costs 8.

| images | bits per dimension |
| --- | --- |
| test, all {test_images:,} | {test} |
| training, {train_images:,} of them | {train} |

## Loss

![training loss](pixelcnn-mnist-loss.png)

## Limits

A small net, trained for minutes rather than days; the published gated networks reach about 0.80.
A pixel is seen only through windows that grow by a row a block, so strokes far apart can disagree,
and a masked 3x3 window leaves a blind spot to the upper right (van den Oord et al. 2016). Nothing
here was checked for likeness to single training images.
"""


def loss_curve(log: Path, test: BitsPerDimension, path: Path) -> None:
    """Draws the loss (mean over 100 steps) against the step, over the finished model's figure."""
    with log.open() as file:
        rows = {int(r["step"]): float(r["loss"]) for r in csv.DictReader(file)}
    steps = sorted(rows)
    figure, axes = plt.subplots(figsize=(6.4, 3.2), dpi=100)
    axes.plot(steps, [rows[s] for s in steps], color="#3465a4", linewidth=1.2, label="training")
    axes.axhline(test.mean, color="#cc0000", linewidth=1, linestyle="--", label="test, finished")
    axes.set_ylim(0.75, 1.4)
    axes.set_xlabel("optimiser step")
    axes.set_ylabel("bits per dimension")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)


def measure(model: AutoregressiveModel, path: Path, count: int) -> BitsPerDimension:
    """Bits per dimension on ``count`` images of a file, spread over it."""
    x = load_images(path).x
    x = x[:: max(1, len(x) // count)][:count]
    images = ImageSet(x, np.zeros((len(x), 0), dtype=np.float32))
    with tqdm(total=len(x), unit="image", desc=path.name) as bar:
        return bits_per_dimension(model, images, progress=bar.update)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("runs/pixelcnn-mnist"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data/mnist"))
    parser.add_argument("--remark", help="what else to know of the run, a row of the card")
    args = parser.parse_args()

    source = args.run / "model.safetensors"
    with safe_open(source, "pt") as file:
        facts = json.loads(file.metadata()["fastdiff"])["facts"]
    facts["source"] = "MNIST, commonly given as CC BY-SA 3.0"
    facts["licence"] = "Apache-2.0"
    target = ZOO / f"{NAME}.safetensors"
    save(load(source), target, facts=facts)
    model = expect_autoregressive(load(target))

    test = measure(model, args.data / "t10k-images-idx3-ubyte.gz", 10_000)
    train = measure(model, args.data / "train-images-idx3-ubyte.gz", 10_000)
    config, settings = facts["sizes"], facts["train"]
    masks = [v for k, v in model.module.named_buffers() if k.endswith("mask")]
    card = CARD.format(
        hidden=config["hidden"],
        blocks=config["blocks"],
        parameters=sum(p.numel() for p in model.module.parameters()),
        masked=sum(int((~mask).sum()) for mask in masks),
        size_mb=target.stat().st_size / 1e6,
        steps=facts["step"],
        batch=settings["batch_size"],
        epochs=facts["step"] * settings["batch_size"] / facts["images"],
        lr=settings["lr"],
        warmup=settings["warmup"],
        ema=settings["ema"],
        clip_norm=settings["clip_norm"],
        precision=settings["precision"],
        test=test,
        test_images=test.images,
        train=train,
        train_images=train.images,
        remark=f"| | {args.remark} |\n" if args.remark else "",
    )
    (ZOO / f"{NAME}.md").write_text(card)
    loss_curve(args.run / "loss.csv", test, ZOO / f"{NAME}-loss.png")
    print(f"test {test}, training {train}")


if __name__ == "__main__":
    main()
