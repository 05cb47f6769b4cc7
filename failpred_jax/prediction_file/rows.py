"""Rows of class outputs, looked at and converted in float64 some at a time, so that memory does not grow with them."""

from collections.abc import Callable, Iterator

import numpy as np

# Held in float64 at once: 8 MB, of which a function may hold several copies.
_BLOCK_VALUES = 1 << 20
Conversion = Callable[[np.ndarray], np.ndarray]


class Rows:
    """The rows that are kept of outputs.

    Args:
      outputs: [..., C] of any real type, perhaps mapped from disk.
      kept: [...] bool, at least one True; the other rows are never looked at.
    """

    def __init__(self, outputs: np.ndarray, kept: np.ndarray):
        self.num_classes = outputs.shape[-1]
        self._flat = outputs.reshape(-1, self.num_classes)
        # None where all are kept, which is the rule, and needs no copy.
        self._places = None if kept.all() else np.flatnonzero(kept)
        self._count = len(self._flat) if self._places is None else len(self._places)
        self._step = max(1, _BLOCK_VALUES // max(1, self.num_classes))

    def _blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield (place among the kept rows, rows as stored)."""
        for start in range(0, self._count, self._step):
            place = slice(start, min(start + self._step, self._count))
            yield place, self._flat[place if self._places is None else self._places[place]]

    def range(self) -> tuple[float, float]:
        """Return the smallest and the largest value; NaN if one is NaN."""
        ends = [(float(block.min()), float(block.max())) for _, block in self._blocks()]
        low, high = np.array(ends).T
        return float(low.min()), float(high.max())

    def lowest_finite(self, low: float) -> float:
        """Return the smallest finite value, given the smallest; 0 if there is none."""
        if np.isfinite(low):
            return low
        return min(float(np.where(np.isfinite(block), block, 0).min()) for _, block in self._blocks())

    def among_all(self, which: np.ndarray) -> np.ndarray:
        """Return which of all rows, flat bool, are these of the kept ones, [M] bool."""
        found = np.zeros(len(self._flat), bool)
        found[which if self._places is None else self._places[which]] = True
        return found

    def some(self, most: int) -> Iterator[np.ndarray]:
        """Yield about so many rows, evenly spaced, some at a time: [M, C] float64."""
        step = max(1, self._count // most)
        for start in range(0, self._count, step * self._step):
            taken = slice(start, start + step * self._step, step)
            yield self._flat[taken if self._places is None else self._places[taken]].astype(np.float64)

    def each(self, fn: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return `fn` of rows [M, C] float64 -> [M], of all kept rows."""
        return np.concatenate([fn(block.astype(np.float64)) for _, block in self._blocks()])

    def converted(self, convert: Conversion | None, shape: tuple[int, ...]) -> np.ndarray:
        """Return all rows in a shape [..., C], float32: as given, or each block [M, C] float64 converted first.

        Rows that are not kept hold zeros. What needs no change is not copied.
        """
        if convert is None and self._places is None and self._flat.dtype == np.float32:
            return self._flat.reshape(shape)
        result = np.zeros(self._flat.shape, np.float32)
        for place, block in self._blocks():
            wide = block.astype(np.float64)
            wide = wide if convert is None else convert(wide)
            result[place if self._places is None else self._places[place]] = to_float32(wide)
        return result.reshape(shape)

    def probabilities(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return all rows in a shape [..., C] as float32 in [0, 1]: the numbers given, and not divided by anything."""
        low, high = self.range()
        if self._places is None and self._flat.dtype == np.float32 and low >= 0 and high <= 1:
            return self._flat.reshape(shape)
        result = np.zeros(self._flat.shape, np.float32)
        for place, block in self._blocks():
            result[place if self._places is None else self._places[place]] = np.clip(block, 0, 1)
        return result.reshape(shape)


def to_float32(rows: np.ndarray) -> np.ndarray:
    """Return float64 rows as float32 of which each predicts the same class; a tie by rounding is broken as before."""
    cast = rows.astype(np.float32)
    predicted = rows.argmax(axis=-1)
    units = np.flatnonzero(cast.argmax(axis=-1) != predicted)
    if units.size:
        largest = cast[units].max(axis=-1)
        cast[units, predicted[units]] = np.nextafter(largest, np.float32(np.inf))
    return cast
