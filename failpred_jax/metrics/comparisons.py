"""Which scores differ: against a reference named beforehand, and which may be the best.

A score that was chosen as the best on the test set is not a fair reference: of 24 equally good scores the winner is
"better" than at least one other in 96 % of cases. So there are two procedures, each with its own guarantee:

- `compare_with_reference`: every score against one that was named before the test set was looked at, with Holm's
  correction: the chance of any false difference is at most 1 - level.
- `level_with_best`: the scores that may be the best: scores leave one by one while the largest difference among those
  left is too large for chance (max-T); all of the best scores are kept with a chance of at least `level`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

from failpred_jax.errors import UserError
from failpred_jax.metrics.intervals import degrees_of_freedom, has_enough, standard_error
from failpred_jax.metrics.resampling import Resamples
from failpred_jax.registry import METRICS


@dataclass(frozen=True)
class Comparison:
    """A score against another by one metric, on the same resamples.

    Attributes:
      difference: metric of the first less that of the second, on the data.
      low, high: interval of that difference.
      wins: share of resamples in which the first is better, ties counting one half.
      p_value: two-sided, of no difference.
      p_adjusted: the same, corrected for all comparisons that were made together; `p_value` for a single one.
      is_distinguishable: whether `p_adjusted` is below 1 - level.
    """

    difference: float = np.nan
    low: float = np.nan
    high: float = np.nan
    wins: float = np.nan
    p_value: float = np.nan
    p_adjusted: float = np.nan
    is_distinguishable: bool = False


def higher_is_better(metric: str) -> bool:
    """Return whether a failure or selective metric is better when higher; operating points of any level are known."""
    if metric in METRICS:
        return METRICS[metric].higher_is_better is not False
    return metric.startswith('coverage_at_')


def compare(resamples: Resamples, first: str, second: str, metric: str, level: float = 0.95) -> Comparison:
    """Compare two scores by one metric on the same resamples, without any correction for other comparisons.

    Args:
      resamples: from `bootstrap` or `bootstrap_clusters`.
      first, second: score names.
      metric: a metric name.
      level: probability that the interval is to cover, in (0, 1).

    Returns:
      Comparison; NaN throughout, and not distinguishable, where the metric is undefined.

    Raises:
      UserError: a name is not in `resamples`.

    Reference: Koehn, EMNLP 2004 ("paired bootstrap resampling"); Davison & Hinkley, 1997, section 5.2.1 (Student's t
      with the bootstrap standard error).
    """
    for name in (first, second):
        if name not in resamples.scores:
            raise UserError(f"unknown score '{name}' (resampled: {', '.join(resamples.scores)})")
    if metric not in resamples.metrics:
        raise UserError(f"unknown metric '{metric}' (resampled: {', '.join(resamples.metrics)})")
    m, a, b = resamples.metrics.index(metric), resamples.scores.index(first), resamples.scores.index(second)
    change = resamples.samples[m, a].astype(np.float64) - resamples.samples[m, b]
    difference = float(resamples.values[m, a] - resamples.values[m, b])
    error = float(standard_error(resamples, change))
    if np.isnan(difference) or np.isnan(error):
        return Comparison()
    freedom = degrees_of_freedom(resamples)
    half = float(stdtrit(freedom, (1 + level) / 2)) * error
    p_value = _p_value(difference, error, freedom)
    better = (1 if higher_is_better(metric) else -1) * change[~np.isnan(change)]
    wins = float(np.mean(better > 0) + np.mean(better == 0) / 2)
    return Comparison(
        difference, difference - half, difference + half, wins, p_value, p_value, bool(p_value < 1 - level)
    )


def _p_value(difference: float, error: float, freedom: int) -> float:
    # Resamples that all agree say nothing of chance.
    return 1.0 if error == 0 else float(2 * stdtr(freedom, -abs(difference) / error))


def compare_with_reference(
    resamples: Resamples, reference: str, metric: str, level: float = 0.95
) -> dict[str, Comparison]:
    """Compare every other score with one that was named beforehand.

    Args:
      resamples: from `bootstrap` or `bootstrap_clusters`; leave out scores that read the label (`Resamples.of`).
      reference: a score that was not chosen by these data.
      metric: a metric name.
      level: of the intervals, each for itself; and 1 - level is the chance of any false difference.

    Returns:
      {score: Comparison}, the score less the reference; `p_adjusted` is Holm's over the scores that have a value.

    Raises:
      UserError: a name is not in `resamples`.

    Reference: Holm, Scandinavian Journal of Statistics 1979.
    """
    found = {name: compare(resamples, name, reference, metric, level) for name in resamples.scores if name != reference}
    tested = sorted((name for name in found if not np.isnan(found[name].p_value)), key=lambda n: found[n].p_value)
    largest = 0.0
    for rank, name in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * found[name].p_value))
        row = found[name]
        found[name] = Comparison(
            row.difference, row.low, row.high, row.wins, row.p_value, largest, bool(largest < 1 - level)
        )
    return found


def level_with_best(resamples: Resamples, level: float = 0.95) -> dict[str, tuple[str, ...]]:
    """Return, for each metric, the scores that may be the best.

    Args:
      resamples: from `bootstrap` or `bootstrap_clusters`.
      level: all scores that are truly the best (several may be) are named with at least this chance, up to what the
        bootstrap approximates.

    Returns:
      {metric: score names}, the best on the data first, then the others in the order of the scores; empty where the
      metric is undefined for all scores, or prefers no direction.

    Reference: Hansen, Lunde & Nason, Econometrica 2011 ("model confidence set", the range statistic); Romano & Wolf,
      Econometrica 2005 (max-T by the bootstrap).
    """
    found: dict[str, tuple[str, ...]] = {}
    for m, metric in enumerate(resamples.metrics):
        point, samples = resamples.values[m], resamples.samples[m].astype(np.float64)
        has_direction = metric not in METRICS or METRICS[metric].higher_is_better is not None
        usable = np.flatnonzero(~np.isnan(point) & has_enough(samples))
        if not has_direction or not len(usable):
            found[metric] = ()
            continue
        sign = 1 if higher_is_better(metric) else -1
        kept = usable[_may_be_best(sign * point[usable], sign * samples[usable], resamples, level)]
        best = kept[np.argmax(sign * point[kept])]
        found[metric] = tuple(resamples.scores[s] for s in (best, *kept[kept != best]))
    return found


def _may_be_best(point: np.ndarray, samples: np.ndarray, resamples: Resamples, level: float) -> np.ndarray:
    """Return which of the scores, values [S] and samples [S, R], higher being better, are left at the end."""
    samples = samples[:, ~np.isnan(samples).any(axis=0)]
    left = np.arange(len(point))
    if samples.shape[1] < 2:
        return left
    change = samples[:, None] - samples[None, :]
    error = standard_error(resamples, change)
    # Scores that always agree (one is a monotone function of the other) have no difference to test.
    scale = np.where(error > 0, error, np.inf)
    drawn = np.abs(change - change.mean(axis=-1, keepdims=True)) / scale[..., None]
    # How far each score (row) lies below each other one: only being worse makes a score leave.
    gap = (point[None, :] - point[:, None]) / scale
    # The largest of many differences has the tails that a single one has: those of t.
    tail, freedom = (1 + level) / 2, degrees_of_freedom(resamples)
    wider = float(stdtrit(freedom, tail) / ndtri(tail))
    while len(left) > 1:
        pairs = np.ix_(left, left)
        worst = gap[pairs].max(axis=1)
        if worst.max() <= wider * np.quantile(drawn[pairs].max(axis=(0, 1)), level):
            break
        left = np.delete(left, np.argmax(worst))
    return left
