"""A foreign scheduler at work: prepared once, then walked through row by row on inputs of ours."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastdiff.errors import FastdiffError
from fastdiff.samplers.foreign.draws import Draws
from fastdiff.samplers.foreign.shadow import shadowed

if TYPE_CHECKING:
    from torch import Tensor

# Their timesteps end with the time of the image itself, at which no model is asked.
_END_INCLUDED: Final = ("SCMScheduler", "DDPMWuerstchenScheduler")
# Their step takes one time for each image.
_BATCHED_TIME: Final = ("DDPMWuerstchenScheduler",)
# What every loop hands to step.
_HANDED: Final = ("self", "model_output", "timestep", "sample", "prev_timestep")


@dataclass(frozen=True)
class Prepared:
    """A copy of a scheduler after ``set_timesteps``, and the timesteps from its first row on."""

    scheduler: Any
    name: str
    timesteps: tuple[Tensor, ...]
    begin: int
    options: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.timesteps)

    @property
    def config(self) -> Mapping[str, Any]:
        """The scheduler's own config."""
        return getattr(self.scheduler, "config", {})

    def refused(self, reason: str) -> FastdiffError:
        """The error with which this scheduler is refused."""
        return FastdiffError(f"scheduler: {self.name} cannot be compiled: {reason}")


def prepare(scheduler: Any, steps: int | None, begin: int, options: Mapping[str, Any]) -> Prepared:
    """A copy of the scheduler, ready for its first step."""
    name = type(scheduler).__name__
    if isinstance(scheduler, type) or not callable(getattr(scheduler, "set_timesteps", None)):
        what = scheduler.__name__ + " itself" if isinstance(scheduler, type) else name
        raise FastdiffError(f"scheduler: expected a diffusers scheduler object, got {what}")
    ours = copy.deepcopy(scheduler)
    prepared = Prepared(ours, name, (), begin, options)
    if not callable(getattr(ours, "step", None)):
        raise prepared.refused("it has no step method")
    _check_step(prepared)
    if steps is not None:
        _set_timesteps(ours, name, steps)
    elif getattr(ours, "step_index", None) is not None:
        raise FastdiffError("scheduler: it has been stepped already; call its set_timesteps again")
    timesteps = getattr(ours, "timesteps", None)
    if timesteps is None or not len(timesteps):
        raise FastdiffError("steps: None takes the timesteps that the scheduler has; it has none")
    if name in _END_INCLUDED:
        timesteps = timesteps[:-1]
    if isinstance(begin, bool) or not isinstance(begin, int) or not 0 <= begin < len(timesteps):
        raise FastdiffError(f"begin: expected a row from 0 to {len(timesteps) - 1}, got {begin!r}")
    if hasattr(ours, "set_begin_index"):
        ours.set_begin_index(begin)
    shaped = [t.reshape(1) if name in _BATCHED_TIME else t for t in timesteps]
    return Prepared(ours, name, tuple(shaped[begin:]), begin, dict(options))


def _set_timesteps(scheduler: Any, name: str, steps: int) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise FastdiffError(f"steps: expected an integer of at least 1, got {steps!r}")
    try:
        scheduler.set_timesteps(steps)
    except Exception as error:  # whatever a foreign method raises, it is about these steps
        raise FastdiffError(
            f"steps: {name}.set_timesteps({steps}) failed ({_told(error)})"
        ) from error


def _check_step(prepared: Prepared) -> None:
    """``step`` must ask for no more than a loop over a table has."""
    parameters = inspect.signature(type(prepared.scheduler).step).parameters.values()
    named = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    for option in prepared.options:
        if option not in named or option in _HANDED:
            raise FastdiffError(f"{option}: {prepared.name}.step has no such option")
    wanted = [
        p.name
        for p in parameters
        if p.default is p.empty
        and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        and p.name not in _HANDED
        and p.name not in prepared.options
    ]
    if wanted:
        raise prepared.refused(f"its step also needs {' and '.join(wanted)}")


class Walk:
    """One walk through the rows of a prepared scheduler, on a copy of its own.

    ``double``: watched in float64 throughout; else as it is, but for the noise.
    """

    def __init__(self, prepared: Prepared, double: bool) -> None:
        self.prepared = prepared
        self.draws = Draws()
        self._scheduler = shadowed(copy.deepcopy(prepared.scheduler), self.draws, double)
        known = inspect.signature(type(prepared.scheduler).step).parameters
        self._takes_previous = "prev_timestep" in known

    def noised(self, k: int, image: Tensor, noise: Tensor) -> Tensor | None:
        """The image with the noise of row k, by the scheduler's own word; None without one.

        To be asked right before row k, since some schedulers answer for the row that they are at.
        """
        at, t = self._scheduler, self.prepared.timesteps[k].reshape(1)
        try:
            if hasattr(at, "add_noise"):
                return at.add_noise(image, noise, t)  # type: ignore[no-any-return]
            if hasattr(at, "scale_noise"):
                return at.scale_noise(image, t, noise)  # type: ignore[no-any-return]
        except Exception:  # whatever a foreign method raises: it has no level for this timestep
            return None
        return None

    def scaled(self, k: int, x: Tensor) -> Tensor:
        """What the model sees of x in row k."""
        if not hasattr(self._scheduler, "scale_model_input"):
            return x
        return self._scheduler.scale_model_input(  # type: ignore[no-any-return]
            x, self.prepared.timesteps[k]
        )

    def step(self, k: int, m: Tensor, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """(x of the next row, the x0 predicted where ``step`` tells it)."""
        prepared, options = self.prepared, dict(self.prepared.options)
        if self._takes_previous and k + 1 < len(prepared):
            options["prev_timestep"] = prepared.timesteps[k + 1]
        self.draws.start(z)
        try:
            out = self._scheduler.step(m, prepared.timesteps[k], x, **options)
            if isinstance(out, tuple):
                return out[0], None
            return out.prev_sample, getattr(out, "pred_original_sample", None)
        except FastdiffError as error:
            raise prepared.refused(str(error)) from error
        except Exception as error:  # whatever a foreign method raises, it is about this row
            raise prepared.refused(
                f"its step fails in row {k} on floats {list(x.shape)} ({_told(error)})"
            ) from error


def _told(error: Exception) -> str:
    """An error of others in half a sentence."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__
