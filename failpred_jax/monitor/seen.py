"""Which units were counted before, by id and confidence: a sample of them that does not grow with the stream.

Kept are the units of the smallest hashes (Bar-Yossef et al., RANDOM 2002, algorithm 1): a uniform sample of the
distinct units, all of them while these are few. A unit that comes again has the hash that it had, so it is found if it
is in the sample. Ids alone are no names: a file of every day may number its rows from 0.
"""

import base64
import hashlib
from typing import NamedTuple

import numpy as np

from failpred_jax.monitor.columns import Rows

MOST = 1_000
_ALL = 2.0**64


def hashes_of(rows: Rows) -> np.ndarray:
    """Return a hash of id and confidence of each row that has both: [m] uint64."""
    chosen = np.flatnonzero(rows.is_known & (rows.ids != ''))
    # The two zeros are one confidence.
    confidence = rows.confidence[chosen] + rows.confidence.dtype.type(0)
    data, size = confidence.tobytes(), confidence.dtype.itemsize
    found = b''.join(
        hashlib.blake2b(data[size * n : size * (n + 1)] + word.encode(), digest_size=8).digest()
        for n, word in enumerate(rows.ids[chosen].tolist())
    )
    return np.frombuffer(found, '<u8')


class Seen(NamedTuple):
    """A sample of units.

    Attributes:
      hashes: [m] uint64, rising, at most MOST.
    """

    hashes: np.ndarray = np.zeros(0, '<u8')

    @property
    def share(self) -> float:
        """Which share of the units is in the sample; 1 for all."""
        return 1.0 if len(self.hashes) < MOST else float(self.hashes[-1]) / _ALL

    def after(self, hashes: np.ndarray) -> 'Seen':
        """Return the sample after further units, the same in whichever order they came."""
        if len(self.hashes) == MOST:
            hashes = hashes[hashes < self.hashes[-1]]
        return Seen(np.union1d(self.hashes, hashes)[:MOST]) if len(hashes) else self

    def count(self, hashes: np.ndarray) -> int:
        """Return how many of these are in the sample."""
        return int(np.isin(hashes, self.hashes).sum())

    def to_json(self) -> str:
        """Return it as text."""
        return base64.b64encode(self.hashes.astype('<u8').tobytes()).decode()

    @classmethod
    def from_json(cls, text: str) -> 'Seen':
        """Return what `to_json` returned the text of."""
        return cls(np.frombuffer(base64.b64decode(text), '<u8'))
