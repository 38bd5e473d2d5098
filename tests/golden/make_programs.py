"""Writes the golden dumps of the packaged models' programs."""

from pathlib import Path

import fastdiff
from fastdiff.pixelcnn.lower import lower as lower_pixels
from fastdiff.program.lower import lower

if __name__ == "__main__":
    for name in fastdiff.packaged():
        model = fastdiff.load(name)
        lowered = lower(model) if hasattr(model, "schedule") else lower_pixels(model)
        (Path(__file__).parent / f"{name}.program.txt").write_text(f"{lowered}\n")
