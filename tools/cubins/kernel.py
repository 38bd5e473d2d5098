"""A kernel as it is launched: what tools/cubins/<kernel>.py lists and compile_cubins compiles."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Kernel:
    """A kernel as it is launched: the types of its arguments, and the values of the constexprs.

    ``constants``: by name, None for a pointer that is not given. ``aligned``: arguments that are
    multiples of 16, as most pointers are.
    """

    name: str
    function: Any
    types: dict[str, str]
    constants: dict[str, Any]
    aligned: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
