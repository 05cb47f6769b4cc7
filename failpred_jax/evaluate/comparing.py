"""Which scores are the best, and how each compares with the reference that was named beforehand."""

import dataclasses
from collections.abc import Collection, Mapping

from failpred_jax.errors import UserError, nearest
from failpred_jax.metrics import Resamples, compare, compared, level_with_best
from failpred_jax.results import Comparison, ScoreResult


def reference_of(asked: str, scores: Mapping[str, ScoreResult], unavailable: Mapping[str, str]) -> str:
    """Return the score that the others are compared with.

    Args:
      asked: config.evaluate.reference_score; '' is the score whose role is 'baseline'.
      scores: those that were measured.
      unavailable: score -> why it was not.

    Returns:
      Its name; '' where none was asked for and there is no baseline.

    Raises:
      UserError: the one that was asked for was not measured, or reads the label.
    """
    if not asked:
        return next((name for name, score in scores.items() if score.role == 'baseline'), '')
    usable = [name for name, score in scores.items() if not score.is_bound]
    if asked not in usable:
        why = unavailable.get(asked, 'it reads the label' if asked in scores else 'it is not among the scores')
        raise UserError(
            f"config.evaluate.reference_score is '{asked}'{nearest(asked, usable)}, which is unavailable: {why}; "
            f'choose one of: {", ".join(usable)}'
        )
    return asked


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
      (metric -> the best score, then those that cannot be told apart from it; the paired differences of every score to
      the reference, and to the best where that is another, for each metric that is compared).
    """
    usable = _without(resamples, bounds)
    if not usable.scores:
        return {}, ()
    best = level_with_best(usable, level)
    rows = []
    for metric in compared():
        if metric.name not in usable.metrics:
            continue
        compared_with: list[str] = []
        for b in [*([reference] if reference in usable.scores else []), *best[metric.name][:1]]:
            # The best may be the reference, and their pair would stand twice.
            others = [a for a in usable.scores if a not in (b, *compared_with)] if b not in compared_with else []
            rows += [_row(usable, metric.name, a, b, level) for a in others]
            compared_with.append(b)
    # What is undefined has its reason beside the metric.
    return best, tuple(row for row in rows if row.difference == row.difference)


def _row(resamples: Resamples, metric: str, a: str, b: str, level: float) -> Comparison:
    found = compare(resamples, a, b, metric, level)
    return Comparison(
        metric,
        a,
        b,
        found.difference,
        found.low,
        found.high,
        found.wins,
        is_distinguishable=found.is_distinguishable,
    )


def _without(resamples: Resamples, names: Collection[str]) -> Resamples:
    keep = [i for i, name in enumerate(resamples.scores) if name not in names]
    return dataclasses.replace(
        resamples,
        scores=tuple(resamples.scores[i] for i in keep),
        values=resamples.values[:, keep],
        samples=resamples.samples[:, keep],
    )
