"""How far drawn pictures are from held-out ones: Frechet distances with their uncertainty.

A distance from n pictures is biased upwards, the more so the smaller n is: their covariance is
estimated, and an estimate is never quite the true one. Only distances at equal n (and under the
same features) compare. The floor, training pictures against the held-out ones at the same n,
carries the same bias and says what "as good as the data" scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdiff import noise
from fastdiff.engine import Engine, Step
from fastdiff.errors import FastdiffError
from fastdiff.metrics.features import Features
from fastdiff.metrics.frechet import frechet_distance, statistics
from fastdiff.metrics.student import t_quantile

MIN_N = 2
BATCH_SIZE = 64
LAST_ROW = 1 << 30  # an ``every`` that is never reached: only the last row is seen
CONFIDENCE = 0.95

# (seeds uint64 [n], class names or None) -> images float [n, C, H, W] in [-1, 1].
Draw = Callable[[npt.NDArray[np.uint64], "list[str] | None"], npt.NDArray[Any]]


@dataclass(frozen=True)
class Quality:
    """Frechet distances of independent draws of n pictures each, to the held-out pictures."""

    n: int
    distances: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean distance; biased upwards at finite n."""
        return float(np.mean(self.distances))

    @property
    def half_width(self) -> float | None:
        """Half of the mean's 95 % confidence interval (Student's t); None of a single draw.

        It covers which pictures were drawn, not which ones happen to be held out.
        """
        draws = len(self.distances)
        if draws < 2:
            return None
        spread = float(np.std(self.distances, ddof=1))
        return t_quantile(CONFIDENCE, draws - 1) * spread / math.sqrt(draws)

    def __str__(self) -> str:
        half = self.half_width
        return f"{self.mean:.3f}" + ("" if half is None else f" ± {half:.3f}")


def allocate(n: int, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """n shared out in proportion to ``counts``, int64 [classes], by largest remainder.

    Equal remainders go to the earlier class, so that the same n is always shared the same way.
    """
    exact = n * counts.astype(np.float64) / counts.sum()
    share: npt.NDArray[np.int64] = np.floor(exact).astype(np.int64)
    order = np.argsort(share - exact, kind="stable")
    share[order[: n - share.sum()]] += 1
    return share


def class_names(features: Features, n: int, labels: Sequence[str]) -> list[str] | None:
    """The class of each of n pictures, in the held-out proportions; None of a model without any.

    ``labels``: the model's. Raises FastdiffError where a held-out class is not among them.
    """
    if not labels:
        return None
    missing = [name for name in features.labels if name not in labels]
    if missing:
        raise FastdiffError(
            f"features: {features.name} compares the classes {', '.join(features.labels)}, "
            f"the model draws {', '.join(labels)}"
        )
    share = allocate(n, features.counts)
    return [name for name, k in zip(features.labels, share, strict=True) for _ in range(k)]


def drawing(
    engine: Engine,
    guidance: float = 1.0,
    batch_size: int = BATCH_SIZE,
    progress: Callable[[int], object] | None = None,
    **request: Any,
) -> Draw:
    """``engine.sample`` as a drawing function; ``request``: sampler, steps and other options.

    ``progress`` is told after each chunk how many rows times pictures it had.
    """

    def after_chunk(step: Step) -> None:
        if progress is not None:
            progress(step.rows * len(step.seeds))

    def draw(seeds: npt.NDArray[np.uint64], names: list[str] | None) -> npt.NDArray[Any]:
        samples = engine.sample(
            seed=seeds,
            context=names,
            guidance=None if guidance == 1 else guidance,
            batch_size=batch_size,
            on_step=after_chunk,
            every=LAST_ROW,
            **request,
        )
        if not samples.complete:
            raise KeyboardInterrupt  # the engine had turned it into a part of the pictures
        return samples.images

    return draw


def distance(features: Features, images: npt.NDArray[Any]) -> float:
    """The Frechet distance of images float [n, C, H, W] in [-1, 1] to the held-out pictures."""
    return frechet_distance(statistics(features.of(images)), features.held_out)


def check_counts(n: int, draws: int, seed: int) -> None:
    """Raises FastdiffError unless all draws have at least two pictures, and seeds, to them."""
    for what, value, least in (("n", n, MIN_N), ("draws", draws, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise FastdiffError(f"{what}: expected an integer of at least {least}, got {value!r}")
    if seed + n * draws > 2**64:
        raise FastdiffError(f"seed: expected at most 2**64 - n * draws, got {seed}")


def distances(
    draw: Draw,
    features: Features,
    labels: Sequence[str],
    n: int,
    draws: int,
    seed: int = 0,
    first: int = 0,
) -> Iterator[float]:
    """The distance of each of the draws first .. draws - 1, one after another as they are drawn.

    Draw d has the seeds seed + d n ... seed + (d + 1) n - 1: draws are disjoint, and samplers are
    compared on the same seeds. ``labels``: the classes that can be drawn, as in ``class_names``.
    """
    check_counts(n, draws, seed)
    names = class_names(features, n, labels)
    for d in range(first, draws):
        yield distance(features, draw(noise.as_seeds(seed + d * n, n), names))


def quality(
    drawn: Engine | Draw,
    features: Features,
    n: int = 512,
    draws: int = 4,
    seed: int = 0,
    guidance: float = 1.0,
    labels: Sequence[str] | None = None,
    batch_size: int = BATCH_SIZE,
    progress: Callable[[int], object] | None = None,
) -> Quality:
    """The Frechet distance of ``draws`` disjoint draws of ``n`` pictures each.

    Classes are drawn in the held-out proportions. ``drawn``: an engine, or a function
    (:data:`Draw`) with the ``labels`` that it can draw (the features' unless given); guidance,
    batch size and progress are for an engine.

    Biased upwards at finite n: compare only equal n. Raises FastdiffError where an argument is
    wrong, before anything is drawn.
    """
    if isinstance(drawn, Engine):
        check_shape(features, drawn)
        labels = drawn.model.labels if labels is None else labels
        drawn = drawing(drawn, guidance, batch_size, progress)
    labels = features.labels if labels is None else labels
    return Quality(n, tuple(distances(drawn, features, labels, n, draws, seed)))


def check_shape(features: Features, engine: Engine) -> None:
    """Raises FastdiffError unless the engine's pictures are of the shape that features compare."""
    if engine.model.sample_shape != features.sample_shape:
        raise FastdiffError(
            f"features: {features.name} are of pictures {list(features.sample_shape)}, "
            f"{engine.model.name} draws {list(engine.model.sample_shape)}"
        )
