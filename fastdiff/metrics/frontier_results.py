"""What a frontier measurement found: its JSON file and its Markdown table."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from fastdiff.errors import FastdiffError
from fastdiff.metrics.quality import Quality

FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """What must agree for distances to stand in one picture."""

    model: str
    weights: str  # hash of the model's weights
    features: str
    n: int
    seed: int
    guidance: float
    dtype: str = "float32"  # of the network


@dataclass(frozen=True)
class Point:
    """One sampler at one number of rows; ``table`` is a hash, to know a sampler that changed."""

    sampler: str
    steps: int
    evaluations: int  # of the model for one image: twice the rows where guided
    stochastic: bool
    table: str
    distances: tuple[float, ...] = ()


@dataclass(frozen=True)
class Frontier:
    """All that was measured. ``skipped``: (sampler, steps, reason)."""

    settings: Settings
    floor: tuple[float, ...]
    points: tuple[Point, ...] = ()
    skipped: tuple[tuple[str, int, str], ...] = ()

    def quality(self, point: Point) -> Quality:
        """The point's distances with their mean and interval."""
        return Quality(self.settings.n, point.distances)

    def best(self) -> dict[int, Point]:
        """The point of least mean distance at each number of evaluations."""
        found: dict[int, Point] = {}
        for point in sorted(self.points, key=lambda p: self.quality(p).mean):
            found.setdefault(point.evaluations, point)
        return dict(sorted(found.items()))


def save_frontier(frontier: Frontier, path: Path) -> None:
    """Writes the JSON beside ``path``, then renames: a break leaves the old file or the new one."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"format": FORMAT, **asdict(frontier)}, indent=1) + "\n")
        os.replace(partial, path)
    except OSError as error:
        raise FastdiffError(f"out: cannot write {path} ({error.strerror or error})") from error


def load_frontier(path: Path) -> Frontier:
    """The frontier of a JSON file; a damaged, foreign or newer one is refused."""
    try:
        facts = json.loads(path.read_text())
        if facts["format"] > FORMAT:
            raise FastdiffError(
                f"out: {path} has format {facts['format']}, this version reads up to {FORMAT}"
            )
        points = [Point(**{**p, "distances": _floats(p["distances"])}) for p in facts["points"]]
        skipped = tuple((str(a), int(b), str(c)) for a, b, c in facts["skipped"])
        return Frontier(
            Settings(**facts["settings"]), _floats(facts["floor"]), tuple(points), skipped
        )
    except OSError as error:
        raise FastdiffError(f"out: cannot read {path} ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FastdiffError(f"out: {path} holds no frontier of fastdiff ({error!r})") from error


def _floats(values: list[object]) -> tuple[float, ...]:
    if not all(isinstance(v, float) and v >= 0.0 for v in values):
        raise ValueError(f"expected distances, got {values!r}")
    return tuple(v for v in values if isinstance(v, float))


def markdown(frontier: Frontier) -> str:
    """A table of distances, a row a sampler and a column a number of evaluations, best in bold."""
    settings, best = frontier.settings, frontier.best()
    floor = str(Quality(settings.n, frontier.floor)) if frontier.floor else "none at this n"
    columns = list(best)
    cells = {(p.sampler, p.evaluations): str(frontier.quality(p)) for p in frontier.points}
    for evaluations, point in best.items():
        cells[point.sampler, evaluations] = f"**{cells[point.sampler, evaluations]}**"
    names = sorted({p.sampler for p in frontier.points})
    lines = [
        f"Frechet distance ({settings.features}) of `{settings.model}` to held-out pictures: "
        f"n = {settings.n}, guidance {settings.guidance:g}, network in {settings.dtype}, mean and "
        f"95 % interval over independent draws. Floor: {floor}.",
        "",
        f"| model evaluations | {' | '.join(map(str, columns))} |",
        f"| --- |{' ---: |' * len(columns)}",
    ]
    lines += [f"| {n} | {' | '.join(cells.get((n, k), '') for k in columns)} |" for n in names]
    lines += [""] + [f"- {s} at {k} steps left out: {why}" for s, k, why in frontier.skipped]
    return "\n".join(lines).rstrip() + "\n"
