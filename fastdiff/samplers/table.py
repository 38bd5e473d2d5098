"""SamplerTable: a sampler as numbers. One row per model evaluation, float64 when built.

Row k makes x_{k+1} from what has been seen so far (docs/architecture.md, "The table"):

    m_k     = model(in_scale[k] * x_k, t[k], context), guidance applied
    x0      = clamp(x0_from_x[k] * x_k + x0_from_m[k] * m_k, x0_lo[k], x0_hi[k])
    m_k     = (x0 - x0_from_x[k] * x_k) / x0_from_m[k] where clamp_m[k] is 1
    x_{k+1} = sum_j x[j][k] * x_{k-j} + sum_j m[j][k] * m_{k-j} + x0[k] * x0
              + noise[k] * z_k

with z_k = normal(seed, step=k, stream=1). ``clamp_m`` lets samplers with history clamp x0: the
output is replaced by the one that stands for the clamped x0 before anyone, now or later, uses it.

x_k lies at the noise level of ``alpha``, ``sigma``: x_k = alpha[k] * image + sigma[k] * normal.
The rows do not use this; starting from an image, keeping a part of it and previews do.

Tables are values: immutable, hashable, comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastdiff.errors import FastdiffError

Float64Array = npt.NDArray[np.float64]

M_DEPTH: Final = 4
X_DEPTH: Final = 4

# Column order, to be shared by every backend: never reorder, only append.
COLUMNS: Final = (
    "t",
    "in_scale",
    "m[0]",
    "m[1]",
    "m[2]",
    "m[3]",
    "x[0]",
    "x[1]",
    "x[2]",
    "x[3]",
    "x0",
    "x0_from_x",
    "x0_from_m",
    "x0_lo",
    "x0_hi",
    "clamp_m",
    "noise",
    "alpha",
    "sigma",
)
INDEX: Final = {name: k for k, name in enumerate(COLUMNS)}
WIDTH: Final = len(COLUMNS)
_DEFAULTS = {"in_scale": 1.0, "x0_lo": -np.inf, "x0_hi": np.inf}


class SamplerTable:
    """K rows of ``COLUMNS``, float64 [K, 19], and the scale of the initial noise.

    ``x[0]`` to ``x[3]`` are the weights of x_k to x_{k-3}, ``m[0]`` to ``m[3]`` those of the
    model outputs, ``x0`` that of the clamped clean image, whose formula every row carries even
    where the weight is 0, since previews use it. ``alpha`` and ``sigma`` are 0 in a table that
    does not know its noise levels. ``init_scale``: x_T = init_scale * normal (1 for
    variance-preserving models). ``to_noise``: the rows lead from an image to noise
    (``ddim_inverse``). ``name`` is for people and takes no part in equality.
    """

    __slots__ = ("_hash", "_rows", "init_scale", "name", "to_noise")

    def __init__(
        self, rows: npt.ArrayLike, name: str, init_scale: float = 1.0, to_noise: bool = False
    ) -> None:
        array = np.array(rows, dtype=np.float64, order="C")
        if array.ndim != 2 or array.shape[1] != WIDTH or not len(array):
            raise FastdiffError(f"table rows: expected [K >= 1, {WIDTH}], got {list(array.shape)}")
        bounds = array[:, INDEX["x0_lo"] : INDEX["x0_hi"] + 1]
        rest = np.delete(array, [INDEX["x0_lo"], INDEX["x0_hi"]], axis=1)
        if not np.isfinite(rest).all() or np.isnan(bounds).any() or not np.isfinite(init_scale):
            raise FastdiffError(f"table rows: expected finite weights in {name!r}")
        if (bounds[:, 0] > bounds[:, 1]).any():
            raise FastdiffError(f"table rows: expected x0_lo <= x0_hi in {name!r}")
        clamps = array[:, INDEX["clamp_m"]]
        if (
            not np.isin(clamps, (0.0, 1.0)).all()
            or (clamps * array[:, INDEX["x0_from_m"]] == 0)[clamps == 1].any()
        ):
            raise FastdiffError(
                f"table rows: expected clamp_m 0 or 1, and 1 only where x0_from_m is not 0, "
                f"in {name!r}"
            )
        for prefix, depth in (("m", M_DEPTH), ("x", X_DEPTH)):
            for back in range(1, depth):
                if array[:back, INDEX[f"{prefix}[{back}]"]].any():
                    raise FastdiffError(
                        f"table rows: {name!r} uses {prefix}[{back}] before {back} rows have run"
                    )
        array.setflags(write=False)
        self._rows = array
        self.name = name
        self.init_scale = float(init_scale)
        self.to_noise = bool(to_noise)
        self._hash = hash((array.tobytes(), self.init_scale, self.to_noise))

    @classmethod
    def build(
        cls,
        name: str,
        columns: Mapping[str, npt.ArrayLike],
        init_scale: float = 1.0,
        to_noise: bool = False,
    ) -> SamplerTable:
        """A table from named columns, ``t`` [K] and others [K] or scalar; the rest is neutral."""
        rows = np.zeros((len(np.asarray(columns["t"])), WIDTH))
        for column, neutral in _DEFAULTS.items():
            rows[:, INDEX[column]] = neutral
        for column, values in columns.items():
            rows[:, INDEX[column]] = values
        return cls(rows, name, init_scale, to_noise)

    @property
    def rows(self) -> Float64Array:
        """Read-only float64 [K, 19] in the order of ``COLUMNS``."""
        return self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, column: str) -> Float64Array:
        return self._rows[:, INDEX[column]]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SamplerTable):
            return NotImplemented
        return (
            self.init_scale == other.init_scale
            and self.to_noise == other.to_noise
            and np.array_equal(self._rows, other._rows)
        )

    def __hash__(self) -> int:
        return self._hash

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(self, "_hash"):
            raise AttributeError(f"SamplerTable is immutable: cannot set {name!r}")
        object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return (SamplerTable, (self._rows, self.name, self.init_scale, self.to_noise))

    def __repr__(self) -> str:
        return f"SamplerTable({self.name!r}, rows={len(self)}, m_depth={self.m_depth})"

    @property
    def m_depth(self) -> int:
        """How many model outputs a row looks back on, itself included: 1 to 4."""
        return self._depth("m", M_DEPTH)

    @property
    def x_depth(self) -> int:
        """How many x a row looks back on, x_k included: 1 to 4."""
        return self._depth("x", X_DEPTH)

    @property
    def uses_noise(self) -> bool:
        """Whether any row adds noise."""
        return bool(self["noise"].any())

    @property
    def clamps(self) -> bool:
        """Whether any row clamps x0, for itself or for all that use the model's output."""
        return bool(self["x0"].any() or self["clamp_m"].any())

    def _depth(self, prefix: str, depth: int) -> int:
        used = [back for back in range(depth) if self[f"{prefix}[{back}]"].any()]
        return 1 + max(used, default=0)

    def __str__(self) -> str:
        """The table as aligned text: only the columns that say something."""
        always = ("t", "m[0]", "x[0]", "noise")
        neutral = {**dict.fromkeys(COLUMNS, 0.0), **_DEFAULTS}
        shown = [c for c in COLUMNS if c in always or (self[c] != neutral[c]).any()]
        if not self.clamps:
            shown = [c for c in shown if not c.startswith("x0_")]
        start = "x_0 = image" if self.to_noise else f"x_T = {self.init_scale:g} * normal"
        head = f"{self.name}: {len(self)} rows, {start}"
        lines = ["row  " + "".join(f"{c:>16}" for c in shown)]
        for k, row in enumerate(self._rows):
            lines.append(f"{k:>3}  " + "".join(f"{row[INDEX[c]]:>16.9g}" for c in shown))
        return "\n".join([head, *lines])
