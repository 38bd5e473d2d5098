"""Ours: the C++ engine, planned for this machine by measuring, as ``fastdiff.compile`` does."""

from __future__ import annotations

from functools import cache
from typing import Any

from peers import Calls, Contestant, Task, load_model
from peers.whole import run_of


@cache  # one engine for all batches, as users have
def engine(suite: str, dtype: str, threads: int) -> Any:
    """For single steps."""
    import fastdiff

    options = {"threads": threads}
    return fastdiff.compile(load_model(suite), backend="native", dtype=dtype, options=options)


def calls(task: Task, who: Contestant) -> Calls:
    """The network alone through ``predict``, or whole runs."""
    if task.suite == "whole":
        options = {"threads": task.threads}
        return {"": run_of(task, backend="native", dtype=who.precision, options=options)}
    # The step's public form is the whole loop; predict is the piece of it that peers have too.
    runner, arrays = engine(task.suite, who.precision, task.threads)._runner, task.arrays()
    return {"": lambda: runner.predict(*arrays.values())}
