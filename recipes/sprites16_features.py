"""Trains the features in which drawn sprites are compared with held-out ones, and their card.

    python recipes/sprites16_features.py --source ../shared/data/sprites

writes ``fastdiff/zoo/sprites16-features.safetensors`` and ``.md``. Trained on the training sprites
alone; the held-out ones give the reference statistics and the card's accuracy. One thread, fixed
seeds, augmentation from ``fastdiff.noise``: the same machine makes the same file again.

The unit of a distance: features are scaled so that the total variance of the held-out sprites is
100. A generator that always draws one average picture is then about 100 away.
"""
# ruff: noqa: E501 (the card's tables)

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sprites_data import FOLDERS, LABELS, curate, held_out, is_sprite, reduce_on_white
from torch import Tensor, nn
from tqdm import tqdm

from fastdiff import noise
from fastdiff.checkpoint import ZOO
from fastdiff.data.pictures import from_pixels
from fastdiff.metrics.features import FeatureNet, FeatureNetConfig, Features
from fastdiff.metrics.features_file import SUFFIX, load_features, save_features
from fastdiff.metrics.floor import floor
from fastdiff.metrics.frechet import statistics

NAME = "sprites16-features-1"
SEED = 1610
BATCH = 128
EPOCHS = 60
LR = 2e-3
DECAY = 0.02
MIN_FAMILY = 12  # training sprites; smaller folders are no class that could be learned
TOTAL_VARIANCE = 100.0
COIN_STEP = 2**31  # no training step comes this far

Int64Array = npt.NDArray[np.int64]

CARD = """# {name}

A small classifier of 16x16 sprites. Its last hidden layer, {width} numbers a picture, is where
`fastdiff eval` compares drawn sprites with held-out ones (docs/quality.md).

| | |
| --- | --- |
| network | `FeatureNet`: six 3x3 convolutions with batch norm and GELU, channels {widths}, averaged |
| parameters | {parameters:,} |
| file | `{file}`, {size_kb:.0f} kB: matrices in float16, reference statistics in float64 |
| heads | {classes} classes; {families} families (folders of the tiles with at least {min_family} training sprites) |
| training | {train_count:,} sprites, {epochs} epochs of {batch}, AdamW, lr {lr:g}, half cosine, decay {decay:g} |
| | mirrored, shifted by up to 1 pixel, colour and contrast varied by up to 15 % |
| reference | {held_count} held-out sprites and their mirror images |
| unit | the held-out sprites' total variance is {variance:g} |
| made with | `recipes/sprites16_features.py`, torch {torch} |

The data and its licence are those of [sprites16](sprites16.md).

## Held-out accuracy: {accuracy:.1%} ({right} of {held_count}); family {family_accuracy:.1%}

| is \\ taken for | {header} |
| --- | {rule} |
{confusion}

On the training sprites the accuracy is {train_accuracy:.1%}.

## Floor

Training sprites against the held-out ones, disjoint subsets of n in the held-out proportions, each
sprite mirrored by the toss of a coin:

| n | distance | subsets |
| --- | --- | --- |
{floors}

## Limits

The net has seen the training sprites, so their features are a little more decided than those of
unseen sprites: the floor holds this gap, and a sampler of new sprites could in principle pass it.
{held_count} held-out sprites make a noisy reference: it shifts all distances together, their order
hardly. Many tiles are recolours of one another and adventurers share their parts.
"""


def families(source: Path, x: npt.NDArray[np.uint8]) -> npt.NDArray[np.str_]:
    """The folder that each curated sprite came from, ``"player"`` for the dressed ones."""
    with np.load(source / "crawl_tiles_32x32_rgba.npz") as file:
        tiles, sub = file["x"], file["sub"]
    folder: dict[bytes, str] = {}
    for group in FOLDERS.values():
        chosen = np.isin(sub, group.split())
        small = reduce_on_white(tiles[chosen])
        for tile, pixels, name in zip(tiles[chosen], small, sub[chosen], strict=True):
            if is_sprite(tile):
                folder.setdefault(pixels.tobytes(), str(name))
    return np.array([folder.get(pixels.tobytes(), "player") for pixels in x])


def augmented(x: npt.NDArray[np.float32], step: int) -> npt.NDArray[np.float32]:
    """Mirrored, shifted and recoloured copies of x [B, C, H, W] on white, a function of step."""
    u = noise.uniform(noise.as_seeds(SEED, len(x)), step, noise.STREAM_TRAIN, 8)
    out = np.where((u[:, 0] <= 0.5)[:, None, None, None], x[..., ::-1], x)
    size = x.shape[-1]
    padded = np.pad(out, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=1.0)
    for k, (dy, dx) in enumerate(np.minimum((u[:, 1:3] * 3).astype(int), 2)):
        out[k] = padded[k, :, dy : dy + size, dx : dx + size]
    # Ink on white: the background stays white whatever the colour does.
    gain = 0.85 + 0.3 * (0.5 * u[:, 3:4] + 0.5 * u[:, 4:7])
    return np.clip(1.0 - (1.0 - out) * gain[:, :, None, None], -1.0, 1.0).astype(np.float32)


def train(x: npt.NDArray[np.uint8], label: Int64Array, family: Int64Array) -> FeatureNet:
    """A trained net in eval mode. ``family``: -1 where a sprite has none."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        net = FeatureNet(FeatureNetConfig(n_classes=len(LABELS), n_families=int(family.max()) + 1))
    pictures, steps = from_pixels(x), EPOCHS * (len(x) // BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), LR, weight_decay=DECAY)
    whole = nn.CrossEntropyLoss(ignore_index=-1)
    bar = tqdm(range(steps), desc=NAME, unit="step")
    for step in bar:
        epoch, at = divmod(step, len(x) // BATCH)
        key = np.array([SEED + 2**63], dtype=np.uint64)
        order = np.argsort(noise.words(key, epoch, noise.STREAM_TRAIN, len(x))[0], kind="stable")
        index = order[at * BATCH : (at + 1) * BATCH]
        for group in optimiser.param_groups:
            group["lr"] = LR * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        features = net(torch.from_numpy(augmented(pictures[index], step)))
        loss = whole(net.classes(features), torch.from_numpy(label[index])) + whole(
            net.families(features), torch.from_numpy(family[index])
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if at == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return net.eval()


@torch.inference_mode()
def predicted(net: FeatureNet, x: npt.NDArray[np.uint8]) -> tuple[Int64Array, Int64Array]:
    features: Tensor = net(torch.from_numpy(from_pixels(x)))
    return net.classes(features).argmax(1).numpy(), net.families(features).argmax(1).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, default=Path("../shared/data/sprites"))
    parser.add_argument("--out", type=Path, default=ZOO / ("sprites16" + SUFFIX))
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    x, label = curate(args.source)
    held, folder = held_out(len(x)), families(args.source, x)
    names, counts = np.unique(folder[~held], return_counts=True)
    kept = [str(name) for name in names[counts >= MIN_FAMILY]]
    family = np.array([kept.index(f) if f in kept else -1 for f in folder], dtype=np.int64)

    net = train(x[~held], label[~held], family[~held])
    features = measured(net, x, label, held)
    classes, found = predicted(net, x)
    right = classes == label
    known = held & (family >= 0)
    features.facts.update(
        families=kept,
        accuracy=float(right[held].mean()),
        family_accuracy=float((found == family)[known].mean()),
        training_accuracy=float(right[~held].mean()),
        licence="Apache-2.0",
    )
    save_features(features, args.out)
    features = load_features(args.out)  # the card speaks of the file, float16 and all
    confusion = np.zeros((len(LABELS), len(LABELS)), dtype=np.int64)
    np.add.at(confusion, (label[held], classes[held]), 1)
    args.out.with_suffix(".md").write_text(card(features, confusion, args.out))
    print(f"held-out accuracy {right[held].mean():.1%}, {args.out}")


def measured(
    net: FeatureNet, x: npt.NDArray[np.uint8], label: Int64Array, held: npt.NDArray[np.bool_]
) -> Features:
    """The net with its unit, the held-out statistics and the training sprites' features."""
    none = np.zeros((0, net.config.n_features))
    counts = np.bincount(label[held], minlength=len(LABELS))
    blank = statistics(np.zeros((2, net.config.n_features)))
    features = Features(NAME, net, (3, 16, 16), LABELS, blank, counts, none, label[~held], {})
    # The generator was trained on mirrored sprites too, so it draws both.
    both = from_pixels(np.concatenate([x[held], x[held][:, :, ::-1]]))
    net.scale.mul_(math.sqrt(TOTAL_VARIANCE / np.trace(statistics(features.of(both)).cov)))
    coin = noise.uniform(noise.as_seeds(SEED, 1), COIN_STEP, noise.STREAM_TRAIN, len(x))[0] <= 0.5
    tossed = np.where(coin[:, None, None, None], x[:, :, ::-1], x)[~held]
    return replace(
        features,
        held_out=statistics(features.of(both)),
        training=features.of(from_pixels(tossed)),
    )


def card(features: Features, confusion: Int64Array, path: Path) -> str:
    """The Markdown card of a features file; ``confusion[i, j]``: held-out i taken for j."""
    config, facts = features.net.config, features.facts
    floors = []
    for n in (128, 256, 326, 512, 1024):
        found = floor(features, n)
        if found is not None:
            floors.append(f"| {n} | {found} | {len(found.distances)} |")
    rows = zip(features.labels, confusion.tolist(), strict=True)
    return CARD.format(
        name=features.name,
        width=config.n_features,
        widths=", ".join(map(str, (*config.widths, config.n_features))),
        parameters=sum(p.numel() for p in features.net.parameters()),
        file=path.name,
        size_kb=path.stat().st_size / 1e3,
        classes=config.n_classes,
        families=config.n_families,
        min_family=MIN_FAMILY,
        train_count=len(features.training),
        epochs=EPOCHS,
        batch=BATCH,
        lr=LR,
        decay=DECAY,
        held_count=int(features.counts.sum()),
        variance=TOTAL_VARIANCE,
        torch=torch.__version__.partition("+")[0],
        accuracy=facts["accuracy"],
        right=int(np.trace(confusion)),
        family_accuracy=facts["family_accuracy"],
        train_accuracy=facts["training_accuracy"],
        header=" | ".join(features.labels),
        rule=" | ".join("---" for _ in features.labels),
        confusion="\n".join(f"| {name} | {' | '.join(map(str, row))} |" for name, row in rows),
        floors="\n".join(floors),
    )


if __name__ == "__main__":
    main()
