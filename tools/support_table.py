"""Which network runs on which backend, found out by running it.

    python tools/support_table.py docs/support.md

draws from every network on every backend, holds the images against eager's of the same seeds, and
writes the table between the file's markers. A tick: denoisers' images within 1e-4 of eager's over 8
DDIM rows in float32, and an rms difference of at most 0.05 in bfloat16 (of [-1, 1]); pixels' levels
equal, or in bfloat16 their first row. Anything else is a note below the table, in the words of the
error that a user would see.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from tqdm import tqdm

import fastdiff
from fastdiff import FastdiffError, schedules
from fastdiff.backends import registry
from fastdiff.models.registry import build

BEGIN, END = "<!-- support -->\n", "<!-- end -->"
WITHIN: Final = {"float32": 1e-4, "bfloat16": 0.05}
# A column's title, the backend and the dtype. Pixels have no bfloat16 in eager.
COLUMNS: Final = (
    ("eager", "eager", "float32"),
    ("eager bf16", "eager", "bfloat16"),
    ("inductor", "inductor", "float32"),
    ("native", "native", "float32"),
    ("native bf16", "native", "bfloat16"),
    ("cuda", "cuda", "float32"),
)


def _untrained(architecture: str, **sizes: Any) -> Any:
    denoises = architecture.endswith("unet")
    # What predicts v keeps x at its size however little it has learned.
    schedule = schedules.Schedule(prediction="v") if denoises else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(architecture, sizes, schedule, name=architecture)


def _foreign() -> Any:
    from diffusers import UNet2DModel

    class Answering(torch.nn.Module):
        """Their network, its answer a tensor."""

        def __init__(self) -> None:
            super().__init__()
            self.net = UNet2DModel(
                sample_size=16,
                block_out_channels=(16, 32),
                layers_per_block=1,
                norm_num_groups=8,
                down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            )

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            """[B, 3, 16, 16] and [B]."""
            out: torch.Tensor = self.net(x, t).sample
            return out

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Answering()
    schedule = schedules.Schedule(prediction="v")
    return fastdiff.DiffusionModel(module, schedule, (3, 16, 16), name="diffusers")


NETWORKS: Final[dict[str, Callable[[], Any]]] = {
    "`ContextUnet` (`sprites16`)": lambda: fastdiff.load("sprites16"),
    "`DDPMUnet`": lambda: _untrained(
        "ddpm_unet", height=16, width=16, channels=(16, 32), attention=(False, True), groups=8
    ),
    "`TwoResUNet`": lambda: _untrained(
        "two_res_unet", height=16, width=16, dim=16, multipliers=(1, 2), gated_skips=True
    ),
    "diffusers' `UNet2DModel`, as it is": _foreign,
    "`PixelCNN` (`pixelcnn-mnist`)": lambda: fastdiff.load("pixelcnn-mnist"),
    "`GatedPixelCNN`": lambda: _untrained("gated_pixelcnn", hidden=8, height=8, width=8),
}


def draw(model: Any, backend: str, dtype: str) -> Any:
    """Three samples; the levels of pixels, the images of anything else."""
    options: dict[str, Any] = {"autotune": False} if backend == "native" else {}
    if isinstance(model, fastdiff.DiffusionModel):
        engine = fastdiff.compile(model, "ddim", 8, backend=backend, dtype=dtype, options=options)
        return engine.sample(3, seed=1).images
    return (
        fastdiff.compile(model, backend=backend, dtype=dtype, options=options).sample(3, 1).levels
    )


def verdict(model: Any, expected: Any, backend: str, dtype: str) -> str:
    """A tick, or why there is none."""
    why = registry.reason(backend)
    if why is not None:
        return why
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = draw(model, backend, dtype)
    except FastdiffError as error:
        return str(error)
    if not isinstance(model, fastdiff.DiffusionModel):
        # A level that falls otherwise changes all that follow it.
        same = got[..., :1, :] if dtype == "bfloat16" else got
        wanted = expected[..., :1, :] if dtype == "bfloat16" else expected
        return "✓" if np.array_equal(same, wanted) else "draws other levels than eager"
    off = np.abs(got - expected)
    found = float(np.sqrt(np.mean(off**2)) if dtype == "bfloat16" else off.max())
    return "✓" if found <= WITHIN[dtype] else f"differs from eager by {found:.1e}"


def table(networks: Sequence[str], titles: Sequence[str]) -> list[list[str]]:
    """A row of verdicts for each network, in the order of the titles."""
    rows = []
    for network in tqdm(networks, unit="network", disable=None):
        model = NETWORKS[network]()
        expected = draw(model, "eager", "float32")
        columns = [c for c in COLUMNS if c[0] in titles]
        rows.append([verdict(model, expected, backend, dtype) for _, backend, dtype in columns])
    return rows


def markdown(networks: Sequence[str], titles: Sequence[str], rows: list[list[str]]) -> str:
    """The table, and a note for each thing that is not a tick."""
    notes: list[str] = []
    lines = ["| | " + " | ".join(titles) + " |", "| --- |" + " --- |" * len(titles)]
    for network, row in zip(networks, rows, strict=True):
        cells = []
        for found in row:
            if found != "✓" and found not in notes:
                notes.append(found)
            cells.append(found if found == "✓" else f"({notes.index(found) + 1})")
        lines.append(f"| {network} | " + " | ".join(cells) + " |")
    lines += ["", *(f"{k + 1}. {note}" for k, note in enumerate(notes))]
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("page", type=Path, help="with the table between its markers")
    page = parser.parse_args().page
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        sys.exit(f"{page}: expected the markers {BEGIN.strip()} and {END}")
    titles = [title for title, _, _ in COLUMNS]
    found = markdown(list(NETWORKS), titles, table(list(NETWORKS), titles))
    head, rest = text.split(BEGIN, 1)
    page.write_text(head + BEGIN + found + END + rest.split(END, 1)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
