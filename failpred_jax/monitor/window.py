"""What is reported of one window."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from failpred_jax.monitor.bounds import share_interval
from failpred_jax.monitor.calibration import brier, ece_debiased
from failpred_jax.monitor.columns import Rows
from failpred_jax.monitor.estimates import (
    METHODS,
    NOT_KNOWN,
    Estimate,
    Level,
    by_agreement,
    by_calibration,
    by_level,
)
from failpred_jax.monitor.reference import Reference


@dataclass(frozen=True)
class Window:
    """One window of a stream.

    Attributes:
      number: from 1.
      first, last: numbers of its first and last unit in the stream, from 1.
      ends: 'first_id', 'last_id', 'first_time', 'last_time' -> what the stream calls them, or ''.
      units: in it.
      mean_confidence: of the policy's score; NaN if one is infinite.
      accuracy: method -> its estimate; see estimates.py.
      shares: action of the policy -> share of the units.
      accepted_error: the mean of 1 - P(correct) among the units that the first tier takes.
      labeled: units with a label.
      labeled_accuracy: of these, exact interval.
      accepted_labeled: units with a label that the first tier takes.
      accepted_labeled_error: the share of these that is wrong, exact interval.
      ece: of P(correct), debiased, where there are labels.
      brier: of P(correct), where there are labels.
      left_out: rows without a confidence since the last unit of the window before; they are no units.
      evidence: alarm -> logarithm to base 10 of the wealth at the end of the window.
      raised: alarms that went off in it.
    """

    number: int
    first: int
    last: int
    ends: Mapping[str, str]
    units: int
    mean_confidence: float
    accuracy: Mapping[str, Estimate]
    shares: Mapping[str, float]
    accepted_error: Estimate
    labeled: int
    labeled_accuracy: Estimate
    accepted_labeled: int
    accepted_labeled_error: Estimate
    ece: float
    brier: float
    left_out: int = 0
    evidence: Mapping[str, float] = field(default_factory=dict)
    raised: tuple[str, ...] = ()

    def to_row(self) -> dict[str, Any]:
        """Return column -> value, as monitor.csv has it; '' for what is not known."""
        row: dict[str, Any] = {'window': self.number, 'first_unit': self.first, 'last_unit': self.last, **self.ends}
        row |= {'units': self.units, 'left_out': self.left_out, 'mean_confidence': self.mean_confidence}
        for method in METHODS:
            row |= _spread(f'accuracy_{method}', self.accuracy[method])
        row |= {f'share_{action}': share for action, share in self.shares.items()}
        row |= _spread('accepted_error', self.accepted_error)
        row |= {'labeled': self.labeled, **_spread('labeled_accuracy', self.labeled_accuracy)}
        row |= {'accepted_labeled': self.accepted_labeled}
        row |= _spread('accepted_labeled_error', self.accepted_labeled_error)
        row |= {'ece_debiased': self.ece, 'brier': self.brier}
        row |= {f'log10_e_{name}': value for name, value in self.evidence.items()}
        row['alarms'] = ' '.join(self.raised)
        return {k: '' if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def measure(
    rows: Rows, actions: tuple[str, ...], reference: Reference, level: Level, number: int, first: int
) -> Window:
    """Return what is reported of the rows of a window, without what is left out and its evidence.

    Args:
      rows: of one window, all with a confidence.
      actions: of the policy, by the rows' codes.
      reference, level: what they are compared with.
      number, first: see `Window`.
    """
    calibrated, difference = by_calibration(rows.p_correct, reference)
    labeled = ~np.isnan(rows.correct)
    right = rows.correct[labeled] == 1
    accepted = rows.code == 0
    accepted_right = rows.correct[labeled & accepted] == 1
    p_correct = rows.p_correct[labeled]
    has_map = reference.p_correct is not None
    ends = {
        f'{end}_{what}': ' '.join(str(column[at]).split())
        for what, column in (('id', rows.ids), ('time', rows.times))
        for end, at in (('first', 0), ('last', -1))
    }
    with np.errstate(invalid='ignore'):
        mean = float(np.mean(rows.confidence.astype(np.float64)))
    return Window(
        number=number,
        first=first,
        last=first + len(rows.code) - 1,
        ends=ends,
        units=len(rows.code),
        mean_confidence=mean,
        accuracy={
            'calibrated': calibrated,
            'difference': difference,
            'atc': by_level(rows.confidence, level, len(reference)),
            'agreement': by_agreement(rows.agreement),
        },
        shares={action: float(np.mean(rows.code == code)) for code, action in enumerate(actions)},
        accepted_error=_accepted_error(rows.p_correct[accepted], reference),
        labeled=int(labeled.sum()),
        labeled_accuracy=_share(int(right.sum()), len(right)),
        accepted_labeled=len(accepted_right),
        accepted_labeled_error=_share(int((~accepted_right).sum()), len(accepted_right)),
        ece=ece_debiased(p_correct, right) if has_map else math.nan,
        brier=brier(p_correct, right) if has_map else math.nan,
    )


def _accepted_error(p_correct: np.ndarray, reference: Reference) -> Estimate:
    found, _ = by_calibration(p_correct, reference)
    return Estimate(1 - found.value, 1 - found.high, 1 - found.low)


def _share(count: int, num: int) -> Estimate:
    return Estimate(count / num, *share_interval(count, num)) if num else NOT_KNOWN


def _spread(name: str, found: Estimate) -> dict[str, float]:
    return {name: found.value, f'{name}_low': found.low, f'{name}_high': found.high}
