"""A contestant's process: it stands still (SIGSTOP) unless it is asked, then times its own calls.

So no thread pool of another contestant spins on the CPUs of the one that is being measured.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from peers import SUITES, Calls, Task

REFERENCE = "reference"


class WorkerError(Exception):
    """Why a contestant cannot take part, in one line."""


class Worker:
    """The process, seen from the one that asks."""

    def __init__(self, suite: str, name: str, log: Path, environment: dict[str, str]) -> None:
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, sys.argv[0], "--worker", suite, name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **environment},
                text=True,
            )

    def prepare(self, task: Task) -> dict[str, Any]:
        """Gets ready for a task and says how: the setting, and its output's errors."""
        found: dict[str, Any] = self._ask(asdict(task) | {"folder": str(task.folder)})
        return found

    def sample(self, seconds: float) -> float:
        """Seconds a call, the median over calls that take at least ``seconds`` together."""
        return float(self._ask({"seconds": seconds}))

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"it ended with status {self._process.wait()}{self._last_words()}")
        self._process.send_signal(signal.SIGSTOP)
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["answer"]

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()  # reaches those that stand still too
        self._process.wait()


def serve(suite: str, name: str) -> None:
    """The process itself: answers each line on stdin with one on stdout until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    call: Callable[[], object] | None = None
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if "seconds" in question:
                assert call is not None
                answer: Any = _sample(call, question["seconds"])
            else:
                call = None  # one size in memory
                task = Task(**question | {"folder": Path(question["folder"])})
                call, answer = _prepare(suite, name, task)
            answers.write(json.dumps({"answer": answer}) + "\n")
        except Exception as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            answers.write(json.dumps({"error": first}) + "\n")
        answers.flush()


def _prepare(
    suite: str, name: str, task: Task
) -> tuple[Callable[[], object] | None, dict[str, Any]]:
    if name == REFERENCE:
        from peers import reference

        return None, reference.write(task)
    contestant = next(c for c in SUITES[suite][0] if c.name == name)
    start = time.perf_counter()
    calls = contestant.calls(task)
    took = _compare(calls)
    setting = min(took, key=lambda name: took[name])
    call = calls[setting]
    about: dict[str, Any] = {"setting": setting, "settings_seconds": took}
    if contestant.kind != "roofline":
        about |= _errors(np.asarray(call(), np.float64), task)
    return call, about | {"seconds_to_prepare": time.perf_counter() - start}


def _compare(calls: Calls) -> dict[str, float]:
    """Seconds a call of each setting; nothing is measured where there is no choice."""
    if len(calls) == 1:
        return dict.fromkeys(calls, 0.0)
    turns = [{name: _sample(call, 0.06) for name, call in calls.items()} for _ in range(5)]
    return {name: median(turn[name] for turn in turns) for name in calls}


def _errors(output: np.ndarray[Any, np.dtype[np.float64]], task: Task) -> dict[str, float]:
    """Against float64: of a step relative to the output's rms, of images (in [-1, 1]) as it is."""
    wanted = task.wanted()
    if output.shape != wanted.shape:
        raise ValueError(f"output: expected {list(wanted.shape)}, got {list(output.shape)}")
    scale = float(np.sqrt(np.mean(wanted**2))) if task.suite == "step" else 1.0
    wrong = (output - wanted) / scale
    return {
        "largest_error": float(np.abs(wrong).max()),
        "rms_error": float(np.sqrt(np.mean(wrong**2))),
    }


def _sample(call: Callable[[], object], seconds: float) -> float:
    """The median call after a quarter of the time to warm up."""
    _calls(call, seconds / 4)
    return median(_calls(call, seconds))


def _calls(call: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each call, at least one."""
    found = list[float]()
    start = before = time.perf_counter()
    while before - start < seconds or not found:
        call()
        now = time.perf_counter()
        found.append(now - before)
        before = now
    return found
