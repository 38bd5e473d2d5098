"""Where every channel lies in the flat cache of a sample: rings of rows, channels together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastdiff.pixelcnn.network import IntArray
from fastdiff.pixelcnn.wavefront import Wavefront

Int32Array = npt.NDArray[np.int32]
OUTSIDE = -1


class Layout:
    """Each stored value is a ring [rows, W, channels]; ``elements`` of them all, one sample's.

    A value begins at a multiple of 16 elements, and its cells lie a multiple of 8 apart where that
    costs at most an eighth, so that a kernel can load 16 bytes at once.
    """

    def __init__(self, wavefront: Wavefront) -> None:
        network = wavefront.network
        self._height, self._width = network.height, network.width
        count = network.count
        self._value = np.full(count, -1, dtype=np.int64)  # of each channel, by its number
        self._place = np.zeros(count, dtype=np.int64)  # in its value
        firsts, rows, distances, end = [], [], [], 0
        for k, (name, numbers) in enumerate(network.stored.items()):
            self._value[numbers] = k
            self._place[numbers] = np.arange(len(numbers))
            firsts.append(end)
            rows.append(max(1, wavefront.rows[name]))  # x is written even where nobody reads it
            distances.append(_rounded(len(numbers), 8) if len(numbers) >= 56 else len(numbers))
            end = _rounded(end + rows[-1] * self._width * distances[-1], 16)
        self._firsts, self._rows, self._distances = (np.array(a) for a in (firsts, rows, distances))
        self.elements = int(end)

    def values_of(self, numbers: IntArray) -> IntArray:
        """The stored value, as an index, that each channel belongs to."""
        return self._value[numbers]

    def places_of(self, numbers: IntArray) -> Int32Array:
        """Each channel's place behind the first of its value at a cell."""
        return self._place[numbers].astype(np.int32)

    def positions(self, value: int, rows: IntArray, columns: IntArray) -> Int32Array:
        """Where a value's channels begin at cells of any shape; ``OUTSIDE`` of the image."""
        inside = (rows >= 0) & (rows < self._height) & (columns >= 0) & (columns < self._width)
        cell = rows % self._rows[value] * self._width + columns
        at = self._firsts[value] + cell * self._distances[value]
        return np.where(inside, at, OUTSIDE).astype(np.int32)


def _rounded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
