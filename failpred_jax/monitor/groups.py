"""Rows that belong together (of one prompt, one patient) err together: one of each group is drawn and counted.

Rows of one group stand together in the stream. Which one is drawn depends on the seed and on its place alone, so that
no cut of the stream matters, and one row is all that is kept of a group that goes on.
"""

from typing import Any

import numpy as np

from failpred_jax.monitor.columns import Rows
from failpred_jax.monitor.packing import rows_from_json, rows_to_json

_BLOCK = 4096


class OneOfEach:
    """Draws one row of each group."""

    def __init__(self, seed: int):
        self._seed = seed
        self._num_rows = 0
        self._open: Rows | None = None
        self._key = 1.0

    @property
    def num_open(self) -> int:
        """1 where a group may go on, else 0."""
        return 0 if self._open is None else 1

    def drawn(self, rows: Rows) -> Rows:
        """Take further rows and return those that are drawn of the groups which these end."""
        if not len(rows.code):
            return rows
        keys = self._keys(len(rows.code))
        if self._open is not None:
            rows, keys = self._open.plus(rows), np.concatenate([[self._key], keys])
        starts = np.flatnonzero(np.concatenate([[True], rows.group[1:] != rows.group[:-1]]))
        ends = np.concatenate([starts[1:], [len(keys)]])
        chosen = np.array([start + int(np.argmin(keys[start:end])) for start, end in zip(starts, ends, strict=True)])
        self._open, self._key = rows.take(chosen[-1:]), float(keys[chosen[-1]])
        return rows.take(chosen[:-1])

    def _keys(self, num: int) -> np.ndarray:
        """Return a number in [0, 1) for each of the next rows, by their place in the stream."""
        first, last = self._num_rows, self._num_rows + num
        self._num_rows = last
        blocks = range(first // _BLOCK, (last - 1) // _BLOCK + 1)
        drawn = np.concatenate([np.random.default_rng([self._seed, 14, block]).random(_BLOCK) for block in blocks])
        return drawn[first - blocks[0] * _BLOCK :][:num]

    def to_json(self) -> dict[str, Any]:
        """Return what a state keeps."""
        return {
            'rows': self._num_rows,
            'key': self._key,
            'open': None if self._open is None else rows_to_json(self._open),
        }

    @staticmethod
    def from_json(content: dict[str, Any], seed: int) -> 'OneOfEach':
        """Return what `to_json` described."""
        found = OneOfEach(seed)
        found._num_rows, found._key = int(content['rows']), float(content['key'])
        found._open = None if content['open'] is None else rows_from_json(content['open'])
        return found
