"""The engine of autoregressive models: pixels drawn one after another, ready to draw.

``fastdiff.compile`` makes one for an :class:`AutoregressiveModel`, ``fastdiff.runtime.load`` for
such a model's engine file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from fastdiff.backends.base import PixelRunner
from fastdiff.errors import FastdiffError
from fastdiff.noise import SeedsLike
from fastdiff.requests import contexts, editing
from fastdiff.requests.chunks import Samples
from fastdiff.requests.counts import check_work
from fastdiff.requests.pixels import DrawnByPixel, images_of, levels_of, resolve

if TYPE_CHECKING:
    from fastdiff.models.autoregressive import AutoregressiveModel

__all__ = ["PixelEngine", "PixelSamples"]

OnProgress = Callable[[int, int], object]


@dataclass(frozen=True)
class PixelSamples(Samples):
    """Drawn images and what made them, with their levels.

    ``levels``: int32 [n, C, H, W], -1 where a cancelled run ended before (``images`` has -1.0
    there). ``rows``: how many of each image's rows of pixels are whole, int64 [n].
    """

    levels: npt.NDArray[np.int32] = field(
        default_factory=lambda: np.empty((0, 1, 1, 1), dtype=np.int32)
    )


class PixelEngine:
    """Immutable; many threads may call ``sample`` at once.

    ``model``: what it draws from, with its ``name``, ``sample_shape``, ``levels``, ``labels``.
    ``backend``: which one runs it; ``passed_over``: why not a faster one.
    """

    def __init__(
        self,
        model: AutoregressiveModel | DrawnByPixel,
        name: str,
        backend: str,
        runner: PixelRunner,
        passed_over: Mapping[str, str] | None = None,
    ) -> None:
        self.model = model
        self.name = name
        self.backend, self.passed_over = backend, dict(passed_over or {})
        self._runner = runner

    def __repr__(self) -> str:
        others = "".join(f"; {name}: {why}" for name, why in self.passed_over.items())
        about = self._runner.describe()
        return f"PixelEngine({self.name}, backend={self.backend}: {about}{others})"

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """C, H, W."""
        return self.model.sample_shape

    def sample(
        self,
        n: int | None = None,
        seed: SeedsLike = 0,
        *,
        context: contexts.ContextLike = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        image: npt.NDArray[Any] | None = None,
        given_rows: int | None = None,
        mask: npt.NDArray[Any] | None = None,
        on_progress: OnProgress | None = None,
        batch_size: int = 1024,
        progress: bool = False,
    ) -> PixelSamples:
        """Draws ``n`` images, float32 [n, C, H, W] in [-1, 1], with their levels and seeds.

        ``n``, ``seed``, ``context``: as in ``Engine.sample``. Pixel (i, j), colour c gets the level
        whose cumulative probability is the first to pass u = uniform(seed, step 0, stream 3,
        element (i W + j) C + c), so that an image depends on its own seed alone.
        ``temperature``: logits are divided by it, below 1 for likelier images. ``top_k``: only so
        many of the likeliest levels.

        ``image``: of which the first ``given_rows`` rows stay, or what a ``mask`` (as in
        ``Engine.sample``, 0 and 1 alone) keeps; the rest is drawn in the model's order, so that it
        follows from what is kept before it, not after it. float [C, H, W] or [n, C, H, W] in
        [-1, 1], or uint8 pixels [H, W, C] or [n, H, W, C].

        ``on_progress``: called now and then with how many pixels' colours are there and how many
        there will be; returning False cancels, and what was drawn so far is returned. Ctrl-C does
        the same, once at least one chunk of ``batch_size`` is whole.

        Raises FastdiffError where an argument is wrong, before anything is drawn.
        """
        check_work(batch_size)
        if on_progress is not None and not callable(on_progress):
            raise FastdiffError(f"on_progress: expected a function, got {on_progress!r}")
        whole = resolve(
            self.model,
            n,
            seed,
            context=context,
            temperature=temperature,
            top_k=top_k,
            image=image,
            given_rows=given_rows,
            mask=mask,
        )
        count, shape = len(whole.seeds), self.model.sample_shape
        each = int(np.prod(shape))
        levels = np.empty((count, *shape), dtype=np.int32)
        done = there = 0
        cancelled = False
        with tqdm(
            total=count * each, unit="px", unit_scale=True, disable=not progress, desc=self.name,
            leave=False,
        ) as bar:  # fmt: skip
            for first in range(0, count, batch_size):
                chunk = whole.part(first, min(first + batch_size, count))

                def tell(part: int, _: int, before: int = there) -> bool:
                    nonlocal cancelled
                    bar.update(before + part - bar.n)
                    if on_progress is not None:
                        cancelled = on_progress(before + part, count * each) is False
                    return not cancelled

                try:
                    outcome = self._runner.run(replace(chunk, on_progress=tell))
                except KeyboardInterrupt:
                    if not done:
                        raise
                    break
                levels[done : done + len(chunk.seeds)] = outcome.levels
                done += len(chunk.seeds)
                there += outcome.done
                # Also where the chunk was whole by then.
                if cancelled or outcome.done < len(chunk.seeds) * each:
                    break
        levels = levels[:done]
        whole_rows = (levels >= 0).all(axis=(1, 3)).cumprod(axis=1).sum(axis=1)
        return PixelSamples(
            images_of(levels, self.model.levels),
            whole.seeds[:done],
            whole_rows.astype(np.int64),
            there == count * each,
            levels,
        )

    def bits_per_dimension(
        self, images: npt.NDArray[Any], *, context: contexts.ContextLike = None
    ) -> npt.NDArray[np.float64]:
        """-log2 p of each image over its C H W values, float64 [n]: what a good code would take.

        ``images``: as ``sample``'s ``image``, n of them or one. Raises FastdiffError on a backend
        that has no log_probabilities.
        """
        array = editing.as_array("images", images)
        n = len(array) if array.ndim == 4 else 1
        measure = getattr(self._runner, "log_probabilities", None)
        if measure is None:
            raise FastdiffError(
                f"backend: expected native, {self.backend} has no log_probabilities"
            )
        levels = levels_of(self.model, n, array, "images")
        shape = self.model.sample_shape
        ctx = contexts.resolve(context, n, self.model.context_width, self.model.labels)
        log_p = measure(levels, ctx).astype(np.float64)
        bits: npt.NDArray[np.float64] = -log_p.sum(axis=(1, 2, 3)) / np.log(2) / np.prod(shape)
        return bits

    def describe(self, batch: int = 1) -> str:
        """How ``batch`` samples are computed: native's plan; else one line."""
        plan = getattr(self._runner, "plan", None)
        return str(self._runner.describe() if plan is None else plan(batch))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the engine file: the model's program with its weights, and its levels.

        ``fastdiff.runtime.load`` runs it without torch. Raises FastdiffError for an engine that
        came from a file.
        """
        if not hasattr(self.model, "module"):
            raise FastdiffError("engine: expected one of a model, got one of an engine file")
        from fastdiff.pixelcnn.save import pixel_engine_bytes_of
        from fastdiff.program.engine_file import write

        write(path, pixel_engine_bytes_of(cast("AutoregressiveModel", self.model)))
