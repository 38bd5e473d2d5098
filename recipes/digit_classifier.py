"""A classifier of handwritten digits, and how many of a model's digits it takes for what was asked.

    python recipes/digit_classifier.py --data ../shared/data/mnist

trains a small convolutional network on MNIST's training images (a minute on two cores), keeps it in
``data/digit-classifier.safetensors`` and prints how many of the test images it knows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

import fastdiff
from fastdiff.data.dataset import ImageSet, load_images
from fastdiff.data.pictures import from_pixels
from fastdiff.models.model import DiffusionModel

KEPT = Path("data/digit-classifier.safetensors")
EPOCHS, BATCH, RATE = 4, 128, 2e-3
# How samples are drawn for the card, by the words that it has for it.
DRAWN = {
    "DDIM, 50 rows": {"sampler": "ddim", "steps": 50},
    "DPM-Solver++(2M), 20 rows": {"sampler": "dpmpp_2m", "steps": 20},
    "the same, guidance 2": {"sampler": "dpmpp_2m", "steps": 20, "guidance": 2.0},
}


def network() -> nn.Sequential:
    """x [B, 1, 28, 28] in [-1, 1] to ten logits."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 5, padding=2), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(48, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 49, 10),
    )  # fmt: skip


def classes(images: ImageSet) -> Tensor:
    """int64 [N], of images with one-hot contexts."""
    return torch.from_numpy(images.context.argmax(axis=1))


def train(images: ImageSet) -> nn.Sequential:
    """The network after EPOCHS passes over the images, in eval mode."""
    torch.manual_seed(0)
    net, x, wanted = network(), torch.from_numpy(from_pixels(images.x)), classes(images)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    steps = EPOCHS * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in tqdm(range(EPOCHS), desc="classifier", unit="epoch"):
        order = torch.randperm(len(x))
        for k in range(len(x) // BATCH):
            chosen = order[k * BATCH : (k + 1) * BATCH]
            loss = nn.functional.cross_entropy(net(x[chosen]), wanted[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return net.eval()


def classifier(data: Path) -> nn.Sequential:
    """The one that is kept, trained now where there is none."""
    if KEPT.is_file():
        net = network().eval()
        net.load_state_dict(load_file(KEPT))
        return net
    net = train(load_images(data / "train-images-idx3-ubyte.gz"))
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    save_file(net.state_dict(), KEPT)
    return net


@torch.inference_mode()
def predicted(net: nn.Module, x: npt.NDArray[np.float32]) -> Tensor:
    """The digits that the network sees, int64 [N], in x float32 [N, 1, 28, 28] in [-1, 1]."""
    return torch.cat([net(part).argmax(dim=1) for part in torch.from_numpy(x).split(500)])


def recognised(model: DiffusionModel, data: Path, each: int) -> dict[str, float]:
    """Shares of digits taken for what they are: of MNIST's test images, then of the model's.

    ``each``: samples of every class. Seeds 0, 1, ... are the same for every way of drawing.
    """
    net, test = classifier(data), load_images(data / "t10k-images-idx3-ubyte.gz")
    right = predicted(net, from_pixels(test.x)) == classes(test)
    found = {"MNIST's test images": float(right.float().mean())}
    asked = [label for label in model.labels for _ in range(each)]
    wanted = torch.arange(len(model.labels)).repeat_interleave(each)
    for how, request in DRAWN.items():
        given = dict(request)
        guidance = given.pop("guidance", 1.0)
        engine = fastdiff.compile(model, given["sampler"], given["steps"])
        images = engine.sample(len(asked), seed=0, context=asked, guidance=guidance).images
        found[how] = float((predicted(net, images) == wanted).float().mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/mnist"))
    parser.add_argument("--model", default="", help="a model of digits to judge as well")
    args = parser.parse_args()
    if args.model:
        for how, share in recognised(fastdiff.load(args.model), args.data, each=100).items():
            print(f"{how}: {share:.2%}")
        return
    test = load_images(args.data / "t10k-images-idx3-ubyte.gz")
    right = predicted(classifier(args.data), from_pixels(test.x)) == classes(test)
    print(f"{float(right.float().mean()):.2%} of the test images")


if __name__ == "__main__":
    main()
