"""Draws: the noise that a watched scheduler gets wherever it draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdiff.errors import FastdiffError

if TYPE_CHECKING:
    from torch import Tensor


class Draws:
    """The noise of the row at work: the same tensor for each draw, which are counted."""

    def __init__(self) -> None:
        self.z: Tensor | None = None
        self.count = 0
        self._walked: list[tuple[float, float]] = []

    def start(self, z: Tensor) -> None:
        """The next row begins, ``z`` is its noise."""
        self.z, self.count = z, 0

    def draw(self, shape: Any, dtype: Any = None) -> Tensor:
        """``z`` in this shape; a second draw in one row is an error."""
        self.count += 1
        if self.count > 1:
            raise FastdiffError("it draws noise more than once in a step; a table's row has one")
        z = self.z
        if z is None or z.numel() != _count(shape):
            raise FastdiffError("it draws noise that is not of the shape of x")
        return z.reshape(tuple(shape)).to(dtype or z.dtype)

    def randn_tensor(
        self, shape: Any, generator: Any = None, device: Any = None, dtype: Any = None, **_: Any
    ) -> Tensor:
        """In place of ``diffusers.utils.torch_utils.randn_tensor``."""
        return self.draw(shape, dtype)

    def brownian(self, *_: Any, **__: Any) -> Any:
        """In place of ``BrownianTreeNoiseSampler``: increments of one path, scaled to variance 1.

        Over stretches of the path that do not overlap they are independent, as a row's noise is.
        """

        def sampled(start: Any, end: Any) -> Tensor:
            low, high = sorted((float(start), float(end)))
            if any(low < b * (1 - 1e-6) and a < high * (1 - 1e-6) for a, b in self._walked):
                raise FastdiffError(
                    "its noise is one Brownian path, of which it uses a stretch twice; the rows "
                    "of a table draw independently"
                )
            self._walked.append((low, high))
            if self.z is None:
                raise FastdiffError("it draws noise before the first step")
            return self.draw(self.z.shape)

        return sampled


def _count(shape: Any) -> int:
    total = 1
    for size in shape:
        total *= int(size)
    return total
