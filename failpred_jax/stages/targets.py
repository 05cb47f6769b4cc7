"""What there is for a confidence head to learn: the classifier's errors on its own training set, and their TCP."""

from typing import Any

import numpy as np

from failpred_jax.train.step import Units

# The histogram's bins, and where it counts as saturated: nearly every target in the last half per cent.
NUM_BINS = 50
SATURATED_FROM = 0.995
SATURATED_SHARE = 0.99
FEW_ERRORS = 20


def describe_targets(units: Units) -> dict[str, Any]:
    """Return the training errors, the histogram of TCP, and warnings in plain words.

    Args:
      units: of the training set, in evaluation mode, by the classifier whose confidence is to be learned.

    Returns:
      {'num_units', 'num_errors', 'histogram': {'edges' [K + 1], 'correct' [K], 'wrong' [K]}, 'warnings': [str]}.
    """
    edges = np.linspace(0.0, 1.0, NUM_BINS + 1)
    num_units, num_errors = len(units.correct), int(np.count_nonzero(~units.correct))
    share = float(np.mean(units.tcp >= SATURATED_FROM))
    warnings = []
    if num_errors < FEW_ERRORS:
        warnings.append(
            f'the classifier makes {num_errors} errors on its {num_units:,} training units, so a head trained on '
            'them sees next to no errors to learn from; train the baseline for fewer epochs or with more '
            'regularisation, or weigh errors more (config.confidence.error_weight)'
        )
    if share >= SATURATED_SHARE:
        warnings.append(
            f'the true class probability is at least {SATURATED_FROM} for {share:.1%} of the training units: nearly '
            'all targets of the head are the same; consider config.confidence.temperature > 1, or a shorter baseline'
        )
    return {
        'num_units': num_units,
        'num_errors': num_errors,
        'histogram': {
            'edges': edges.tolist(),
            'correct': np.histogram(units.tcp[units.correct], edges)[0].tolist(),
            'wrong': np.histogram(units.tcp[~units.correct], edges)[0].tolist(),
        },
        'warnings': warnings,
    }
