"""What people type for seeds, contexts and sampler options, parsed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdiff.errors import FastdiffError

DEFAULT_N = 64
MAX_RANGE = 1_000_000
OWN_FLAGS = frozenset(("model", "sampler", "steps", "backend", "device", "dtype", "strength"))


def parse_seeds(text: str | None) -> list[int] | None:
    """``"3,1,4"`` or with ranges, ``"0-7,100"``: the seeds in that order."""
    if text is None:
        return None
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise FastdiffError(
                f"--seeds: expected numbers and ranges like 3,1,4 or 0-7, got {text!r}"
            )
        low, high = int(first), int(last) if dash else int(first)
        if not low <= high < low + MAX_RANGE:
            raise FastdiffError(f"--seeds: expected a rising range, got {part.strip()!r}")
        seeds.extend(range(low, high + 1))
    return seeds


def parse_context(
    text: str | None, labels: Sequence[str], n: int | None, default: int = DEFAULT_N
) -> tuple[Any, list[str] | None, int]:
    """(context for ``engine.sample``, class name of each image or None, n).

    ``labels`` without counts share n as evenly as it goes, in the order named; counts give each
    class its own number and n their sum; ``default`` is n where nothing says it. None, nothing
    typed, is ``"each"`` where the model has named classes; ``"none"`` is unconditional.
    """
    if text is None and labels:
        text = "each"
    if text is None or text in ("", "none"):
        return None, None, default if n is None else n
    entries = [part.strip() for part in text.split(",")]
    # Names before numbers, since digits' classes are called "0" to "9"; but nobody names a class
    # twice, so 0,0,1 is a vector there too.
    heads = [entry.partition(":")[0] for entry in entries]
    named = set(heads) <= set(labels) and len(set(heads)) == len(heads)
    numbers = None if named else _numbers(entries)
    if numbers is not None:
        return np.array(numbers, dtype=np.float32), None, default if n is None else n
    if entries == ["each"]:
        entries = list(labels)
        if not entries:
            raise FastdiffError("--context: 'each' needs a model with named classes")
    split = [entry.rpartition(":") if ":" in entry else (entry, "", "") for entry in entries]
    counts = [count for _, colon, count in split if colon]
    if not counts:
        total = default if n is None else n
        share = [total // len(entries) + (k < total % len(entries)) for k in range(len(entries))]
    elif len(counts) == len(entries) and all(c.isdecimal() for c in counts):
        share = [int(c) for c in counts]
        if n is not None and n != sum(share):
            raise FastdiffError(f"--context: its counts add up to {sum(share)}, but n is {n}")
    else:
        raise FastdiffError(f"--context: expected a count after every class or none, got {text!r}")
    names = [name for (name, _, _), count in zip(split, share, strict=True) for _ in range(count)]
    return names, names, sum(share)


def parse_options(pairs: Sequence[str], flag: str = "--set") -> dict[str, Any]:
    """``["eta=0.5", "noise=false", "clip=-1:1"]`` as Python values; ``flag``: who typed them."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise FastdiffError(f"{flag}: expected NAME=VALUE, got {pair!r}")
        if name in OWN_FLAGS:
            raise FastdiffError(f"{flag}: {name} has a flag of its own, --{name}")
        if text.lower() in ("true", "false"):
            options[name] = text.lower() == "true"
            continue
        numbers = _numbers(text.split(":"))
        if numbers is None:
            options[name] = text
        else:
            options[name] = numbers[0] if len(numbers) == 1 else tuple(numbers)
    return options


def _numbers(texts: Sequence[str]) -> list[float] | None:
    try:
        return [float(text) for text in texts]
    except ValueError:
        return None
