"""Pictures from arrays: pixel conversion, grids with row labels, animations (Pillow)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

UInt8Array = npt.NDArray[np.uint8]


def to_pixels(images: npt.NDArray[Any]) -> UInt8Array:
    """uint8 [N, H, W, C] pixels from images float [N, C, H, W] in [-1, 1] (clipped to it)."""
    scaled = (np.clip(np.asarray(images, dtype=np.float32), -1.0, 1.0) + 1.0) * 127.5
    pixels: UInt8Array = np.round(scaled).astype(np.uint8).transpose(0, 2, 3, 1)
    return pixels


def from_pixels(pixels: UInt8Array) -> npt.NDArray[np.float32]:
    """float32 [N, C, H, W] in [-1, 1] from uint8 pixels [N, H, W, C]."""
    x = pixels.astype(np.float32).transpose(0, 3, 1, 2) / np.float32(127.5) - np.float32(1.0)
    return np.ascontiguousarray(x)


def to_levels(pixels: UInt8Array, levels: int) -> UInt8Array:
    """uint8 [N, C, H, W] in 0 ... levels - 1 from uint8 pixels [N, H, W, C]; levels <= 256."""
    found: UInt8Array = (pixels.astype(np.uint16) * levels // 256).astype(np.uint8)
    return np.ascontiguousarray(found.transpose(0, 3, 1, 2))


def from_levels(found: npt.NDArray[np.integer[Any]], levels: int) -> UInt8Array:
    """uint8 pixels [N, H, W, C] from integers [N, C, H, W]: 0 is black, levels - 1 is white."""
    pixels: UInt8Array = np.round(found * (255.0 / (levels - 1))).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


def to_image(pixels: UInt8Array, scale: int = 1) -> Image.Image:
    """One picture from uint8 [H, W, 1 or 3], each pixel drawn as scale x scale."""
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def grid(
    pixels: UInt8Array,
    columns: int | None = None,
    scale: int = 4,
    groups: Sequence[str] | None = None,
) -> Image.Image:
    """One RGB picture of all images, uint8 [N, H, W, 1 or 3].

    ``groups``: a name for each image; where it changes a new row begins, named at its left.
    ``columns``: images in a row, 8 unless given; with groups, the largest group's size up to 16.
    """
    _, height, width, _ = pixels.shape
    names = list(groups) if groups is not None else [""] * len(pixels)
    if columns is None:
        columns = min(16, max(map(names.count, names), default=8)) if groups else 8
    cells, starts, rows = _layout(names, columns)
    gap = max(1, scale // 2)
    cell_w, cell_h = width * scale + gap, height * scale + gap
    font = ImageFont.load_default(size=max(10, min(18, height * scale // 3)))
    margin = round(max(map(font.getlength, names), default=0))
    margin += 3 * gap + 8 if margin else 0
    sheet = Image.new("RGB", (margin + columns * cell_w + gap, rows * cell_h + gap), "white")
    for picture, (row, column) in zip(pixels, cells, strict=True):
        at = (margin + gap + column * cell_w, gap + row * cell_h)
        sheet.paste(to_image(picture, scale).convert("RGB"), at)
    draw = ImageDraw.Draw(sheet)
    for row, name in starts:
        middle = gap + row * cell_h + height * scale // 2
        draw.text((gap + 4, middle), name, fill=(60, 60, 60), font=font, anchor="lm")
    return sheet


def _layout(
    names: Sequence[str], columns: int
) -> tuple[list[tuple[int, int]], list[tuple[int, str]], int]:
    """(row, column) of each image, (row, name) where a group begins, and the number of rows."""
    cells: list[tuple[int, int]] = []
    starts: list[tuple[int, str]] = []
    row, column, previous = 0, 0, None
    for name in names:
        if column == columns or (name != previous and column):
            row, column = row + 1, 0
        if name != previous:
            starts.append((row, name))
        cells.append((row, column))
        column, previous = column + 1, name
    return cells, starts, row + 1
