"""Shadow: a foreign scheduler's class again, whose functions draw the noise that we hand them.

diffusers' schedulers draw inside ``step`` from a ``randn_tensor`` or a ``torch.randn`` that is
global to their module. Replacing it there would be seen by everyone who samples at that moment,
so the functions are built again around globals of their own: the same code, another
``randn_tensor`` and another ``torch``. An object whose ``__class__`` is its shadow goes on with the
state that it has.
"""

from __future__ import annotations

from types import CellType, FunctionType
from typing import Any, Final

from fastdiff.errors import FastdiffError
from fastdiff.samplers.foreign.draws import Draws

# Whose code is left as it is: nothing there computes.
_ALONE: Final = ("builtins", "abc", "typing", "torch", "functools", "contextlib")
_MIXINS: Final = (
    *("diffusers.configuration_utils", "diffusers.utils"),
    "diffusers.schedulers.scheduling_utils",
)
_OTHER: Final = (
    *("rand", "rand_like", "randint", "randint_like", "randperm", "normal", "bernoulli"),
    *("multinomial", "poisson"),
)


class _Torch:
    """torch, but for its noise; with ``double``, ``torch.float32`` means float64.

    Schedulers cast their sample to float32 inside ``step``, which would cost half the digits.
    """

    def __init__(self, torch: Any, draws: Draws, double: bool) -> None:
        self._torch, self._draws = torch, draws
        self.float32 = torch.float64 if double else torch.float32

    def __getattr__(self, name: str) -> Any:
        if name in _OTHER:
            raise FastdiffError(f"it draws from torch.{name}; a table's noise is normal")
        return getattr(self._torch, name)

    def randn(self, *size: Any, dtype: Any = None, **_: Any) -> Any:
        return self._draws.draw(size[0] if isinstance(size[0], tuple | list) else size, dtype)

    def randn_like(self, like: Any, dtype: Any = None, **_: Any) -> Any:
        return self._draws.draw(like.shape, dtype)


class _Maker:
    """Builds functions and classes again, each once."""

    def __init__(self, draws: Draws, double: bool) -> None:
        import torch

        self._torch = torch
        self._draws = draws
        self._proxy = _Torch(torch, draws, double)
        self._worlds: dict[int, dict[str, Any]] = {}
        self._functions: dict[int, FunctionType] = {}
        self._classes: dict[type, type] = {}

    def kind(self, old: type) -> type:
        """The shadow of a class: derived from it and from the shadows of its bases."""
        root = old.__module__.split(".", maxsplit=1)[0]
        if root in _ALONE or old.__module__.startswith(_MIXINS):
            return old
        if old not in self._classes:
            bases = [base for base in map(self.kind, old.__bases__) if base not in old.__bases__]
            # Made before its functions, whose super() must find it.
            made = type(old)(old.__name__, (*bases, old), {"__module__": old.__module__})
            self._classes[old] = made
            for name, value in vars(old).items():
                again = self._member(value)
                if again is not value:
                    setattr(made, name, again)
        return self._classes[old]

    def _member(self, value: Any) -> Any:
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, property):
            member = self._member
            return property(member(value.fget), member(value.fset), member(value.fdel))
        if isinstance(value, classmethod | staticmethod):
            return type(value)(self._member(value.__func__))
        return value

    def _function(self, old: FunctionType) -> FunctionType:
        if id(old) not in self._functions:
            world, outer = self._world(old), old.__closure__
            # Filled afterwards: a function may stand in its own closure.
            cells = None if outer is None else tuple(CellType() for _ in outer)
            made = FunctionType(old.__code__, world, old.__name__, old.__defaults__, cells)
            made.__kwdefaults__ = old.__kwdefaults__
            self._functions[id(old)] = made
            for cell, theirs in zip(cells or (), outer or (), strict=True):
                value = theirs.cell_contents
                if isinstance(value, FunctionType):
                    value = self._function(value)
                elif isinstance(value, type):  # what super() looks for
                    value = self._classes.get(value, value)
                cell.cell_contents = value
        return self._functions[id(old)]

    def _world(self, function: FunctionType) -> dict[str, Any]:
        """The globals for a function: those of its module, with our torch and our noise."""
        old = function.__globals__
        if str(old.get("__name__")).split(".", maxsplit=1)[0] in _ALONE:
            return old
        if id(old) not in self._worlds:
            new = self._worlds[id(old)] = dict(old)
            for name, value in old.items():
                if value is self._torch:
                    new[name] = self._proxy
                elif isinstance(value, FunctionType) and value.__globals__ is old:
                    new[name] = self._function(value)  # helpers of the module draw as well
            for name, ours in (
                ("randn_tensor", self._draws.randn_tensor),
                ("BrownianTreeNoiseSampler", self._draws.brownian),
            ):
                if name in old:
                    new[name] = ours
        return self._worlds[id(old)]


def shadowed(scheduler: Any, draws: Draws, double: bool) -> Any:
    """The scheduler itself, from now on of its shadow class; so are schedulers inside of it.

    ``double``: ``torch.float32`` means float64 in its functions.
    """
    maker = _Maker(draws, double)
    inner = [v for v in vars(scheduler).values() if callable(getattr(v, "set_timesteps", None))]
    for each in (scheduler, *inner):
        each.__class__ = maker.kind(type(each))
    return scheduler
