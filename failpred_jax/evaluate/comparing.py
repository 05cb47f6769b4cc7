"""Which scores are the best, and how each compares with the reference that was named beforehand."""

from collections.abc import Collection, Mapping

import numpy as np

from failpred_jax.metrics import Resamples, compare_with_reference, compared, level_with_best
from failpred_jax.results import Comparison, ScoreResult


def reference_of(
    asked: str, scores: Mapping[str, ScoreResult], unavailable: Mapping[str, str]
) -> tuple[str, tuple[str, ...]]:
    """Return the score that the others are compared with.

    Args:
      asked: config.evaluate.reference_score; '' is the score whose role is 'baseline'.
      scores: those that were measured.
      unavailable: score -> why it was not.

    Returns:
      Its name, and sentences on it: that asked for need not be there, as a score may fail after hours of training, and
      the baseline stands in for it. The name is '' where there is no baseline either.
    """
    usable = [name for name, score in scores.items() if not score.is_bound]
    if asked in usable:
        return asked, ()
    baseline = next((name for name in usable if scores[name].role == 'baseline'), '')
    if not asked:
        return baseline, ()
    why = unavailable.get(asked, 'it reads the label' if asked in scores else 'it is not among the scores')
    instead = f'scores are compared with {baseline} instead' if baseline else 'scores are compared with none'
    return baseline, (f"config.evaluate.reference_score is '{asked}', which is unavailable ({why}); {instead}",)


def compare_scores(
    resamples: Resamples, bounds: Collection[str], reference: str, level: float
) -> tuple[dict[str, tuple[str, ...]], tuple[Comparison, ...]]:
    """Compare the scores that can be used on the same resamples.

    Args:
      resamples: of every score.
      bounds: scores that read the label, which are compared with nothing.
      reference: the score that the others are compared with; '' for none.
      level: probability that an interval is to cover.

    Returns:
      (metric -> the scores that may be the best, the best on these data first; the paired differences of every score
      to the reference, for each metric that is compared). Differences to the best are not tested: it was chosen by
      these very data.
    """
    usable = resamples.of([name for name in resamples.scores if name not in bounds])
    if not usable.scores:
        return {}, ()
    rows = []
    for metric in compared() if reference in usable.scores else ():
        if metric.name not in usable.metrics:
            continue
        for name, found in compare_with_reference(usable, reference, metric.name, level).items():
            # What is undefined has its reason beside the metric.
            if not np.isnan(found.difference):
                rows.append(
                    Comparison(
                        metric.name,
                        name,
                        reference,
                        found.difference,
                        found.low,
                        found.high,
                        found.wins,
                        found.p_value,
                        found.p_adjusted,
                        found.is_distinguishable,
                    )  # fmt: skip
                )
    return level_with_best(usable, level), tuple(rows)
