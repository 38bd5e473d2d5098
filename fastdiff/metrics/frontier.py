"""Quality against cost: the distance of every sampler at every number of model evaluations.

Results are one JSON file, written whole after every draw: a measurement that was broken off goes
on where it was, and more samplers, step counts or draws are added to what is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fastdiff.engine import Engine
from fastdiff.errors import FastdiffError
from fastdiff.metrics import quality
from fastdiff.metrics.features import Features, NotFiniteError
from fastdiff.metrics.floor import floor as floor_at
from fastdiff.metrics.frontier_results import (
    Frontier,
    Point,
    Settings,
    load_frontier,
    save_frontier,
)
from fastdiff.samplers import SAMPLERS, SamplerTable, build_table
from fastdiff.schedules import AnySchedule


def measure(
    engine: Engine,
    features: Features,
    path: Path,
    samplers: Sequence[str],
    steps: Sequence[int],
    n: int,
    draws: int,
    seed: int = 0,
    guidance: float = 1.0,
    batch_size: int = quality.BATCH_SIZE,
    progress: bool = False,
) -> Frontier:
    """Draws what ``path`` does not hold yet, cheapest first, and returns all that it holds.

    Every sampler is a request to the one engine, so that the model is prepared once, and samplers
    whose tables are equal (Euler and DDIM) are drawn once and stand under each name. Skipped, with
    the reason, are samplers that refuse the step count, tables that end in noise, and pictures
    that are not finite. Raises FastdiffError where the file's settings are others.
    """
    quality.check_counts(n, draws, seed)
    quality.check_shape(features, engine)
    labels = engine.model.labels
    quality.class_names(features, n, labels)
    settings = Settings(
        engine.model.name,
        _weights_hash(engine),
        features.name,
        n,
        seed,
        float(guidance),
        engine.dtype,
    )
    known: dict[tuple[str, int], Point] = {}
    if path.exists():
        before = load_frontier(path)
        if before.settings != settings:
            raise FastdiffError(
                f"out: {path} holds another measurement ({_difference(before.settings, settings)})"
            )
        known = {(p.sampler, p.steps): p for p in before.points}
    at_floor = floor_at(features, n)
    floor = at_floor.distances if at_floor else ()
    tables, skipped = buildable(samplers, steps, engine.model.schedule)
    calls = 1 if guidance == 1 else 2
    todo: list[tuple[Point, SamplerTable]] = []
    twins = _twins(tables)
    for name, table in tables:
        point = Point(name, len(table), calls * len(table), table.uses_noise, table_hash(table))
        held = known.get((name, len(table)))
        if held is not None and held.table == point.table:
            point = held
        known[name, len(table)] = point
        if len(point.distances) < draws and (name, len(table)) not in twins:
            todo.append((point, table))

    def frontier() -> Frontier:
        for twin, other in twins.items():
            known[twin] = replace(known[twin], distances=known[other].distances)
        points = tuple(p for p in known.values() if p.distances)
        return Frontier(settings, floor, points, tuple(skipped))

    total = sum(p.evaluations * n * (draws - len(p.distances)) for p, _ in todo)
    with tqdm(total=total, unit="eval", unit_scale=True, disable=not progress) as bar:
        for point, table in todo:
            bar.set_description(f"{point.sampler} {point.evaluations}")

            def tell(rows: int) -> None:
                bar.update(rows * calls)

            draw = quality.drawing(engine, guidance, batch_size, tell, sampler=table)
            first = len(point.distances)
            try:
                for value in quality.distances(draw, features, labels, n, draws, seed, first):
                    held = known[point.sampler, point.steps]
                    longer = replace(held, distances=(*held.distances, value))
                    known[point.sampler, point.steps] = longer
                    save_frontier(frontier(), path)
            except NotFiniteError:
                skipped.append((point.sampler, point.steps, "it drew values that are not finite"))
    save_frontier(frontier(), path)
    return frontier()


def buildable(
    samplers: Iterable[str], steps: Sequence[int], schedule: AnySchedule
) -> tuple[list[tuple[str, SamplerTable]], list[tuple[str, int, str]]]:
    """The tables that can draw an image, by rising step count, and (sampler, steps, reason)."""
    tables: list[tuple[str, SamplerTable]] = []
    skipped: list[tuple[str, int, str]] = []
    names = list(samplers)
    for name in names:
        if name not in SAMPLERS:
            raise FastdiffError(f"samplers: expected some of {', '.join(SAMPLERS)}, got {name!r}")
    for count in sorted(set(steps)):
        for name in names:
            try:
                table = build_table(name, schedule, count)
            except FastdiffError as error:
                skipped.append((name, count, str(error)))
                continue
            if table.to_noise:
                skipped.append((name, count, "its table ends in noise"))
            else:
                tables.append((name, table))
    return tables, skipped


def _twins(tables: Sequence[tuple[str, SamplerTable]]) -> dict[tuple[str, int], tuple[str, int]]:
    """The later of two points whose tables are equal up to rounding -> the earlier."""
    found: dict[tuple[str, int], tuple[str, int]] = {}
    for k, (name, table) in enumerate(tables):
        for other, before in tables[:k]:
            if (
                before.rows.shape == table.rows.shape
                and before.init_scale == table.init_scale
                and np.allclose(before.rows, table.rows, rtol=1e-9, atol=1e-9)
            ):
                found[name, len(table)] = (other, len(before))
                break
    return found


def table_hash(table: SamplerTable) -> str:
    """The same for tables that agree to nine digits, so that machines agree about it."""
    text = ",".join(f"{v:.9g}" for v in (*table.rows.ravel(), table.init_scale))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _weights_hash(engine: Engine) -> str:
    found = hashlib.sha256()
    for key, value in sorted(engine.model.module.state_dict().items()):
        found.update(key.encode())
        found.update(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
    return found.hexdigest()[:16]


def _difference(old: Settings, new: Settings) -> str:
    pairs = zip(vars(old).items(), vars(new).values(), strict=True)
    return ", ".join(f"{key} {was!r}, now {now!r}" for (key, was), now in pairs if was != now)
