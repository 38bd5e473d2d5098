"""Writes the golden dumps of programs: of the packaged models, and of networks without weights."""

from pathlib import Path

import fastdiff
from fastdiff.models.registry import build
from fastdiff.pixelcnn.lower import lower as lower_pixels
from fastdiff.program.lower import lower
from fastdiff.schedules import linear

# A dump says nothing of weights' values, so an untrained network of small sizes will do.
UNTRAINED = {
    "ddpm_unet": {
        "height": 16, "width": 16, "channels": (16, 32), "attention": (False, True), "blocks": 1,
        "groups": 8, "scale_shift": True, "n_context": 5,
    },
    "two_res_unet": {
        "height": 16, "width": 16, "dim": 16, "multipliers": (1, 2), "n_context": 5,
        "gated_skips": True,
    },
}  # fmt: skip


def untrained(architecture):
    """The network of that architecture whose dump is checked in."""
    return build(architecture, UNTRAINED[architecture], linear(), name=architecture)


if __name__ == "__main__":
    for name in (*fastdiff.packaged(), *UNTRAINED):
        model = untrained(name) if name in UNTRAINED else fastdiff.load(name)
        lowered = lower(model) if hasattr(model, "schedule") else lower_pixels(model)
        (Path(__file__).parent / f"{name}.program.txt").write_text(f"{lowered}\n")
