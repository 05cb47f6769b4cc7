"""Confidence intervals from resamples, and what is to be said of their reliability.

Both kinds were chosen by simulation (`benchmarks/coverage.py`, table in docs/metrics.md):

- Units: quantiles of the resamples, which hold one more unit of the rarer kind (resampling.py), at tails that are
  those of Student's t for as many units as the rarer kind has.
- Clusters: Student's t on the logit scale, which keeps the interval inside the range of the metric.
"""

import numpy as np

# Not scipy.stats, whose import takes a second of every start.
from scipy.special import ndtr, stdtrit

from failpred_jax.metrics.resampling import Resamples
from failpred_jax.registry import METRICS

# With fewer units of the rarer kind, or fewer clusters, simulations find that intervals cover less than they claim.
FEW_UNITS, FEW_CLUSTERS = 5, 30
# Of the range of a metric: nearer to an end than this, the logit scale has nothing to hold on to.
_EDGE = 1e-6


def intervals(resamples: Resamples, level: float = 0.95) -> dict[str, dict[str, tuple[float, float]]]:
    """Return an interval of every metric of every score.

    Args:
      resamples: from `bootstrap`, `bootstrap_clusters` or `join_seeds`.
      level: probability that an interval is to cover, in (0, 1).

    Returns:
      {score: {metric: (low, high)}}, which holds the value itself; (NaN, NaN) where there is none: see `no_interval`.

    Reference: units: Hesterberg, The American Statistician 2015, section 5.3 ("expanded percentile interval");
      clusters: Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 5.2.1 (a transformed scale).
    """
    low, high = (_of_clusters if resamples.is_clustered else _of_units)(resamples, level)
    value = resamples.values
    has_one = ~np.isnan(value) & has_enough(resamples.samples)
    low, high = (np.where(has_one, end, np.nan) for end in (np.minimum(low, value), np.maximum(high, value)))
    return {
        score: {metric: (float(low[m, s]), float(high[m, s])) for m, metric in enumerate(resamples.metrics)}
        for s, score in enumerate(resamples.scores)
    }


def no_interval(resamples: Resamples) -> dict[str, dict[str, str]]:
    """Return {score: {metric: why it has no interval}} for the metrics that have a value but no interval."""
    enough, defined = has_enough(resamples.samples), ~np.isnan(resamples.values)
    share = 1 - np.isnan(resamples.samples).mean(axis=-1)
    return {
        score: {
            metric: f'only {share[m, s]:.0%} of the resamples define it'
            for m, metric in enumerate(resamples.metrics)
            if defined[m, s] and not enough[m, s]
        }
        for s, score in enumerate(resamples.scores)
    }


def interval_warning(resamples: Resamples) -> str:
    """Return a sentence on intervals that may cover less than they claim, or ''."""
    count = resamples.support
    if resamples.is_clustered and count < FEW_CLUSTERS:
        return (
            f'intervals rest on {count} {resamples.pieces}: in simulations, those of 6 to 50 cover 0.93 to 0.96 '
            'where 0.95 is claimed, but 0.67 to 0.79 where a few of 12 hold most of the errors'
        )
    if not resamples.is_clustered and count < FEW_UNITS:
        return (
            f'intervals rest on {count} errors (or correct predictions, where those are fewer): read them as a sign '
            'of how little is known; with fewer than 5 their coverage is not established'
        )
    return ''


def has_enough(samples: np.ndarray) -> np.ndarray:
    """Return whether at least half of the resamples [..., R] define the value."""
    return np.mean(~np.isnan(samples), axis=-1) >= 0.5


def standard_error(resamples: Resamples, samples: np.ndarray) -> np.ndarray:
    """Return the standard deviation over resamples [..., R], corrected for their few clusters; NaN where too few."""
    enough = has_enough(samples)
    # A row of NaN would make nanstd warn; its result is not used.
    spread = np.nanstd(np.where(enough[..., None], samples, 0).astype(np.float64), axis=-1)
    count = max(resamples.support, 2)
    # The variance of a resampled mean is (n - 1) / n of what it estimates. The one more unit makes up for it already.
    return np.where(enough, spread * np.sqrt(count / (count - 1) if resamples.is_clustered else 1.0), np.nan)


def degrees_of_freedom(resamples: Resamples) -> int:
    """Return the degrees of freedom of a t-type interval or test."""
    return max(resamples.support - 1, 1)


def _of_units(resamples: Resamples, level: float) -> tuple[np.ndarray, np.ndarray]:
    # The one more unit counts.
    count = max(resamples.support, 1) + 1
    wide = np.sqrt(count / (count - 1)) * stdtrit(count - 1, (1 + level) / 2)
    tail = ndtr(-wide)
    filled = np.where(has_enough(resamples.samples)[..., None], resamples.samples, 0).astype(np.float64)
    low, high = np.nanquantile(filled, [tail, 1 - tail], axis=-1)
    return low, high


def _of_clusters(resamples: Resamples, level: float) -> tuple[np.ndarray, np.ndarray]:
    half = stdtrit(degrees_of_freedom(resamples), (1 + level) / 2) * standard_error(resamples, resamples.samples)
    low, high = np.empty_like(half), np.empty_like(half)
    for m, metric in enumerate(resamples.metrics):
        value = resamples.values[m]
        start, end = (METRICS[metric].low, METRICS[metric].high) if metric in METRICS else (0.0, 1.0)
        if not np.isfinite(end):
            low[m], high[m] = np.maximum(value - half[m], start), value + half[m]
            continue
        width = end - start
        share = np.clip((value - start) / width, _EDGE, 1 - _EDGE)
        center, spread = np.log(share / (1 - share)), half[m] / width / (share * (1 - share))
        low[m], high[m] = (start + width / (1 + np.exp(-np.clip(center + s * spread, -30, 30))) for s in (-1, 1))
    return low, high
