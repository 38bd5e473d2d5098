"""Writes the golden dumps of the packaged models' programs."""

from pathlib import Path

import fastdiff
from fastdiff.program.lower import lower

if __name__ == "__main__":
    for name in fastdiff.packaged():
        text = str(lower(fastdiff.load(name))) + "\n"
        (Path(__file__).parent / f"{name}.program.txt").write_text(text)
