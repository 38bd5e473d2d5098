"""Engine files, read and run without torch.

    from fastdiff import runtime
    engine = runtime.load("sprites16.fdiff")
    images = engine.sample(32, seed=0, context="monster").images  # [32, 3, 16, 16]

``Engine.save`` writes them; NumPy and the C++ engine are all that is needed here.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy.typing as npt

from fastdiff.backends.base import Float32Array
from fastdiff.backends.native import PRECISIONS, NativePixelRunner, NativeRunner, runner_of
from fastdiff.errors import FastdiffError
from fastdiff.noise import SeedsLike
from fastdiff.pixel_engine import PixelEngine
from fastdiff.requests import contexts, tables
from fastdiff.requests.chunks import OnStep, Samples, run_chunks
from fastdiff.requests.counts import check_work
from fastdiff.requests.sampling import StartLike, resolve
from fastdiff.samplers import SamplerTable
from fastdiff.schedules import AnySchedule, from_dict

__all__ = ["RuntimeEngine", "load"]


class RuntimeEngine:
    """Made by ``load``. Immutable; many threads may call ``sample`` at once.

    ``name``: the model's. ``sample_shape``: C, H, W. ``context_width``: numbers in a context, 0
    where the model takes none. ``labels``: its named classes. ``table``: the sampler's.
    """

    def __init__(self, runner: NativeRunner) -> None:
        engine = runner.engine
        self.name = engine.name
        self.sample_shape = engine.sample_shape
        self.context_width = engine.context_width
        self.labels = engine.labels
        self.table = SamplerTable(
            engine.table, engine.table_name, engine.init_scale, engine.to_noise
        )
        self._runner = runner

    def __repr__(self) -> str:
        return f"RuntimeEngine({self.name}, {self.table.name}: {self._runner.describe()})"

    @cached_property
    def schedule(self) -> AnySchedule:
        """The noise schedule that the model was trained on."""
        try:
            return from_dict(json.loads(self._runner.engine.schedule))
        except (KeyError, TypeError, ValueError) as error:
            raise FastdiffError(
                f"schedule: expected one that the file describes, got {error}"
            ) from error

    def describe(self, batch: int = 1) -> str:
        """How the network is computed for ``batch`` samples at once: a line an op."""
        return self._runner.plan(batch)

    def sample(
        self,
        n: int | None = None,
        seed: SeedsLike = 0,
        *,
        context: contexts.ContextLike = None,
        guidance: float | Sequence[float] | Float32Array | None = None,
        guidance_rescale: float | Sequence[float] | Float32Array = 0.0,
        guidance_until: float = 1.0,
        x_T: StartLike = None,
        image: npt.NDArray[Any] | None = None,
        strength: float | None = None,
        mask: npt.NDArray[Any] | None = None,
        on_step: OnStep | None = None,
        every: int = 1,
        sampler: str | SamplerTable | None = None,
        steps: int | None = None,
        batch_size: int = 64,
        progress: bool = False,
        **sampler_options: Any,
    ) -> Samples:
        """Draws ``n`` images, float32 [n, C, H, W] in [-1, 1], with the seeds used.

        Arguments and answer are those of ``fastdiff.Engine.sample``, and the images the same up to
        rounding, but for what a file does not hold: the file's own sampler is a table, without the
        name and options that it came from. So ``steps`` and sampler options need a ``sampler``, and
        ``strength`` cuts the file's table, which is refused where the rows left look back on those
        cut off.
        """

        def table_for(share: float) -> SamplerTable:
            return self._table_for(sampler, steps, share, sampler_options)

        check_work(batch_size, every, on_step)
        whole = resolve(
            self,
            table_for,
            n,
            seed,
            context=context,
            guidance=guidance,
            guidance_rescale=guidance_rescale,
            guidance_until=guidance_until,
            x_T=x_T,
            image=image,
            strength=strength,
            mask=mask,
        )
        bar = self.name if progress else None
        return run_chunks(self._runner, whole, self.sample_shape, batch_size, on_step, every, bar)

    def _table_for(
        self,
        sampler: str | SamplerTable | None,
        steps: int | None,
        strength: float,
        options: dict[str, Any],
    ) -> SamplerTable:
        if sampler is not None:
            return tables.table_of(sampler, self.schedule, steps, options, strength)
        for name in ("steps", *options) if steps is not None else options:
            raise FastdiffError(
                f"{name}: expected with a sampler by name, the file has {self.table.name!r} as a "
                "table of numbers"
            )
        return tables.cut(self.table, strength)


def load(
    path: str | os.PathLike[str],
    threads: int | None = None,
    precision: str = "float32",
    autotune: bool = True,
    *,
    exact: bool = False,
) -> RuntimeEngine | PixelEngine:
    """The engine of a file that ``Engine.save`` wrote, planned for this machine.

    A diffusion model's is a :class:`RuntimeEngine`, an autoregressive model's a
    :class:`fastdiff.pixel_engine.PixelEngine`.

    ``threads``: at most so many a request, FASTDIFF_THREADS or all CPUs unless given.
    ``precision``: of the network, ``"float32"`` or ``"bf16"`` (where the machine has it).
    ``autotune``: time the algorithms once and keep what was found in a cache
    (FASTDIFF_CACHE_DIR, else ~/.cache/fastdiff); False chooses by rule. ``exact``: only algorithms
    that are as exact as plain float32 sums.

    Raises FastdiffError where the file is missing, damaged or of a newer format, or an argument is
    wrong.
    """
    if importlib.util.find_spec("fastdiff._native") is None:
        raise FastdiffError("runtime: expected the native module, it was left out of this build")
    dtypes = {name: dtype for dtype, name in PRECISIONS.items()}
    if precision not in dtypes:
        raise FastdiffError(f"precision: expected one of {', '.join(dtypes)}, got {precision!r}")
    runner = runner_of(
        os.fspath(path),
        threads=0 if threads is None else threads,
        dtype=dtypes[precision],
        exact=exact,
        autotune=autotune,
    )
    if isinstance(runner, NativePixelRunner):
        # The engine itself has all that a request is checked against.
        return PixelEngine(runner.engine, runner.engine.name, "native", runner)
    return RuntimeEngine(runner)
