"""Scores of several predictive distributions of one unit: dropout passes, or the classifiers of several seeds.

The distributions are summed as they come (`init_samples`, `add_sample`, `finish_samples`), so that T passes never take
T times the memory. The scores then read the `SampleSummary`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.scores.score import SampleSummary, ScoreInputs, score
from failpred_jax.scores.softmax import entropy_of
from failpred_jax.types import Array


class SampleSums(NamedTuple):
    """What has been seen of T distributions so far; it can be carried through a scan.

    Attributes:
      count: scalar int32, T.
      mean: [..., C] float32.
      squares: [..., C] float32, sum of squared deviations from the mean.
      mean_entropy: [...] float32.
    """

    count: jax.Array
    mean: jax.Array
    squares: jax.Array
    mean_entropy: jax.Array


def init_samples(shape: tuple[int, ...]) -> SampleSums:
    """Return the sums of no distribution, for probabilities of `shape` (..., C)."""
    zeros = jnp.zeros(shape, jnp.float32)
    return SampleSums(jnp.zeros((), jnp.int32), zeros, zeros, jnp.zeros(shape[:-1], jnp.float32))


def add_sample(sums: SampleSums, probs: Array) -> SampleSums:
    """Return the sums with one more distribution.

    Squares are summed about the running mean: the difference of two sums of squares would lose the small variances
    that matter.

    Args:
      sums: from `init_samples` or `add_sample`.
      probs: [..., C] float32, summing to 1.

    Reference: Welford, "Note on a method for calculating corrected sums of squares and products", Technometrics 1962.
    """
    probs = jnp.asarray(probs, jnp.float32)
    count = sums.count + 1
    shift = probs - sums.mean
    mean = sums.mean + shift / count
    entropy_shift = entropy_of(probs) - sums.mean_entropy
    return SampleSums(
        count=count,
        mean=mean,
        squares=sums.squares + shift * (probs - mean),
        mean_entropy=sums.mean_entropy + entropy_shift / count,
    )


def finish_samples(sums: SampleSums) -> SampleSummary:
    """Return the summary of the distributions added so far; there must be at least one."""
    return SampleSummary(sums.mean, sums.mean_entropy, jnp.mean(sums.squares, axis=-1) / sums.count)


def check_samples(summary: SampleSummary, what: str) -> None:
    """Check that the distributions differ at all.

    Args:
      summary: of at least one unit. Inside a jitted function nothing is checked, since nothing is known there.
      what: the sort of distributions, for the message.

    Raises:
      ScoreUnavailableError: where the variance of every unit is exactly 0, as when dropout is silently off.
    """
    if not isinstance(summary.variance, jax.core.Tracer) and not bool(jnp.any(jnp.asarray(summary.variance) > 0)):
        raise ScoreUnavailableError(f'the {what} do not differ: their variance is 0 for every unit')


def mean_probability(summary: SampleSummary) -> jax.Array:
    """Return the largest mean probability: [...] float32 in [1/C, 1]."""
    return jnp.max(jnp.asarray(summary.mean_probs, jnp.float32), axis=-1)


def predictive_entropy(summary: SampleSummary) -> jax.Array:
    """Return minus the entropy of the mean distribution: [...] float32 in [-log C, 0]."""
    return -entropy_of(summary.mean_probs)


def mutual_information(summary: SampleSummary) -> jax.Array:
    """Return minus the mutual information of class and sample, mean entropy less entropy of the mean.

    Returns:
      [...] float32 in [-log C, 0].

    Reference: Houlsby et al., "Bayesian active learning for classification and preference learning", 2011, equation 1.
    """
    # Rounding may leave it a hair above 0.
    return jnp.minimum(jnp.asarray(summary.mean_entropy, jnp.float32) - entropy_of(summary.mean_probs), 0.0)


def sample_variance(summary: SampleSummary) -> jax.Array:
    """Return minus the variance of the class probabilities, averaged over classes: [...] float32 in [-1/4, 0]."""
    return -jnp.asarray(summary.variance, jnp.float32)


def _register(field: str, what: str, name: str, fn: Callable, description: str, reference: str, **more: bool) -> None:
    """File `fn` of the SampleSummary in `field` as a score."""

    def of_inputs(inputs: ScoreInputs) -> jax.Array:
        summary = getattr(inputs, field)
        check_samples(summary, what)
        return fn(summary)

    of_inputs.__doc__ = fn.__doc__
    score(name, needs=[field], description=description, reference=reference, **more)(of_inputs)


_GAL = 'Gal & Ghahramani, ICML 2016, equation 6'
_LAKSHMINARAYANAN = 'Lakshminarayanan et al., NeurIPS 2017, section 2.4'

for _field, _what, _of, _reference in (
    ('mc_dropout', 'dropout passes', 'dropout passes', _GAL),
    ('ensemble', 'classifiers of the ensemble', 'the classifiers of several seeds', _LAKSHMINARAYANAN),
):
    _register(
        _field,
        _what,
        _field,
        mean_probability,
        f'largest class probability, averaged over {_of}',
        _reference,
        is_probability=True,
    )
    _register(
        _field,
        _what,
        f'{_field}_entropy',
        predictive_entropy,
        f'minus the entropy of the class probabilities averaged over {_of}',
        _reference,
    )
    _register(
        _field,
        _what,
        f'{_field}_mutual_information',
        mutual_information,
        f'minus the mutual information of class and sample over {_of}: how far they disagree',
        'Houlsby et al., 2011, equation 1; Gal, PhD thesis 2016, section 3.3.1',
    )

_register(
    'mc_dropout',
    'dropout passes',
    'mc_dropout_variance',
    sample_variance,
    'minus the variance of the class probabilities over dropout passes, averaged over classes',
    'Gal, PhD thesis 2016, section 3.3.1; Kampffmeyer et al., CVPR workshops 2016, section 3.3',
)
