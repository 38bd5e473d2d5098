"""Samples to files: grid, single PNGs, npz and GIF, with their origin in the PNGs' text."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from fastdiff._version import __version__
from fastdiff.data.pictures import grid, to_image, to_pixels
from fastdiff.engine import Samples
from fastdiff.errors import FastdiffError

FRAME_MS = 80
LAST_FRAME_MS = 2500


def check_writable(path: Path) -> None:
    """Raises unless ``path`` can be written; makes its folder, leaves no file behind."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not path.exists()
        with path.open("ab"):
            pass
        if fresh:
            os.remove(path)
    except OSError as error:
        raise FastdiffError(f"cannot write {path} ({error.strerror or error})") from error


def grid_png(
    path: Path,
    samples: Samples,
    groups: Sequence[str] | None,
    facts: dict[str, Any],
    scale: int,
    columns: int | None,
) -> None:
    """One PNG of all images, a row or more a class, the seeds in its text."""
    info = _text(facts)
    info.add_text("seeds", ",".join(str(s) for s in samples.seeds))
    sheet = grid(to_pixels(samples.images), columns=columns, scale=scale, groups=groups)
    sheet.save(path, pnginfo=info)


def single_pngs(
    folder: Path,
    samples: Samples,
    groups: Sequence[str] | None,
    facts: dict[str, Any],
    scale: int,
) -> None:
    """``<number>-seed<seed>.png`` for each image, its seed and class in its text."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = len(str(max(len(samples) - 1, 0)))
    pixels = to_pixels(samples.images)
    for k, seed in enumerate(samples.seeds):
        info = _text({**facts, "context": groups[k] if groups else facts["context"]})
        info.add_text("seed", str(seed))
        name = f"{k:0{digits}d}-seed{seed}.png"
        to_image(pixels[k], scale).save(folder / name, pnginfo=info)


def npz(path: Path, samples: Samples, facts: dict[str, Any]) -> None:
    """``images`` float32 [n, C, H, W], ``seeds`` uint64 [n] and ``facts`` as JSON text."""
    with path.open("wb") as file:  # a file object: np.savez would append .npz to another name
        np.savez_compressed(
            file, images=samples.images, seeds=samples.seeds, facts=np.array(json.dumps(facts))
        )


def gif(
    path: Path,
    frames: list[npt.NDArray[np.uint8]],
    groups: Sequence[str] | None,
    scale: int,
    columns: int | None,
) -> None:
    """The frames as one looping GIF, the last one held."""
    sheets = [grid(f, columns=columns, scale=scale, groups=groups) for f in frames]
    # One palette for all, from the finished picture: frame palettes of their own would flicker.
    palette = sheets[-1].quantize(colors=256)
    paletted = [sheet.quantize(palette=palette, dither=Image.Dither.NONE) for sheet in sheets]
    durations = [FRAME_MS] * (len(paletted) - 1) + [LAST_FRAME_MS]
    paletted[0].save(
        path,
        save_all=True,
        append_images=paletted[1:],
        duration=durations,
        loop=0,
        optimize=False,
    )


def _text(facts: dict[str, Any]) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", f"fastdiff {__version__}")
    for key, value in facts.items():
        info.add_text(key, str(value))
    return info
