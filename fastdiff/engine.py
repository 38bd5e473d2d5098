"""The engine: a model, a sampler's table and a backend, ready to draw.

``fastdiff.compile`` makes one, ``Engine.sample`` checks a request, cuts it into chunks, hands
them to the backend and gathers the images.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from fastdiff import contexts
from fastdiff.backends.base import Backend, Float32Array, Request
from fastdiff.backends.registry import choose
from fastdiff.errors import FastdiffError
from fastdiff.noise import SeedsLike, as_seeds
from fastdiff.samplers import SamplerTable, build_table
from fastdiff.schedules import Schedule

if TYPE_CHECKING:
    from fastdiff.models.model import DiffusionModel

MAX_SAMPLES = 10_000_000


@dataclass(frozen=True)
class Step:
    """What ``on_step`` sees after a row of the table.

    ``x``: the intermediate of samples first .. first + len(x) - 1 of the request, float32
    [b, C, H, W], not clipped. ``row``: rows done, of ``rows``.
    """

    row: int
    rows: int
    first: int
    x: Float32Array
    seeds: npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Samples:
    """Drawn images and what made them.

    ``images``: float32 [n, C, H, W] in [-1, 1]. ``seeds``: uint64 [n]. ``rows``: table rows run
    for each image, int64 [n]: fewer than the table has for the chunk in which the request was
    cancelled; images of chunks never started are not here, so n may be less than was asked.
    """

    images: Float32Array
    seeds: npt.NDArray[np.uint64]
    rows: npt.NDArray[np.int64]
    complete: bool

    def __len__(self) -> int:
        return len(self.images)

    def first(self, n: int) -> Samples:
        """The first n of them, without copying."""
        return Samples(self.images[:n], self.seeds[:n], self.rows[:n], self.complete)


OnStep = Callable[[Step], object]


class Engine:
    """Made by ``fastdiff.compile``. Immutable; many threads may call ``sample`` at once."""

    def __init__(
        self,
        model: DiffusionModel,
        backend: Backend,
        options: dict[str, Any],
        sampler: str | SamplerTable,
        steps: int | None,
        sampler_options: dict[str, Any],
    ) -> None:
        self.model = model
        self.backend = backend.name
        self.table = build_table(sampler, model.schedule, steps, **sampler_options)
        self._sampler, self._sampler_options = sampler, sampler_options
        self._runner = backend.prepare(model, **options)

    def __repr__(self) -> str:
        return (
            f"Engine({self.model.name}, {self.table.name}, "
            f"backend={self.backend}: {self._runner.describe()})"
        )

    def sample(
        self,
        n: int | None = None,
        seed: SeedsLike = 0,
        *,
        context: contexts.ContextLike = None,
        guidance: float | Sequence[float] | Float32Array | None = None,
        x_T: npt.NDArray[Any] | None = None,
        on_step: OnStep | None = None,
        every: int = 1,
        sampler: str | SamplerTable | None = None,
        steps: int | None = None,
        batch_size: int = 64,
        progress: bool = False,
        **sampler_options: Any,
    ) -> Samples:
        """Draws ``n`` images, float32 [n, C, H, W] in [-1, 1], with the seeds used.

        ``n``: as many as there are seeds, contexts or x_T unless given, else 1. ``seed``: an int
        s means seeds s .. s + n - 1; a sequence gives each image's own. The image of a seed does
        not depend on the others in the request. ``context``: a class name, n of them, or numbers
        [width] or [n, width]; None is unconditional. ``guidance``: scale of classifier-free
        guidance, one or [n] (Ho & Salimans 2022); 1, the default, is none. ``x_T``: start from
        this instead of the seeds' noise, [n, C, H, W].
        ``on_step``: called with a :class:`Step` after every ``every``-th row and the last;
        returning False cancels, and what was drawn so far is returned. Ctrl-C does the same,
        once at least one chunk is whole. ``steps`` and sampler options change the engine's for
        this request; ``sampler`` replaces it, with its own steps and options. Work goes in
        chunks of ``batch_size``.

        Raises FastdiffError where an argument is wrong, before anything is drawn.
        """
        n = _count(n, seed, context, x_T)
        seeds = as_seeds(seed, n)
        table = self._table_for(sampler, steps, sampler_options)
        for what, value in (("batch_size", batch_size), ("every", every)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise FastdiffError(f"{what}: expected an integer of at least 1, got {value!r}")
        if on_step is not None and not callable(on_step):
            raise FastdiffError(f"on_step: expected a function, got {on_step!r}")
        ctx = contexts.resolve(context, n, self.model.context_width, self.model.labels)
        scale = contexts.resolve_guidance(guidance, n, ctx, context is not None)
        whole = Request(table, seeds, ctx, scale, self._start(x_T, n))
        bar = tqdm(
            total=n * len(table),
            unit="row",
            disable=not progress,
            desc=self.model.name,
            leave=False,
        )
        with bar:
            return self._run(whole, batch_size, on_step, every, bar)

    def _run(
        self,
        whole: Request,
        batch_size: int,
        on_step: OnStep | None,
        every: int,
        bar: tqdm[NoReturn],
    ) -> Samples:
        """All chunks of a request, or those before it was cancelled or interrupted."""
        n, total = len(whole.seeds), len(whole.table)
        images = np.empty((n, *self.model.sample_shape), dtype=np.float32)
        rows = np.zeros(n, dtype=np.int64)
        done = 0
        for first in range(0, n, batch_size):
            chunk = whole.part(first, min(first + batch_size, n))

            def after_row(
                row: int,
                fetch: Callable[[], Float32Array],
                first: int = first,
                chunk: Request = chunk,
            ) -> bool:
                bar.update(len(chunk.seeds))
                if on_step is None or (row % every and row != total):
                    return True
                return on_step(Step(row, total, first, fetch(), chunk.seeds)) is not False

            try:
                outcome = self._runner.run(replace(chunk, after_row=after_row))
            except KeyboardInterrupt:
                if not done:
                    raise
                break
            done = first + len(chunk.seeds)
            np.clip(outcome.x, -1.0, 1.0, out=images[first:done])
            rows[first:done] = outcome.rows
            if outcome.rows < total:
                break
        complete = done == n and bool((rows == total).all())
        return Samples(images[:done], whole.seeds[:done], rows[:done], complete)

    def _table_for(
        self, sampler: str | SamplerTable | None, steps: int | None, options: dict[str, Any]
    ) -> SamplerTable:
        """The engine's table, or the one that a request asks for instead."""
        if sampler is not None:
            return build_table(sampler, self.model.schedule, steps, **options)
        if steps is None and not options:
            return self.table
        steps = len(self.table) if steps is None else steps
        options = {**self._sampler_options, **options}
        return build_table(self._sampler, self.model.schedule, steps, **options)

    def _start(self, x_T: npt.NDArray[Any] | None, n: int) -> Float32Array | None:
        if x_T is None:
            return None
        try:
            start = np.asarray(x_T, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise FastdiffError(f"x_T: expected an array of numbers ({error})") from error
        if start.shape != (n, *self.model.sample_shape) or not np.isfinite(start).all():
            raise FastdiffError(
                f"x_T: expected finite values {[n, *self.model.sample_shape]}, "
                f"got {list(start.shape)}"
            )
        return start


def _count(n: int | None, seed: SeedsLike, context: Any, x_T: Any) -> int:
    """How many images: n where given, else as many as seeds, contexts or x_T were."""
    if n is None and not isinstance(seed, (int, np.integer)):
        n = len(as_seeds(seed))
    if n is None and x_T is not None and np.ndim(x_T) == 4:
        n = len(x_T)
    if n is None and not isinstance(context, str) and isinstance(context, Sequence):
        n = len(context) if any(isinstance(v, (str, Sequence)) for v in context) else None
    if n is None:
        n = len(context) if isinstance(context, np.ndarray) and context.ndim == 2 else 1
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 0 <= n <= MAX_SAMPLES:
        raise FastdiffError(f"n: expected an integer from 0 to {MAX_SAMPLES}, got {n!r}")
    return int(n)


def compile(
    model: DiffusionModel | str | os.PathLike[str],
    sampler: str | SamplerTable = "ddim",
    steps: int | None = None,
    *,
    backend: str = "auto",
    device: str | None = None,
    dtype: str | None = None,
    **sampler_options: Any,
) -> Engine:
    """An engine for a model (or the name or path of one), a sampler and a backend.

    ``sampler``: a name with its options (``eta=0.5``), or a :class:`SamplerTable`. ``steps``:
    model evaluations, the sampler's own default unless given. ``backend``: ``"auto"`` takes the
    fastest one available; ``engine.backend`` says which. ``device``, ``dtype``: passed to the
    backend where given.
    """
    chosen = choose(backend)
    if isinstance(model, (str, os.PathLike)):
        from fastdiff.checkpoint import load

        model = load(model)
    elif not isinstance(getattr(model, "schedule", None), Schedule):
        raise FastdiffError(
            "model: expected a fastdiff.DiffusionModel, a packaged name or a checkpoint's path, "
            f"got {type(model).__name__} (wrap a network: DiffusionModel(module, schedule, shape))"
        )
    options = {k: v for k, v in (("device", device), ("dtype", dtype)) if v is not None}
    return Engine(model, chosen, options, sampler, steps, sampler_options)
