"""Puts a finished run of a denoiser into the package, with the model card that goes with it.

    python recipes/denoiser_card.py digits --run runs/digits

copies the averaged model into ``fastdiff/zoo/``, measures its noise error on training and held-out
images, for ``digits`` also how often a classifier sees the digit that was asked for, draws the loss
curve and writes ``digits.md``. ``TEXTS`` says what is known of each model beyond its numbers.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
from digit_classifier import recognised
from safetensors import safe_open

from fastdiff.checkpoint import ZOO, load, save
from fastdiff.data.dataset import ImageSet, load_images
from fastdiff.metrics.noise_error import NoiseError, noise_error
from fastdiff.models.kinds import expect_diffusion
from fastdiff.models.model import DiffusionModel

matplotlib.use("Agg")
import matplotlib.pyplot as plt

MNIST = Path("../shared/data/mnist")
DRAWS = 4


@dataclass(frozen=True)
class Texts:
    """What a card says that no file does. ``training``, ``held_out``: where the images are."""

    draws: str
    training: Path
    held_out: Path
    source: str
    data: str
    beside: str
    limits: str


SPRITES = """{count:,} sprites ({counts}) made from the tiles of Dungeon Crawl Stone Soup 0.28,
in the majority CC0, curated by `recipes/sprites_data.py`: composited on white{reduced}; wall,
floor and water tiles, tentacle segments, interface glyphs and near-empty tiles left out. The
`player` class is adventurers dressed at random from the game's bodies, clothes and weapons. The
weights carry the licence of this project (Apache-2.0)."""
SPRITES_BESIDE = """{held:,} further sprites were held out. Many tiles are recolours of one
another and adventurers share their parts, so held-out is not the same as unrelated."""
SPRITES_LIMITS = """A small net on a small set: shapes are convincing at a glance and often not
nameable. `spell` mixes framed icons with bare effects, as the data does. Nothing here was
checked for likeness to single training images."""


def _sprites(size: int) -> Texts:
    return Texts(
        f"Draws {size}x{size} RGB sprites on white in five classes: {{labels}}.",
        Path(f"data/sprites{size}.npz"),
        Path(f"data/sprites{size}-heldout.npz"),
        "Dungeon Crawl Stone Soup 0.28 tiles, in the majority CC0",
        SPRITES.replace(
            "{reduced}", ", halved from 32x32 by an\narea filter" if size == 16 else ""
        ),
        SPRITES_BESIDE,
        SPRITES_LIMITS,
    )


TEXTS = {
    "sprites16": _sprites(16),
    "sprites32": _sprites(32),
    "digits": Texts(
        "Draws 28x28 grey handwritten digits, each of the class asked for: {labels}.",
        MNIST / "train-images-idx3-ubyte.gz",
        MNIST / "t10k-images-idx3-ubyte.gz",
        "MNIST, commonly given as CC BY-SA 3.0",
        """MNIST (LeCun, Cortes, Burges): the {count:,} training images, none held back. Commonly
given as CC BY-SA 3.0. The weights carry the licence of this project (Apache-2.0).""",
        "The {held:,} test images were not trained on.",
        """A small net: some strokes end in the air, and a few of a hundred digits are not what
was asked for. Nothing here was checked for likeness to single training images.""",
    ),
}
CARD = """# {name}

{draws}

| | |
| --- | --- |
| network | `{network}` |
| parameters | {parameters:,} |
| file | `{name}.safetensors`, {size_mb:.2f} MB: averaged (EMA) weights, matrices in float16 |
| schedule | {schedule} |
| context | one-hot, {width} wide, in that order; zeros, one in {drop}, are unconditional |
| training | {steps:,} Adam steps of {batch} images, lr {lr:g}, warm-up and half cosine |
| | EMA {ema},{flip} {precision} forward |
{remark}| made with | `make train-{name}`, then `recipes/denoiser_card.py {name}` |

## Data and licence

{data}

{beside}

## Mean squared noise error

Mean of (eps - model(x_t))^2 with standard error over images, {draws_each} fixed noises an image
(`fastdiff.metrics.noise_error`); always answering 0 scores 1.

The training column is measured on an equal number of training images.

| t / T | held out | training |
| --- | --- | --- |
{errors}
{quality}
## Loss

![training loss]({name}-loss.png)

## Limits

{limits}
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
    ticks = [v for v in (0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.4) if v >= min(rows.values())]
    axes.set_yticks(ticks)
    axes.get_yaxis().set_major_formatter(matplotlib.ticker.ScalarFormatter())
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)


def noise_errors(model: DiffusionModel, training: ImageSet, held: ImageSet) -> str:
    """The rows of the table of noise errors."""
    some = slice(None, None, max(1, len(training) // len(held)))  # as many as are held out
    seen = ImageSet(training.x[some], training.context[some], training.labels)
    errors = [noise_error(model, images, draws=DRAWS) for images in (held, seen)]

    def cell(error: NoiseError) -> str:
        return f"{error.mean:.4f} ± {error.standard_error:.4f}"

    pairs = zip(*errors, strict=True)
    return "\n".join(f"| {a.fraction} | {cell(a)} | {cell(b)} |" for a, b in pairs)


def network_text(model: DiffusionModel) -> str:
    """The network as one would write it: what is not a default."""
    config: Any = model.module.config
    plain = asdict(type(config)())
    told = {k: v for k, v in asdict(config).items() if v != plain[k]}
    return f"{type(model.module).__name__}({', '.join(f'{k}={v!r}' for k, v in told.items())})"


def quality(name: str, model: DiffusionModel) -> str:
    """For digits: how many of a thousand a classifier takes for what was asked."""
    if name != "digits":
        return ""
    found = "\n".join(
        f"| {how} | {share:.1%} |" for how, share in recognised(model, MNIST, each=100).items()
    )
    return f"""
## Asked for and recognised

Of 1,000 samples, 100 of each digit, how many a classifier (`recipes/digit_classifier.py`,
trained on MNIST's training images) takes for the digit that was asked for; the first row is
MNIST's test images.

| images | recognised |
| --- | --- |
{found}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=TEXTS)
    parser.add_argument("--run", type=Path, help="default: runs/NAME")
    parser.add_argument("--remark", help="what else to know of the run, a row of the card")
    args = parser.parse_args()

    texts, run = TEXTS[args.name], args.run or Path("runs") / args.name
    with safe_open(run / "model.safetensors", "pt") as file:
        facts = json.loads(file.metadata()["fastdiff"])["facts"]
    facts |= {"source": texts.source, "licence": "Apache-2.0"}
    target = ZOO / f"{args.name}.safetensors"
    save(load(run / "model.safetensors"), target, facts=facts)
    model = expect_diffusion(load(target))

    training, held = load_images(texts.training), load_images(texts.held_out)
    errors = noise_errors(model, training, held)
    settings, levels = facts["train"], model.levels
    counts = training.context.sum(axis=0).astype(int).tolist()
    named = ", ".join(f"{n:,} {name}" for n, name in zip(counts, model.labels, strict=True))
    unit = "i / T" if levels.time == "fraction" else "i - 1"
    card = CARD.format(
        name=args.name,
        draws=texts.draws.format(labels=", ".join(f"`{name}`" for name in model.labels)),
        network=network_text(model),
        parameters=sum(p.numel() for p in model.module.parameters()),
        size_mb=target.stat().st_size / 1e6,
        schedule=f"{levels.kind}: T = {levels.T}, time as {unit}, predicts {levels.prediction}",
        width=model.context_width,
        drop=round(1 / settings["drop"]),
        steps=facts["step"],
        batch=settings["batch_size"],
        lr=settings["lr"],
        ema=settings["ema"],
        flip=" half of the images mirrored," if settings["flip"] else "",
        precision=settings["precision"],
        remark=f"| | {args.remark} |\n" if args.remark else "",
        data=texts.data.format(count=len(training), counts=named),
        beside=texts.beside.format(held=len(held)),
        draws_each=DRAWS,
        errors=errors,
        quality=quality(args.name, model),
        limits=texts.limits,
    )
    (ZOO / f"{args.name}.md").write_text(card)
    loss_curve(run / "loss.csv", ZOO / f"{args.name}-loss.png")
    print(errors)


if __name__ == "__main__":
    main()
