"""A request run in chunks: what ``on_step`` sees on the way, and the samples that come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from fastdiff.backends.base import Fetch, Float32Array, Request, Runner
from fastdiff.errors import FastdiffError


@dataclass(frozen=True)
class Step:
    """What ``on_step`` sees after a row of the table.

    ``x``: the intermediate of samples first .. first + len(x) - 1 of the request, float32
    [b, C, H, W], not clipped. ``row``: rows done, of ``rows``. ``seeds``: uint64 [b].
    """

    row: int
    rows: int
    first: int
    x: Float32Array
    seeds: npt.NDArray[np.uint64]
    fetch_x0: Fetch | None = field(default=None, repr=False, compare=False)

    @cached_property
    def x0(self) -> Float32Array:
        """What the row took the clean image for, float32 [b, C, H, W]; clamped where rows clamp.

        Computed when first asked for; a Step that is kept keeps what that needs. Raises
        FastdiffError where the table does not say how x0 follows from x and m.
        """
        if self.fetch_x0 is None:
            raise FastdiffError("x0: expected a step of a running request, this one has no model")
        return self.fetch_x0()


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


def run_chunks(
    runner: Runner,
    whole: Request,
    shape: tuple[int, int, int],
    batch_size: int,
    on_step: OnStep | None,
    every: int,
    progress: str | None,
) -> Samples:
    """The samples of all chunks of a request, or of those before it was cancelled.

    ``shape``: C, H, W. ``progress``: what a bar on stderr is called; None for no bar.
    """
    n, total = len(whole.seeds), len(whole.table)
    images = np.empty((n, *shape), dtype=np.float32)
    rows = np.zeros(n, dtype=np.int64)
    looked_at = frozenset[int]()
    if on_step is not None:
        looked_at = frozenset([*range(every, total, every), total])
    done = 0
    with tqdm(
        total=n * total, unit="row", disable=progress is None, desc=progress, leave=False
    ) as bar:
        for first in range(0, n, batch_size):
            chunk = whole.part(first, min(first + batch_size, n))

            def after_row(
                row: int, x: Fetch, x0: Fetch, first: int = first, chunk: Request = chunk
            ) -> bool:
                bar.update(len(chunk.seeds))
                if on_step is None or row not in looked_at:
                    return True
                return on_step(Step(row, total, first, x(), chunk.seeds, x0)) is not False

            try:
                outcome = runner.run(replace(chunk, after_row=after_row, looked_at=looked_at))
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
