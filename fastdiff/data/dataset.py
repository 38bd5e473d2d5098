"""Image sets for training: a folder of images, ``.npz``, ``.npy`` or IDX files."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastdiff.errors import FastdiffError

UInt8Array = npt.NDArray[np.uint8]
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"))
MAX_IDX_BYTES = 1 << 32


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 [N, H, W, C] with a context vector each, float32 [N, width] (width may be 0).

    ``labels`` names the context's columns where they are classes. ``skipped`` lists the files
    that could not be read.
    """

    x: UInt8Array
    context: npt.NDArray[np.float32]
    labels: tuple[str, ...] = ()
    skipped: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.x)


def load_images(path: str | Path, size: int | None = None) -> ImageSet:
    """The image set at ``path``.

    A folder: every image below it, its first sub-folder being its class; transparent images on
    white; reduced to ``size`` pixels where given (area filter). An ``.npz``: ``x`` uint8
    [N, H, W, C] or [N, H, W], optional ``label`` int [N] with ``labels`` (names), or ``context``
    float [N, width]. An ``.npy``: ``x`` alone. An IDX file (``*-images-idx3-ubyte``, gzipped or
    not), with the labels file beside it where there is one.
    """
    path = Path(path)
    if path.is_dir():
        return _from_folder(path, size)
    if not path.is_file():
        raise FastdiffError(
            f"data: expected a folder, .npz, .npy or IDX file, found none at {path}"
        )
    if path.suffix in (".npz", ".npy"):
        found = _from_numpy(path)
    elif "idx3" in path.name or "idx3" in path.stem:
        found = _from_idx(path)
    else:
        raise FastdiffError(f"data: expected a folder, .npz, .npy or IDX file, got {path}")
    if size is not None and found.x.shape[1:3] != (size, size):
        resized = np.stack(
            [fit(Image.fromarray(x.squeeze()), (size, size), x.shape[-1]) for x in found.x]
        )
        return ImageSet(resized, found.context, found.labels, found.skipped)
    return found


def one_hot(label: npt.NDArray[Any], width: int) -> npt.NDArray[np.float32]:
    """float32 [N, width] with a one at each label."""
    if len(label) and not (int(label.min()) >= 0 and int(label.max()) < width):
        raise FastdiffError(f"label: expected values from 0 to {width - 1}, got {label.max()}")
    return np.eye(width, dtype=np.float32)[label.astype(np.int64)]


def fit(image: Image.Image, size: tuple[int, int], channels: int) -> UInt8Array:
    """The image on white, at ``size`` (width, height) by an area filter: uint8 [H, W, C].

    ``channels``: 3 for RGB, 1 for grey.
    """
    if image.mode in ("RGBA", "LA", "P", "PA"):
        image = image.convert("RGBA")
        # Premultiplied, or the colour of invisible pixels would bleed into the outline.
        image = image.convert("RGBa").resize(size, Image.Resampling.BOX).convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    image = image.convert("RGB" if channels == 3 else "L")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BOX)
    return np.asarray(image).reshape(size[1], size[0], channels)


def _from_folder(folder: Path, size: int | None) -> ImageSet:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise FastdiffError(f"data: expected images in the folder {folder}, found none")
    images: list[UInt8Array] = []
    classes: list[str] = []
    skipped: list[str] = []
    for file in files:
        try:
            with Image.open(file) as image:
                image.load()
                side = size or max(image.size)
                pixels = fit(image, (side, side), 3)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            skipped.append(str(file))
            continue
        size = side
        images.append(pixels)
        parts = file.relative_to(folder).parts
        classes.append(parts[0] if len(parts) > 1 else "")
    if not images:
        raise FastdiffError(
            f"data: none of the {len(files)} images in {folder} could be read, not even {files[0]}"
        )
    labels = tuple(sorted(set(classes) - {""}))
    context = np.zeros((len(images), len(labels)), dtype=np.float32)
    for k, name in enumerate(classes):
        if name:
            context[k, labels.index(name)] = 1.0
    return ImageSet(np.stack(images), context, labels, tuple(skipped))


def _from_numpy(path: Path) -> ImageSet:
    try:
        # Opened here: np.load leaves its own file open when the content is damaged.
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = {"x": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except Exception as error:
        # NumPy lets through whatever its zip, zlib and header parsers raise: tokenizer errors,
        # BadZipFile, MemoryError of an absurd shape and more.
        raise FastdiffError(f"data: {path} is not a readable NumPy file ({error!r})") from error
    if "x" not in arrays:
        raise FastdiffError(f"data: expected an array 'x' in {path}, got {', '.join(arrays)}")
    x = arrays["x"]
    if x.ndim == 3:
        x = x[..., None]
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[-1] not in (1, 3) or not len(x):
        raise FastdiffError(
            f"data: expected 'x' as uint8 [N, H, W, 1 or 3] in {path}, "
            f"got {x.dtype} {list(x.shape)}"
        )
    names = tuple(str(v) for v in arrays.get("labels", ()))
    if "context" in arrays:
        context = arrays["context"].astype(np.float32)
    elif "label" in arrays:
        width = len(names) or int(arrays["label"].max()) + 1
        context = one_hot(arrays["label"], width)
        names = names or tuple(str(k) for k in range(width))
    else:
        context = np.zeros((len(x), 0), dtype=np.float32)
    if context.ndim != 2 or len(context) != len(x) or not np.isfinite(context).all():
        raise FastdiffError(
            f"data: expected finite context or labels for {len(x)} images in {path}, "
            f"got {list(context.shape)}"
        )
    return ImageSet(x, context, names)


def _from_idx(path: Path) -> ImageSet:
    x = read_idx(path)
    if x.ndim != 3:
        raise FastdiffError(f"data: expected IDX images [N, H, W] in {path}, got {list(x.shape)}")
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    if beside == path or not beside.is_file():
        return ImageSet(x[..., None], np.zeros((len(x), 0), dtype=np.float32))
    label = read_idx(beside)
    if label.shape != (len(x),):
        raise FastdiffError(f"data: expected {len(x)} labels in {beside}, got {list(label.shape)}")
    width = int(label.max()) + 1
    return ImageSet(x[..., None], one_hot(label, width), tuple(str(k) for k in range(width)))


def read_idx(path: str | Path) -> UInt8Array:
    """The uint8 array of an IDX file (LeCun's MNIST format), gzipped or not."""
    path = Path(path)
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise FastdiffError(f"data: {path} is not a readable IDX file ({error})") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08" or not 1 <= raw[3] <= 4:
        raise FastdiffError(f"data: expected an IDX file of unsigned bytes, got {path}")
    dims = raw[3]
    if len(raw) < 4 + 4 * dims:
        raise FastdiffError(f"data: the IDX file {path} is truncated")
    shape = struct.unpack(f">{dims}I", raw[4 : 4 + 4 * dims])
    size = int(np.prod(shape, dtype=object))
    if size > MAX_IDX_BYTES or len(raw) != 4 + 4 * dims + size or size == 0:
        raise FastdiffError(
            f"data: the IDX file {path} says {list(shape)}, "
            f"but holds {len(raw) - 4 - 4 * dims} bytes"
        )
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * dims).reshape(shape)
