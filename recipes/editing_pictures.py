"""Draws the pictures of docs/editing.md: held-out sprites edited by the packaged model.

    python recipes/editing_pictures.py --source ../shared/data/sprites --out docs/images

The sprites are held out (``sprites_data.held_out``), so the model has not seen them, but for
likenesses that the model's card warns of. They are chosen for showing something, the seeds are not:
0, 1, 2, ...
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from sprites_data import LABELS, curate, held_out

import fastdiff
from fastdiff.data.pictures import from_pixels, to_image, to_pixels

UInt8Array = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

SCALE, GAP, HEAD = 5, 4, 20
STRENGTHS = (0.1, 0.3, 0.5, 0.7, 0.9)
MONSTER, PLAYER, ITEM = 0, 1, 2
SPRITES = {MONSTER: (22, 18, 42), PLAYER: (30, 57), ITEM: (27,)}  # of the class's held-out ones


def sheet(
    rows: Sequence[Sequence[UInt8Array | None]], columns: Sequence[str], names: Sequence[str]
) -> Image.Image:
    """Rows of pictures uint8 [H, W, C], None for a gap; a head for each column, a name a row.

    Pictures are enlarged to 80 pixels or a little more.
    """
    font = ImageFont.load_default(size=13)
    side = next(pixels.shape[0] for row in rows for pixels in row if pixels is not None)
    scale = -(-16 * SCALE // side)
    cell = side * scale + GAP
    margin = round(max(map(font.getlength, names), default=0.0)) + 2 * GAP if any(names) else GAP
    size = (margin + max(map(len, rows)) * cell, HEAD + len(rows) * cell)
    out = Image.new("RGB", size, (236, 236, 236))
    draw = ImageDraw.Draw(out)
    for c, text in enumerate(columns):
        at = (margin + c * cell + (cell - GAP) // 2, HEAD // 2)
        draw.text(at, text, fill=(40, 40, 40), font=font, anchor="mm")
    for r, (row, name) in enumerate(zip(rows, names, strict=True)):
        middle = HEAD + r * cell + (cell - GAP) // 2
        draw.text((GAP, middle), name, fill=(40, 40, 40), font=font, anchor="lm")
        for c, pixels in enumerate(row):
            if pixels is not None:
                out.paste(
                    to_image(pixels, scale).convert("RGB"), (margin + c * cell, HEAD + r * cell)
                )
    return out


def strengths(engine: fastdiff.Engine, sprites: dict[int, Floats]) -> Image.Image:
    """One sprite a row: itself, then drawn again at each strength."""
    rows, names = [], []
    for label, images in sprites.items():
        drawn = [
            engine.sample(len(images), image=images, strength=s, context=LABELS[label]).images
            for s in STRENGTHS
        ]
        for shown in zip(images, *drawn, strict=True):
            rows.append(list(to_pixels(np.stack(shown))))
            names.append(LABELS[label])
    return sheet(rows, ["image", *map(str, STRENGTHS)], names)


def inpainting(engine: fastdiff.Engine, sprites: dict[int, Floats]) -> Image.Image:
    """One sprite a row: itself, what is left under the mask, four seeds."""
    lower, upper, right = (np.zeros((16, 16), dtype=bool) for _ in range(3))
    lower[8:], upper[:7], right[:, 8:] = True, True, True
    cases = [
        (MONSTER, sprites[MONSTER][0], upper),
        (MONSTER, sprites[MONSTER][1], right),
        (PLAYER, sprites[PLAYER][0], lower),
        (PLAYER, sprites[PLAYER][1], upper),
    ]
    rows = []
    for label, image, mask in cases:
        drawn = engine.sample(4, image=image, mask=mask, context=LABELS[label]).images
        pixels = to_pixels(np.concatenate([image[None], drawn]))
        hidden = np.where(mask[..., None], np.array([150, 190, 220], np.uint8), pixels[0])
        rows.append([pixels[0], hidden, *pixels[1:]])
    heads = ["image", "mask", *(f"seed {k}" for k in range(4))]
    return sheet(rows, heads, [LABELS[label] for label, _, _ in cases])


def interpolation(engine: fastdiff.Engine, sprites: dict[int, Floats]) -> Image.Image:
    """Two pairs, each mixed spherically and linearly; the images themselves at the ends."""
    pairs = [(PLAYER, *sprites[PLAYER][:2]), (MONSTER, *sprites[MONSTER][:2])]
    rows, names = [], []
    for label, a, b in pairs:
        for mix in ("spherical", "linear"):
            drawn = engine.interpolate(a, b, 9, mix=mix, context=LABELS[label]).images
            pixels = to_pixels(np.concatenate([a[None], drawn, b[None]]))
            rows.append(list(pixels))
            names.append(mix)
    heads = ["image a", *(f"{w:g}" for w in np.linspace(0, 1, 9)), "image b"]
    return sheet(rows, heads, names)


def between_seeds(engine: fastdiff.Engine) -> Image.Image:
    """A row a class, from the image of seed 0 to that of seed 1."""
    names = LABELS[:4]
    rows = [
        list(to_pixels(engine.between_seeds(0, 1, 9, context=name, guidance=2.0).images))
        for name in names
    ]
    return sheet(rows, [f"{w:g}" for w in np.linspace(0, 1, 9)], names)


def guidance(engine: fastdiff.Engine) -> Image.Image:
    """The same eight seeds at rising scales, and at the largest with what tames it."""
    cases: list[tuple[str, dict[str, float]]] = [
        ("scale 1", {}),
        ("scale 4", {"guidance": 4.0}),
        ("scale 10", {"guidance": 10.0}),
        ("10, rescale 0.7", {"guidance": 10.0, "guidance_rescale": 0.7}),
        ("10, until 0.5", {"guidance": 10.0, "guidance_until": 0.5}),
    ]
    rows = [
        list(to_pixels(engine.sample(8, context="monster", **request).images))
        for _, request in cases
    ]
    return sheet(rows, [f"seed {k}" for k in range(8)], [name for name, _ in cases])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, default=Path("../shared/data/sprites"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    args = parser.parse_args()
    x, label = curate(args.source)
    kept = held_out(len(x))
    x, label = x[kept], label[kept]
    sprites = {k: from_pixels(x[label == k][list(which)]) for k, which in SPRITES.items()}
    engine = fastdiff.compile("sprites16", "ddim", 50, backend="eager")
    args.out.mkdir(parents=True, exist_ok=True)
    pictures = {
        "strengths": strengths(engine, sprites),
        "inpainting": inpainting(engine, sprites),
        "interpolation": interpolation(engine, sprites),
        "between-seeds": between_seeds(engine),
        "guidance": guidance(engine),
    }
    for name, picture in pictures.items():
        picture.save(args.out / f"edit-{name}.png", optimize=True)


if __name__ == "__main__":
    main()
