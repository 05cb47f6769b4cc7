"""A few units to look at, and what was predicted how often: in the first window, that of the alarm, the last."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from failpred_jax.monitor.columns import Rows

NUM_SHOWN = 12
# Of more classes, only the counts of these first ones are kept.
MOST_CLASSES = 1_000


@dataclass(frozen=True)
class Shown:
    """Units of one window.

    Attributes:
      window: its number, from 1.
      units: up to 12 units: 'unit' (number in the stream), 'id', 'predicted' (-1 where not known), 'confidence',
        'p_correct' and 'correct' (each None where not known).
      counts: class predicted -> [units, sum of 1 - P(correct)] in the window; {} where not known.
      spread: units of the window in each tenth of the reference's confidences, the lowest first.
    """

    window: int
    units: tuple[Mapping[str, Any], ...]
    counts: Mapping[str, tuple[float, float]]
    spread: tuple[int, ...]


@dataclass(frozen=True)
class Examples:
    """Units of three windows.

    Attributes:
      first: drawn at random from the first window.
      drawn: drawn at random from the window in which the first alarm went off; without an alarm, from the latest.
      lowest: those of the lowest confidence of the same window.
      is_over: whether an alarm has gone off, so that these stay.
      latest: those of the lowest confidence of the latest window.
    """

    first: Shown | None = None
    drawn: Shown | None = None
    lowest: Shown | None = None
    is_over: bool = False
    latest: Shown | None = None

    def after(
        self, rows: Rows, number: int, first_unit: int, is_alarm: bool, edges: np.ndarray, seed: int
    ) -> 'Examples':
        """Return the examples with a window added.

        Args:
          rows: of the window.
          number: of the window, from 1.
          first_unit: number of its first unit in the stream, from 1.
          is_alarm: whether an alarm went off in it.
          edges: [9] between the tenths of the reference's confidences.
          seed: of what is drawn.
        """
        drawn = np.random.default_rng([seed, 15, number]).permutation(len(rows.code))[:NUM_SHOWN]
        lowest = np.argsort(rows.confidence, kind='stable')[:NUM_SHOWN]
        spread = tuple(spread_over(rows.confidence, edges).tolist())
        at_random = _shown(rows, np.sort(drawn), number, first_unit, spread)
        at_bottom = _shown(rows, lowest, number, first_unit, spread)
        found = replace(self, first=self.first or at_random, latest=at_bottom)
        if self.is_over:
            return found
        return replace(found, drawn=at_random, lowest=at_bottom, is_over=is_alarm)

    def to_json(self) -> dict[str, Any]:
        """Return what a state keeps."""
        named = {name: getattr(self, name) for name in ('first', 'drawn', 'lowest', 'latest')}
        return {
            'is_over': self.is_over,
            **{
                name: found and {**vars(found), 'units': list(found.units), 'counts': dict(found.counts)}
                for name, found in named.items()
            },
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> 'Examples':
        """Return what `to_json` described."""
        found = {
            name: content[name]
            and Shown(
                int(content[name]['window']),
                tuple(content[name]['units']),
                dict(content[name]['counts']),
                tuple(content[name]['spread']),
            )
            for name in ('first', 'drawn', 'lowest', 'latest')
        }
        return Examples(is_over=bool(content['is_over']), **found)


def spread_over(confidence: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return how many of confidences [n] lie in each of the parts between edges [J]: [J + 1] int."""
    return np.bincount(np.searchsorted(edges, confidence, side='right'), minlength=len(edges) + 1)


def tenths(confidence: np.ndarray) -> np.ndarray:
    """Return the edges [9] between tenths of confidences [n], each one of them."""
    return np.sort(confidence)[(np.arange(1, 10) * len(confidence)) // 10]


def _shown(rows: Rows, chosen: np.ndarray, number: int, first_unit: int, spread: tuple[int, ...]) -> Shown:
    units = []
    for place in chosen.tolist():
        units.append({
            'unit': first_unit + place,
            'id': str(rows.ids[place]),
            'predicted': int(rows.predicted[place]),
            'confidence': _finite(rows.confidence[place].item()),
            'p_correct': _finite(float(rows.p_correct[place])),
            'correct': _finite(float(rows.correct[place])),
        })  # fmt: skip
    return Shown(number, tuple(units), _counts(rows), spread)


def _counts(rows: Rows) -> dict[str, tuple[float, float]]:
    known = (rows.predicted >= 0) & (rows.predicted < MOST_CLASSES)
    if not known.any():
        return {}
    classes = rows.predicted[known]
    count = np.bincount(classes)
    error = np.bincount(classes, np.nan_to_num(1 - rows.p_correct[known]))
    return {str(c): (int(count[c]), float(error[c])) for c in np.flatnonzero(count).tolist()}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
