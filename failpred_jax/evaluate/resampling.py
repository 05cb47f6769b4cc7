"""Every metric on the same resamples: of units, or of what belongs together where the units say so."""

from collections.abc import Mapping

import numpy as np

from failpred_jax.config import EvaluateConfig
from failpred_jax.evaluate.tally import RESAMPLES_SEED
from failpred_jax.metrics import (
    Resamples,
    bootstrap,
    bootstrap_pieces,
    intervals,
    is_affordable,
    is_graded,
    resample_others,
    without_shared_pass,
)
from failpred_jax.results import About, Interval, ScoreResult


def resample(
    confidences: Mapping[str, np.ndarray],
    correct: np.ndarray,
    about: About,
    scores: Mapping[str, ScoreResult],
    options: EvaluateConfig,
) -> tuple[Resamples | None, tuple[str, ...]]:
    """Return every metric on the same resamples, and sentences on them; None where there is nothing to draw.

    Args:
      confidences: score -> [N].
      correct: [N] bool, or float grades.
      about: the units; those of one group are drawn together.
      scores: score -> what was measured, for the metrics with a function of their own, which are resampled as far as
        that takes no more than about a minute.
      options: of the evaluation.
    """
    group = group_of(about)
    if group is not None or is_graded(correct):
        if group is not None and group.max() == 0:
            return None, (f'no intervals are given: all {len(group):,} units are of one group',)
        drawn = bootstrap_pieces(confidences, correct, group, num_resamples=options.resamples, seed=RESAMPLES_SEED)
        if group is None:
            return drawn, ()
        return drawn, (f'intervals resample {group.max() + 1:,} groups, not {len(group):,} units',)
    drawn = bootstrap(confidences, correct, num_resamples=options.resamples, seed=RESAMPLES_SEED)
    others = without_shared_pass()
    if not others or not is_affordable(len(correct), options.resamples, len(confidences)):
        return drawn, ()
    values = {name: score.metrics for name, score in scores.items()}
    return resample_others(drawn, others, values, confidences, correct, RESAMPLES_SEED), ()


def group_of(about: About) -> np.ndarray | None:
    """Return the group [N] int64 of each unit, from 0; None where there is none, or each unit is a group of its own."""
    if about.group is None:
        return None
    names, group = np.unique(about.group, return_inverse=True)
    return None if len(names) == len(group) else group.reshape(-1).astype(np.int64)


def accuracy_interval(resamples: Resamples | None, level: float) -> dict[str, Interval]:
    """Return the interval of the accuracy from resampled groups, or of a mean grade; none where units are drawn."""
    if resamples is None or not resamples.is_clustered:
        return {}
    of_score = intervals(resamples.of(resamples.scores[:1]), level)[resamples.scores[0]]
    return {'accuracy': Interval(*of_score['accuracy'])}
