"""Several trainings on the same test units: resamples that vary both, and what few seeds are worth."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.special import bdtr, stdtr, stdtrit

from failpred_jax.metrics.intervals import degrees_of_freedom, standard_error
from failpred_jax.metrics.resampling import Resamples
from failpred_jax.registry import METRICS


@dataclasses.dataclass(frozen=True)
class JoinedInterval:
    """A mean over seeds with its interval, over seeds and test units together.

    Attributes:
      mean: over seeds, of the values on the data.
      low, high: the interval; NaN where there is none.
      p_value: two-sided, of a mean of 0; NaN where there is none.
    """

    mean: float
    low: float
    high: float
    p_value: float


def join_seeds(found: Sequence[Resamples], seed: int = 0) -> Resamples:
    """Join the resamples of several seeds into resamples of their mean, by a bootstrap of seeds and units together.

    Each resample draws n - 1 of the n seeds with replacement, which is what makes the spread over so few seeds right,
    and takes the mean of their metrics on one resample of the test units, the same for all of them.

    Args:
      found: of each seed, two or more, all drawn with the same seed on the same test units.
      seed: of the draw of seeds.

    Returns:
      Resamples of the scores that all seeds have, with the means over seeds as values; NaN where a seed lacks one. Its
      support is that of the seed with the smallest.

    Reference: Owen, Annals of Applied Statistics 2007 (crossed factors are resampled each for itself); Rao & Wu, JASA
      1988 (n - 1 of n); Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.
    """
    names = [name for name in found[0].scores if all(name in one.scores for one in found)]
    every = [one.of(names) for one in found]
    values = np.stack([one.values for one in every])
    samples = np.stack([one.samples for one in every]).astype(np.float64)
    num_seeds, num_resamples = len(every), samples.shape[-1]
    chance = np.full(num_seeds, 1 / num_seeds)
    drawn = np.random.default_rng(seed).multinomial(num_seeds - 1, chance, size=num_resamples)
    # Where a seed that was not drawn is undefined, the mean is defined all the same.
    weighted = np.where(drawn.T[:, None, None] > 0, samples * drawn.T[:, None, None], 0)
    mean = weighted.sum(axis=0) / (num_seeds - 1)
    support = min(one.support for one in every)
    return dataclasses.replace(every[0], values=values.mean(axis=0), samples=mean.astype(np.float32), support=support)


def joined_interval(
    of_seeds: Sequence[Resamples], joined: Resamples, metric: str, score: str, reference: str = '', level: float = 0.95
) -> JoinedInterval:
    """Return the mean of a metric over seeds, or of its difference to a reference, with an interval.

    The interval is Student's t with the bootstrap standard error. Its degrees of freedom weigh the n - 1 of the seeds
    with those of the test units by how much of the variance each brings (Satterthwaite): where nearly all comes from
    three seeds, it is as wide as three numbers deserve. It ends where the metric's range does.

    Args:
      of_seeds: what was joined.
      joined: from `join_seeds`.
      metric, score: which mean.
      reference: score to subtract; '' for none.
      level: probability that the interval is to cover, in (0, 1).

    Returns:
      JoinedInterval; NaN where the metric is undefined for a seed.

    Reference: Satterthwaite, Biometrics 1946.
    """

    def of(one: Resamples) -> tuple[float, np.ndarray]:
        m, s = one.metrics.index(metric), one.scores.index(score)
        value, samples = float(one.values[m, s]), one.samples[m, s].astype(np.float64)
        if not reference:
            return value, samples
        r = one.scores.index(reference)
        return value - float(one.values[m, r]), samples - one.samples[m, r]

    mean, samples = of(joined)
    error = float(standard_error(joined, samples))
    if np.isnan(mean) or np.isnan(error):
        return JoinedInterval(mean, np.nan, np.nan, np.nan)
    of_training = float(np.var([of(one)[0] for one in of_seeds], ddof=1)) / len(of_seeds)
    of_units = max(error**2 - of_training, 0.0)
    total, freedom = of_training + of_units, degrees_of_freedom(joined)
    if total:
        freedom = total**2 / (of_training**2 / (len(of_seeds) - 1) + of_units**2 / freedom)
    error = max(error, np.sqrt(of_training))
    half = float(stdtrit(freedom, (1 + level) / 2)) * error
    p_value = float(2 * stdtr(freedom, -abs(mean) / error)) if error else 1.0
    # What cannot be is left out, which costs no coverage: a few seeds reach far beyond an AUROC of 1.
    low, high = METRICS[metric].low, METRICS[metric].high
    if reference:
        low, high = low - high, high - low
    return JoinedInterval(mean, max(mean - half, min(low, mean)), min(mean + half, max(high, mean)), p_value)


def sign_p_value(num_seeds: int, wins: float) -> float:
    """Return the two-sided p value of `wins` of `num_seeds` seeds (ties count one half) if both were equally good.

    Reference: the sign test; 3 of 3 is 0.25, 6 of 6 is 0.03.
    """
    at_least = int(np.floor(max(wins, num_seeds - wins)))
    return min(1.0, float(2 * bdtr(num_seeds - at_least, num_seeds, 0.5))) if num_seeds else np.nan
