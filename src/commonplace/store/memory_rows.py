"""The rows of a partition that are in memory, in addition to those of its index file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.store.index_file import Block

__all__ = ["MemoryRows"]


class MemoryRows:
    """A growing block of rows in memory. Arrays that ``block()`` returned never change.

    ``dim`` is the dimension of a row. At most ``most`` rows are allocated, unless one block needs more.
    """

    def __init__(self, dim: int, most: int) -> None:
        self._count = 0
        self._most = most
        self._keys = np.empty(0, np.int64)
        self._rows = np.empty((0, dim), np.float32)
        self._offsets: NDArray[np.float32] | None = None
        self.several = 1
        """The largest number of rows of one item."""

    def __len__(self) -> int:
        return self._count

    def add(self, block: Block) -> None:
        """Add rows. Their keys must be sorted and not lower than the keys already added."""
        keys, rows, offsets = block
        end = self._count + len(keys)
        if end > len(self._keys):
            size = min(max(2 * end, 64), max(end, self._most))
            self._keys = _grown(self._keys, size)
            self._rows = _grown(self._rows, size)
            if self._offsets is not None:
                self._offsets = _grown(self._offsets, size)
        if offsets is not None and self._offsets is None:
            self._offsets = np.zeros(len(self._keys), np.float32)
        self._keys[self._count : end] = keys
        self._rows[self._count : end] = rows
        if offsets is not None and self._offsets is not None:
            self._offsets[self._count : end] = offsets
        # An item may have begun in the previous block.
        recent = np.concatenate([self._keys[max(0, self._count - 64) : self._count], keys])
        self.several = max(self.several, int(np.unique(recent, return_counts=True)[1].max()))
        self._count = end

    def block(self) -> Block:
        """Return the keys (n,), the rows (n, dim), and the offsets (n,) or None."""
        offsets = None if self._offsets is None else self._offsets[: self._count]
        return self._keys[: self._count], self._rows[: self._count], offsets


def _grown(values: NDArray[Any], size: int) -> NDArray[Any]:
    grown = np.empty((size, *values.shape[1:]), values.dtype)
    grown[: len(values)] = values
    return grown
