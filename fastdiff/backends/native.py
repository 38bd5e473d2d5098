"""The ``native`` backend: a whole request in one call of the C++ engine, without torch or the GIL.

The model is traced and lowered to a program (``fastdiff/program``), which the engine plans for this
machine (``csrc/plan``). ``fastdiff.runtime`` runs engine files where there is no torch at all; both
run requests by ``native_runner``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from fastdiff.backends.base import Backend, PixelRunner, Runner
from fastdiff.backends.native_pixels import NativePixelRunner
from fastdiff.backends.native_runner import NativeRunner
from fastdiff.errors import FastdiffError

if TYPE_CHECKING:
    from fastdiff.models.autoregressive import AutoregressiveModel
    from fastdiff.models.model import DiffusionModel

__all__ = [
    "BACKEND",
    "OPTIONS",
    "PRECISIONS",
    "NativePixelRunner",
    "NativeRunner",
    "runner_of",
]

# What a caller asks for -> the engine's name for it.
PRECISIONS = {"float32": "float32", "bfloat16": "bf16"}
OPTIONS = ("device", "dtype", "threads", "exact", "autotune")


def runner_of(source: bytes | str, **options: Any) -> NativeRunner | NativePixelRunner:
    """A runner for an engine file's bytes or path, planned for this machine: of the model's kind.

    ``dtype``: "float32" or "bfloat16". ``threads``: 0 for FASTDIFF_THREADS or the CPUs that this
    process may use. ``exact``: only algorithms whose error is within twice eager's own (no
    Winograd). ``autotune``: choose algorithms by measuring once and keep what was found in
    FASTDIFF_CACHE_DIR (else ~/.cache/fastdiff); False takes the heuristic's.
    """
    from tqdm import tqdm

    from fastdiff import _native

    unknown = set(options) - set(OPTIONS)
    if unknown:
        raise FastdiffError(
            f"{sorted(unknown)[0]}: backend 'native' takes {', '.join(OPTIONS)}, not this"
        )
    if options.get("device", "cpu") != "cpu":
        raise FastdiffError(f"device: expected 'cpu', got {options['device']!r}")
    dtype = options.get("dtype", "float32")
    if dtype not in PRECISIONS:
        raise FastdiffError(f"dtype: expected one of {', '.join(PRECISIONS)}, got {dtype!r}")
    # Shown where it takes long enough to wonder.
    with tqdm(desc="choosing algorithms", delay=0.5, leave=False, unit="layout") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            engine = _native.load_engine(
                source,
                threads=options.get("threads", 0),
                precision=PRECISIONS[dtype],
                exact=options.get("exact", False),
                autotune=options.get("autotune", True),
                progress=progress,
            )
        except ValueError as error:
            raise FastdiffError(str(error)) from error
    if isinstance(engine, _native.PixelEngine):
        return NativePixelRunner(engine, PRECISIONS[dtype])
    return NativeRunner(engine, PRECISIONS[dtype])


class NativeBackend:
    """The C++ CPU engine. Options: see :func:`runner_of`."""

    name = "native"

    def prepare(self, model: DiffusionModel, **options: Any) -> Runner:
        """A runner of its own: the weights are copied into the plan."""
        from fastdiff.program.save import engine_bytes_of

        return cast(NativeRunner, runner_of(engine_bytes_of(model), **options))

    def prepare_pixels(self, model: AutoregressiveModel, **options: Any) -> PixelRunner:
        """The same, drawing pixel by pixel."""
        from fastdiff.pixelcnn.save import pixel_engine_bytes_of

        return cast(NativePixelRunner, runner_of(pixel_engine_bytes_of(model), **options))


BACKEND: Backend = NativeBackend()
