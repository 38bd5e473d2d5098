"""Form: a value inside a sampler's loop, as weights on what a table's row can see.

A sampler is written as its paper has it, on forms instead of images: ``x`` is the form with
weight 1 on x_k, a model output the one with weight 1 on m_k, and sums and multiples of forms are
forms. What the loop arrives at *is* the row. Going on to the next row makes x_k into x_{k-1}
(``Form.older``); a value that would need more history than a table has is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from fastdiff.samplers.path import Path
from fastdiff.samplers.table import M_DEPTH, X_DEPTH, Float64Array, SamplerTable
from fastdiff.schedules import EDMSchedule

# What a row is made of: x0 is the clamped one.
SYMBOLS: Final = (
    *(f"x[{back}]" for back in range(X_DEPTH)),
    *(f"m[{back}]" for back in range(M_DEPTH)),
    "x0",
    "noise",
)
_X, _M = slice(0, X_DEPTH), slice(X_DEPTH, X_DEPTH + M_DEPTH)
_LAST = (X_DEPTH - 1, X_DEPTH + M_DEPTH - 1, SYMBOLS.index("x0"), SYMBOLS.index("noise"))


class Form:
    """A weighted sum of ``SYMBOLS``; immutable. ``weights``: float64 [10]."""

    __slots__ = ("weights",)
    __array_ufunc__ = None  # or a NumPy number would take the form for one of its own

    def __init__(self, weights: Float64Array) -> None:
        self.weights = weights

    @classmethod
    def of(cls, symbol: str) -> Form:
        """The form that is one of ``SYMBOLS`` itself."""
        weights = np.zeros(len(SYMBOLS))
        weights[SYMBOLS.index(symbol)] = 1.0
        return cls(weights)

    def __add__(self, other: Form) -> Form:
        return Form(self.weights + other.weights)

    def __sub__(self, other: Form) -> Form:
        return Form(self.weights - other.weights)

    def __mul__(self, by: float) -> Form:
        return Form(self.weights * by)

    __rmul__ = __mul__

    def __truediv__(self, by: float) -> Form:
        return Form(self.weights / by)

    def __neg__(self) -> Form:
        return Form(-self.weights)

    def __getitem__(self, symbol: str) -> float:
        return float(self.weights[SYMBOLS.index(symbol)])

    def __repr__(self) -> str:
        parts = (f"{w:.6g} {s}" for s, w in zip(SYMBOLS, self.weights, strict=True) if w)
        return " + ".join(parts) or "0"

    def older(self) -> Form:
        """The same value, said in the next row: x_k is x[1] there, m_k is m[1]."""
        for index in _LAST:
            if self.weights[index]:
                raise ValueError(f"{SYMBOLS[index]} is not kept for the next row: {self}")
        weights = np.zeros(len(SYMBOLS))
        weights[_X], weights[_M] = np.roll(self.weights[_X], 1), np.roll(self.weights[_M], 1)
        return Form(weights)


X: Final = Form.of("x[0]")
M: Final = Form.of("m[0]")
Z: Final = Form.of("noise")
ZERO: Final = Form(np.zeros(len(SYMBOLS)))


def combine(weights: Sequence[float] | Float64Array, forms: Sequence[Form]) -> Form:
    """The sum of ``weights[i] * forms[i]``."""
    total = ZERO
    for weight, form in zip(weights, forms, strict=True):
        total = total + form * float(weight)
    return total


def remember(newest: Form, past: Sequence[Form], depth: int) -> list[Form]:
    """``[newest, *past]`` cut to ``depth`` and said in the next row."""
    return [form.older() for form in (newest, *past)[:depth]]


class Rows:
    """The rows of a sampler over a path, collected one by one; ``clip``: (lo, hi) bounds x0."""

    def __init__(self, path: Path, clip: tuple[float, float] | None = None) -> None:
        self.path = path
        self.clip = clip
        x0, eps = path.predicted()
        self._x0, self._eps = x0, eps
        self._rows: list[Form] = []

    def x0(self, k: int) -> Form:
        """Row k's prediction of x0, said in row k."""
        return X * float(self._x0.from_x[k]) + M * float(self._x0.from_m[k])

    def eps(self, k: int, x: Form = X, m: Form = M) -> Form:
        """What a model output ``m`` at ``x`` on row k's level says of eps, said in row k."""
        return x * float(self._eps.from_x[k]) + m * float(self._eps.from_m[k])

    def add(self, following: Form) -> None:
        """The next row: x_{k+1} = ``following``."""
        self._rows.append(following)

    def table(self, name: str, *, clamp_m: bool = True, to_noise: bool = False) -> SamplerTable:
        """The table of all rows; ``name`` gets the number of rows.

        ``clamp_m``: how ``clip`` is meant: True clamps x0 for everything that this row and later
        ones make of the model's output; False for the symbol "x0" alone.
        """
        path, count = self.path, len(self.path)
        if len(self._rows) != count:
            raise ValueError(f"{name}: {len(self._rows)} rows over a path of {count}")
        weights = np.stack([form.weights for form in self._rows])
        columns: dict[str, Float64Array | float] = {
            "t": path.t[:-1],
            "in_scale": path.in_scale[:-1],
            "alpha": path.alpha[:-1],
            "sigma": path.sigma[:-1],
            "x0_from_x": self._x0.from_x,
            "x0_from_m": self._x0.from_m,
            **{symbol: weights[:, k] for k, symbol in enumerate(SYMBOLS)},
        }
        if self.clip is not None:
            columns |= {"x0_lo": self.clip[0], "x0_hi": self.clip[1], "clamp_m": float(clamp_m)}
        # A variance-preserving path starts from plain noise, sigma-space at its own scale.
        scale = path.sigma[0] if isinstance(path.schedule, EDMSchedule) else 1.0
        head, comma, options = name.partition(",")
        full = f"{head}:{count}{comma}{options}"
        return SamplerTable.build(full, columns, float(scale), to_noise)
