"""What there is for a confidence head to learn: the errors it is shown, and the true class probabilities."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from failpred_jax.train.step import Units

# The histogram's bins, and where it counts as saturated: nearly every target in the last half per cent.
NUM_BINS = 50
SATURATED_FROM = 0.995
SATURATED_SHARE = 0.99
FEW_ERRORS = 20

WORDS = {
    'train': 'its {:,} training units',
    'validation': '{:,} validation units',
    'crossfit': 'the {:,} training units, each predicted by a classifier that has not seen it',
}


def units_of(logits: np.ndarray, labels: np.ndarray) -> Units:
    """Return the Units of logits [N, C] and labels [N]; losses are 0, and the confidence is that of the prediction."""
    log_probs = np.asarray(jax.nn.log_softmax(logits))
    tcp = np.exp(np.take_along_axis(log_probs, labels[:, None], axis=-1)[:, 0])
    correct = log_probs.argmax(axis=-1) == labels
    return Units(np.zeros_like(tcp), correct, np.exp(log_probs.max(axis=-1)), tcp, np.ones(len(labels), bool))


def describe_targets(parts: Iterable[Units], source: str = 'train') -> dict[str, Any]:
    """Return the errors among the targets, the histogram of TCP, and warnings in plain words.

    Args:
      parts: units of the examples that the head learns from, in any division, in evaluation mode, by the classifiers
        that make its targets. One part is held at a time: the pixels of a training set are many.
      source: config.confidence.targets.

    Returns:
      {'source', 'num_units', 'num_errors', 'histogram': {'edges' [K + 1], 'correct' [K], 'wrong' [K]},
      'warnings': [str]}.
    """
    edges = np.linspace(0.0, 1.0, NUM_BINS + 1)
    in_bins = {True: np.zeros(NUM_BINS, np.int64), False: np.zeros(NUM_BINS, np.int64)}
    num_saturated = 0
    for units in parts:
        for correct, counts in in_bins.items():
            counts += np.histogram(units.tcp[units.correct == correct], edges)[0]
        num_saturated += int(np.count_nonzero(units.tcp >= SATURATED_FROM))
    num_errors = int(in_bins[False].sum())
    num_units = num_errors + int(in_bins[True].sum())
    share = num_saturated / max(num_units, 1)
    warnings = []
    other = "held-out targets (config.confidence.targets='crossfit'), " if source == 'train' else ''
    if num_errors < FEW_ERRORS:
        warnings.append(
            f'the classifier makes {num_errors} errors on {WORDS[source].format(num_units)}, so a head trained on '
            'them sees next to no errors to learn from; train the baseline for fewer epochs or with more '
            f'regularization, {other}or weigh errors more (config.confidence.error_weight)'
        )
    if share >= SATURATED_SHARE:
        warnings.append(
            f'the true class probability is at least {SATURATED_FROM} for {share:.1%} of '
            f'{WORDS[source].format(num_units)}: nearly all targets of the head are the same; consider {other}'
            'config.confidence.temperature > 1, or a shorter baseline'
        )
    return {
        'source': source,
        'num_units': num_units,
        'num_errors': num_errors,
        'histogram': {
            'edges': edges.tolist(),
            'correct': in_bins[True].tolist(),
            'wrong': in_bins[False].tolist(),
        },
        'warnings': warnings,
    }
