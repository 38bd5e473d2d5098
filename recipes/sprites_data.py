"""Curates the training sets of ``sprites16`` and ``sprites32`` from Dungeon Crawl's tiles.

    python recipes/sprites_data.py --size 16 --source ../shared/data/sprites --out data

writes ``data/sprites16.npz`` (training) and ``data/sprites16-heldout.npz`` with ``x`` uint8
[N, 16, 16, 3], ``label`` int64 [N] and ``labels`` (the five class names), and a contact sheet.

Sprites are composited on white, as in the course, and for 16 reduced from 32 by a 2x2 mean in
premultiplied alpha (a plain mean would bleed the colour of invisible pixels into the outline).
Left out: bare wall, floor and water tiles, tentacle segments, interface glyphs, the small
corner icons of identified items, blood stains, near-empty tiles, exact duplicates. ``player``
needs making: the tiles hold bodies and clothes apart, and a floating hat is no sprite, so
adventurers are dressed at random, as the game does it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastdiff import noise
from fastdiff.data.pictures import grid

UInt8Array = npt.NDArray[np.uint8]

LABELS = ("monster", "player", "item", "spell", "dungeon")
PLAYERS = 900
HELD_OUT = 0.1
SEED = 16

# sub-folder -> class; what is not named here is left out.
FOLDERS = {
    "monster": (
        "mon/aberrations mon/abyss mon/amorphous mon/animals mon/aquatic mon/demihumanoids "
        "mon/demons mon/draco mon/dragons mon/eyes mon/fungi_plants mon/holy mon/humanoids "
        "mon/mutantbeast mon/nonliving mon/panlord mon/player mon/sprint mon/undead mon/unique "
        "mon/vault player/felids player/transform UNUSED/monsters"
    ),
    "item": (
        "item/amulet item/armour item/book item/food item/gold item/misc item/potion item/ring "
        "item/rod item/scroll item/staff item/wand item/weapon UNUSED/weapons UNUSED/armour"
    ),
    "spell": "gui/spells gui/abilities gui/invocations UNUSED/spells effect",
    "dungeon": (
        "dngn dngn/altars dngn/doors dngn/gateways dngn/statues dngn/traps dngn/trees "
        "dngn/vaults mon/statues UNUSED/features"
    ),
}
# Layers of an adventurer from back to front, with the chance that each is worn.
LAYERS = (
    ("player/cloak", 0.35),
    ("player/base", 1.0),
    ("player/boots", 0.7),
    ("player/legs", 0.7),
    ("player/body", 0.92),
    ("player/gloves", 0.4),
    ("player/hair", 0.75),
    ("player/head", 0.45),
    ("player/hand1", 0.8),
    ("player/hand2", 0.5),
)
LEGLESS = ("naga", "merfolk_water", "octopode", "palentonga", "djinni", "formicid")
NO_BODY = ("shadow",)
# Pieces that make sense only beside others, and overlays: words in their file names.
PIECES = (
    "cobweb",
    "vgate",
    "_gone",
    "transparent",
    "broken",
    "open_door",
    "_left",
    "_right",
    "_middle",
    "lava",
    "sanctuary",
)


def reduce_on_white(rgba: UInt8Array, size: int = 16) -> UInt8Array:
    """RGBA uint8 [N, 32, 32, 4] on white at 16 or 32 pixels: uint8 [N, size, size, 3]."""
    x = rgba.astype(np.float64) / 255.0
    premultiplied = np.concatenate([x[..., :3] * x[..., 3:], x[..., 3:]], axis=-1)
    n, side = len(x), x.shape[1] // size
    small = premultiplied.reshape(n, size, side, size, side, 4).mean(axis=(2, 4))
    on_white = small[..., :3] + (1.0 - small[..., 3:])
    return np.round(on_white * 255.0).astype(np.uint8)


def is_sprite(rgba: UInt8Array) -> bool:
    """False for near-empty tiles, small corner icons and flat translucent overlays."""
    solid = rgba[..., 3] > 96
    if solid.mean() < 0.06:
        return False
    rows, cols = np.where(solid.any(axis=1))[0], np.where(solid.any(axis=0))[0]
    if max(np.ptp(rows), np.ptp(cols)) + 1 < 17:
        return False
    return bool(rgba[..., :3][solid].astype(np.float64).std(axis=0).max() > 12.0)


def dress(tiles: dict[str, UInt8Array], names: dict[str, list[str]], count: int) -> UInt8Array:
    """``count`` adventurers, RGBA uint8 [count, 32, 32, 4], the same ones every time."""
    seeds = noise.as_seeds(SEED, count)
    draws = noise.uniform(seeds, 0, noise.STREAM_TRAIN, 2 * len(LAYERS))  # worn?, which?
    out = np.empty((count, 32, 32, 4), dtype=np.uint8)
    for k in range(count):
        picked: dict[str, int] = {}
        for j, (layer, chance) in enumerate(LAYERS):
            if draws[k, 2 * j] <= chance:
                last = len(tiles[layer]) - 1
                picked[layer] = min(int(draws[k, 2 * j + 1] * (last + 1)), last)
        if "player/head" in picked:
            picked.pop("player/hair", None)
        if any(word in names["player/base"][picked["player/base"]] for word in LEGLESS):
            picked.pop("player/boots", None)
            picked.pop("player/legs", None)
        doll = Image.new("RGBA", (32, 32))
        for layer, index in picked.items():
            doll.alpha_composite(Image.fromarray(tiles[layer][index]))
        out[k] = np.asarray(doll)
    return out


def curate(source: Path, size: int = 16) -> tuple[UInt8Array, npt.NDArray[np.int64]]:
    """All curated sprites, uint8 [N, size, size, 3], and their labels, int64 [N]."""
    with np.load(source / "crawl_tiles_32x32_rgba.npz") as file:
        x, sub, name = file["x"], file["sub"], file["name"]
    images: list[UInt8Array] = []
    labels: list[int] = []
    for label, folders in FOLDERS.items():
        whole = np.array([not any(word in str(v) for word in PIECES) for v in name])
        chosen = np.isin(sub, folders.split()) & whole
        keep = x[chosen][[is_sprite(tile) for tile in x[chosen]]]
        images.append(reduce_on_white(keep, size))
        labels += [LABELS.index(label)] * len(keep)
    tiles = {layer: x[sub == layer] for layer, _ in LAYERS}
    names = {layer: [str(v) for v in name[sub == layer]] for layer, _ in LAYERS}
    bodies = [k for k, v in enumerate(names["player/base"]) if not any(w in v for w in NO_BODY)]
    tiles["player/base"] = tiles["player/base"][bodies]
    names["player/base"] = [names["player/base"][k] for k in bodies]
    images.append(reduce_on_white(dress(tiles, names, PLAYERS), size))
    labels += [LABELS.index("player")] * PLAYERS
    stacked = np.concatenate(images)
    _, first = np.unique(stacked.reshape(len(stacked), -1), axis=0, return_index=True)
    first.sort()
    return stacked[first], np.array(labels, dtype=np.int64)[first]


def held_out(count: int) -> npt.NDArray[np.bool_]:
    """Which of the curated sprites are held out, bool [count], the same ones every time."""
    draws = noise.uniform(noise.as_seeds(SEED, 1), 1, noise.STREAM_TRAIN, count)[0]
    return np.asarray(draws <= HELD_OUT)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, default=Path("../shared/data/sprites"))
    parser.add_argument("--out", type=Path, default=Path("data"))
    parser.add_argument("--size", type=int, choices=(16, 32), default=16)
    args = parser.parse_args()
    x, label = curate(args.source, args.size)
    held = held_out(len(x))
    args.out.mkdir(parents=True, exist_ok=True)
    for suffix, chosen in (("", ~held), ("-heldout", held)):
        np.savez_compressed(
            args.out / f"sprites{args.size}{suffix}.npz",
            x=x[chosen],
            label=label[chosen],
            labels=np.array(LABELS),
        )
    counts = {name: int((label == k).sum()) for k, name in enumerate(LABELS)}
    print(f"{len(x)} sprites, {int(held.sum())} held out: {counts}")
    rows = [
        np.where(label == k)[0][:: max(1, int((label == k).sum()) // 96)][:96] for k in range(5)
    ]
    picture = grid(x[np.concatenate(rows)], columns=32, scale=48 // args.size)
    picture.save(args.out / f"sprites{args.size}-contact.png")


if __name__ == "__main__":
    main()
