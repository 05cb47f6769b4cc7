"""Candidates for wrong labels: confident learning, on predictions of a model that has not seen the labels it judges."""

from typing import NamedTuple

import numpy as np

from failpred_jax.errors import UserError

# A class threshold below chance would make every unit a confident one of that class.
# Fewer units say nothing of how well a model fits what it has seen.
FEWEST = 50
# A training accuracy so much over that of held-out units, in points and in standard deviations, is a sign of in-sample
# predictions.
GAP, SIGMAS = 0.02, 4.0


class Issues(NamedTuple):
    """Units whose label the model doubts, the most doubtful first.

    Attributes:
      rows: [M] int64, places of the units whose predicted class is not their label, the candidates first.
      suggested: [M] int64, the class to look at.
      margin: [M] float64 in [-1, 1], probability of the suggested class less that of the given one.
      is_candidate: [M] bool, whether confident learning doubts the label; of the others the model is only unsure.
      thresholds: [C] float64, mean probability of each class over the units of that label; NaN where no unit has it.
      joint: [C, C] int64, units by given label and by the class that they are confidently of.
      notes: sentences.
    """

    rows: np.ndarray
    suggested: np.ndarray
    margin: np.ndarray
    is_candidate: np.ndarray
    thresholds: np.ndarray
    joint: np.ndarray
    notes: tuple[str, ...] = ()


def find_issues(probs: np.ndarray, labels: np.ndarray) -> Issues:
    """Return the units whose labels are doubtful, by confident learning.

    A unit is confidently of a class if its probability of it is at least the mean over the units of that label (and at
    least chance); of several such classes, the most probable. Where that is not its label, the label is doubted. Units
    are ranked by the margin of the suggested class over the given one. A class that no unit has as its label is never
    suggested.

    Args:
      probs: [N, C] probabilities by a model that has not seen the labels of these units.
      labels: [N] int in [0, C).

    Reference: Northcutt, Jiang & Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 2021,
      section 3.1 (confident joint, off-diagonals).
    """
    num_classes = probs.shape[1]
    probs = probs.astype(np.float64)
    count = np.bincount(labels, minlength=num_classes)
    own = probs[np.arange(len(labels)), labels]
    means = np.bincount(labels, own, minlength=num_classes) / np.maximum(count, 1)
    thresholds = np.where(count > 0, np.maximum(means, 1 / num_classes), np.inf)
    over = np.where(probs >= thresholds[None] - 1e-9, probs, -1.0)
    confident, is_confident = over.argmax(axis=1), over.max(axis=1) >= 0
    joint = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(joint, (labels[is_confident], confident[is_confident]), 1)
    is_candidate = is_confident & (confident != labels)
    known = np.where(count > 0, probs, -1.0)
    suggested = np.where(is_candidate, confident, known.argmax(axis=1))
    margin = probs[np.arange(len(labels)), suggested] - own
    rows = np.flatnonzero(suggested != labels)
    rows = rows[np.lexsort((rows, -margin[rows], ~is_candidate[rows]))]
    lacking = np.flatnonzero(count == 0)
    notes = ()
    if len(lacking):
        notes = (f'{len(lacking)} of {num_classes} classes are no label of these units, and are not suggested',)
    return Issues(
        rows, suggested[rows], margin[rows], is_candidate[rows], np.where(count > 0, means, np.nan), joint, notes
    )


def check_held_out(accuracy: float, num_units: int, reference: float, num_reference: int) -> str:
    """Return a warning where predictions look as if their model had seen the labels; '' where they do not.

    Args:
      accuracy: on the units whose labels are judged.
      num_units: their number.
      reference: accuracy on units that are known to be held out; NaN for none.
      num_reference: their number.

    Raises:
      UserError: every prediction is right, so that no label can be doubted.
    """
    if accuracy == 1 and num_units >= FEWEST:
        raise UserError(
            f'all {num_units:,} predictions agree with their labels: the model has seen these labels, and finds none '
            'of them wrong; give predictions of models that have not (cross-fitted ones: '
            "config.confidence.targets='crossfit', or scikit-learn's cross_val_predict)"
        )
    if num_units < FEWEST or not num_reference or np.isnan(reference):
        return ''
    deviation = np.sqrt(reference * (1 - reference) * (1 / num_units + 1 / num_reference))
    if accuracy - reference > max(GAP, SIGMAS * deviation):
        return (
            f'these predictions are right for {accuracy:.1%} of the units, those of held-out units for '
            f'{reference:.1%}: they look in-sample, and a model that has seen a wrong label often agrees with it; '
            'candidates are then too few'
        )
    return ''
