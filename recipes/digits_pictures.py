"""Draws the pictures of ``digits``: samples of every class, and two real digits interpolated.

    python recipes/digits_pictures.py --model digits --out docs/images

Interpolation as in Ho et al. 2020, section 3.3 (figure 8): both images are taken to the same level
of noise, mixed there, and denoised again; the higher the level, the less of either is left. The
images are MNIST test images, the first two of their classes; the seeds are 0, 1, 2, ...
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from editing_pictures import sheet

import fastdiff
from fastdiff.data.dataset import load_images
from fastdiff.data.pictures import from_pixels, grid, to_pixels

MNIST = Path("../shared/data/mnist/t10k-images-idx3-ubyte.gz")
PAIRS = ((3, 8), (4, 9), (7, 7))
STRENGTHS = (0.25, 0.5, 0.75)


def samples(engine: fastdiff.Engine, out: Path) -> None:
    """Eight of each digit."""
    asked = [label for label in engine.model.labels for _ in range(8)]
    images = engine.sample(len(asked), seed=0, context=asked, guidance=1.5).images
    grid(to_pixels(images), groups=asked, scale=2).save(out / "digits.png")


def interpolation(engine: fastdiff.Engine, out: Path) -> None:
    """A row for each pair and strength, the images themselves at the ends."""
    test = load_images(MNIST)
    classes = test.context.argmax(axis=1)
    rows, names = [], []
    for first, second in PAIRS:
        a, b = np.flatnonzero(classes == first)[0], np.flatnonzero(classes == second)[-1]
        pair = from_pixels(test.x[[a, b]])
        for strength in STRENGTHS:
            drawn = engine.interpolate(*pair, 9, strength=strength, seed=0).images
            shown = to_pixels(np.concatenate([pair[:1], drawn, pair[1:]]))
            rows.append(list(shown))
            names.append(f"{first} to {second}, {strength}")
    heads = ["image a", *(f"{w:g}" for w in np.linspace(0, 1, 9)), "image b"]
    sheet(rows, heads, names).save(out / "digits-interpolation.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="digits")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    engine = fastdiff.compile(args.model, "ddim", 50)
    samples(engine, args.out)
    interpolation(engine, args.out)


if __name__ == "__main__":
    main()
