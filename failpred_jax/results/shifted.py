"""What was measured on shifted inputs, and the folder `shift` of a WORKDIR that keeps it.

shift.json      every shifted set and what each score is worth there; an undefined value is null
table.md        score x shift for people
table.csv       one row per shifted set, setting and score, with intervals and paired differences
severity.csv    one row per corruption, severity and score
units/          of a run: one npz per shifted set, the logits, labels and confidence_<score> of its units
gallery.npz     of a run: image__<set> [M, H, W, channels] of the strangers that are accepted with most confidence, and
                their confidence__<set> by score__<set> and predicted__<set>
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.files import DAMAGE, read_json, read_npz, whole_files, write_json, write_npz, write_text
from failpred_jax.results import plain
from failpred_jax.results.measures import Interval
from failpred_jax.results.rows import to_csv

SHIFT = 'shift.json'
GALLERY = 'gallery.npz'
# What is rejected in each: see evaluate/shifted.py.
SETTINGS = ('errors', 'strangers', 'joint_10', 'joint_50')


@dataclass(frozen=True)
class ShiftValues:
    """What one score is worth in one setting.

    Attributes:
      metrics: name -> value, in fractions of 1; NaN where undefined.
      intervals: name -> bootstrap interval.
      differences: name -> interval of the difference from the reference score, on the same resamples.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    differences: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class Severity:
    """What a corruption does at one severity; 0 is the test set itself.

    Attributes:
      severity: 0 to 5.
      units: how many there are.
      accuracy: NaN for none.
      ece: of the reference score, where that is a probability.
      mean: score -> mean confidence, of the scores that are probabilities.
      auroc: score -> how well it ranks the errors among these units.
      accepted: score -> share over the threshold that accepts 95 % of unshifted units.
      accepted_error: score -> share of errors among those.
      policy_accepted: share that the run's policy accepts; NaN without one.
      policy_error: share of errors among those.
      set_coverage: share of prediction sets that hold the true class; NaN without calibration units.
      set_size: their mean size.
    """

    severity: int
    units: int
    accuracy: float = np.nan
    ece: float = np.nan
    mean: Mapping[str, float] = field(default_factory=dict)
    auroc: Mapping[str, float] = field(default_factory=dict)
    accepted: Mapping[str, float] = field(default_factory=dict)
    accepted_error: Mapping[str, float] = field(default_factory=dict)
    policy_accepted: float = np.nan
    policy_error: float = np.nan
    set_coverage: float = np.nan
    set_size: float = np.nan


@dataclass(frozen=True)
class ShiftedSet:
    """One shifted set.

    Attributes:
      name: as it was asked for.
      description: what it is.
      is_strangers: whether its units are of no class, so that none of them can be right.
      units: how many.
      num_images: how many images they were made of; units of one image are resampled together.
      accuracy: of labeled units.
      scores: score -> setting -> what it is worth.
      accepted: score -> share over the threshold that accepts 95 % of unshifted units.
      policy_accepted: share that the run's policy accepts; NaN without one.
      severities: of a corruption, one row for each.
      unavailable: score -> why it has no values here.
      key: digest of all that decides these figures, or ''.
    """

    name: str
    description: str
    is_strangers: bool
    units: int
    num_images: int = 0
    accuracy: float = np.nan
    scores: Mapping[str, Mapping[str, ShiftValues]] = field(default_factory=dict)
    accepted: Mapping[str, float] = field(default_factory=dict)
    policy_accepted: float = np.nan
    severities: tuple[Severity, ...] = ()
    unavailable: Mapping[str, str] = field(default_factory=dict)
    key: str = ''


@dataclass(frozen=True)
class Shifted:
    """All that was measured on shifted inputs.

    Attributes:
      reference: the score that the others are compared with; '' for none.
      interval: probability that an interval covers.
      resamples: behind the intervals.
      threshold_from: which units say where 95 % are accepted: 'validation' or 'test'.
      unshifted: the test set itself, as severity 0.
      errors: score -> what it is worth on the test set alone.
      sets: the shifted sets.
      notes: sentences.
      sets_are: what the prediction sets are, in words; '' without any.
      judged_by: digest of the decisions that policy and sets are of, or ''; see `digest_of_policy`.
    """

    reference: str
    interval: float
    resamples: int
    threshold_from: str
    unshifted: Severity
    errors: Mapping[str, ShiftValues] = field(default_factory=dict)
    sets: tuple[ShiftedSet, ...] = ()
    notes: tuple[str, ...] = ()
    sets_are: str = ''
    judged_by: str = ''


def write_shifted(shifted: Shifted, table: str, folder: Path, gallery: Mapping[str, np.ndarray] | None = None) -> None:
    """Write the folder; shift.json comes last, so a folder that has it is complete."""
    with whole_files(folder, last=SHIFT) as aside:
        write_text(aside / 'table.md', table)
        write_text(aside / 'table.csv', to_csv(_rows(shifted)))
        write_text(aside / 'severity.csv', to_csv(_severity_rows(shifted)))
        if gallery is not None:
            write_npz(aside / GALLERY, gallery)
        write_json(aside / SHIFT, plain.to_json(shifted))


def read_shifted(folder: Path) -> Shifted | None:
    """Return what a folder holds, or None if it has no shift.json.

    Raises:
      UserError: it is damaged.
    """
    if not (folder / SHIFT).exists():
        return None
    try:
        return plain.from_json(Shifted, read_json(folder / SHIFT))
    except (*DAMAGE, plain.WrongTypeError) as error:
        raise UserError(
            f'{folder} cannot be read ({type(error).__name__}: {error}); move it away, and the shifted sets are '
            'measured again'
        ) from error


def read_gallery(folder: Path) -> dict[str, np.ndarray]:
    """Return the gallery of a folder; empty if there is none, or it cannot be read."""
    try:
        return read_npz(folder / GALLERY)
    except (OSError, *DAMAGE):
        return {}


def _rows(shifted: Shifted) -> Iterator[dict[str, Any]]:
    of_test = {score: {'errors': values} for score, values in shifted.errors.items()}
    whole = [('test', False, shifted.unshifted.units, of_test)]
    for name, is_strangers, units, scores in [
        *whole, *((found.name, found.is_strangers, found.units, found.scores) for found in shifted.sets)
    ]:  # fmt: skip
        for score, settings in scores.items():
            for setting, values in settings.items():
                for metric, value in values.metrics.items():
                    low, high = values.intervals.get(metric, (np.nan, np.nan))
                    from_, to = values.differences.get(metric, (np.nan, np.nan))
                    yield {
                        'shift': name, 'kind': 'strangers' if is_strangers else 'labeled', 'units': units,
                        'setting': setting, 'score': score, 'metric': metric, 'value': value, 'low': low, 'high': high,
                        'difference_low': from_, 'difference_high': to,
                    }  # fmt: skip


def _severity_rows(shifted: Shifted) -> Iterator[dict[str, Any]]:
    for found in shifted.sets:
        for row in found.severities:
            for score in row.auroc:
                yield {
                    'corruption': found.name, 'severity': row.severity, 'units': row.units, 'accuracy': row.accuracy,
                    'score': score, 'mean_confidence': row.mean.get(score, np.nan), 'auroc': row.auroc[score],
                    'accepted': row.accepted[score], 'accepted_error': row.accepted_error[score], 'ece': row.ece,
                    'policy_accepted': row.policy_accepted, 'policy_error': row.policy_error,
                    'set_coverage': row.set_coverage, 'set_size': row.set_size,
                }  # fmt: skip
