"""Scores of several predictive distributions of one unit: dropout passes, or the classifiers of several seeds.

They are judged against the frozen classifier's prediction, so those that speak about one class speak about that one.
evaluate/own_classifier.py treats an ensemble as a classifier with its own predictions.

The distributions are summed as they come (`init_samples`, `add_sample`, `finish_samples`), so that T passes never take
T times the memory. The scores then read the `SampleSummary`.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.outcomes import at_label, predicted_classes
from failpred_jax.scores.score import SampleSummary, ScoreInputs, score
from failpred_jax.scores.softmax import entropy_of, softmax_entropy
from failpred_jax.types import Array


class SampleSums(NamedTuple):
    """What has been seen of T distributions so far; it can be carried through a scan.

    Attributes:
      num_samples: scalar int32, T.
      mean: [..., C] float32.
      squares: [..., C] float32, sum of squared deviations from the mean.
      mean_entropy: [...] float32.
      log_sum: [..., C] float32, sum of the log-probabilities.
    """

    num_samples: jax.Array
    mean: jax.Array
    squares: jax.Array
    mean_entropy: jax.Array
    log_sum: jax.Array


def init_samples(shape: tuple[int, ...]) -> SampleSums:
    """Return the sums of no distribution, for probabilities of `shape` (..., C)."""
    zeros = jnp.zeros(shape, jnp.float32)
    return SampleSums(jnp.zeros((), jnp.int32), zeros, zeros, jnp.zeros(shape[:-1], jnp.float32), zeros)


def add_sample(sums: SampleSums, probs: Array) -> SampleSums:
    """Return the sums with one more distribution, given as probabilities; see `add_logits`.

    Args:
      sums: from `init_samples` or `add_sample`.
      probs: [..., C] float, summing to 1. The logarithm of what float32 rounds to 0 is taken as that of its smallest.
    """
    probs = jnp.asarray(probs, jnp.float32)
    return _add(sums, probs, jnp.log(jnp.maximum(probs, jnp.finfo(jnp.float32).tiny)))


def add_logits(sums: SampleSums, logits: Array) -> SampleSums:
    """Return the sums with one more distribution, given as logits, of which nothing is rounded away.

    Squares are summed about the running mean: the difference of two sums of squares would lose the small variances
    that matter.

    Args:
      sums: from `init_samples` or `add_logits`.
      logits: [..., C] float.

    Reference: Welford, "Note on a method for calculating corrected sums of squares and products", Technometrics 1962.
    """
    log_probs = jax.nn.log_softmax(jnp.asarray(logits, jnp.float32), axis=-1)
    return _add(sums, jnp.exp(log_probs), log_probs)


def _add(sums: SampleSums, probs: jax.Array, log_probs: jax.Array) -> SampleSums:
    count = sums.num_samples + 1
    shift = probs - sums.mean
    mean = sums.mean + shift / count
    entropy_shift = entropy_of(probs) - sums.mean_entropy
    return SampleSums(
        num_samples=count,
        mean=mean,
        squares=sums.squares + shift * (probs - mean),
        mean_entropy=sums.mean_entropy + entropy_shift / count,
        log_sum=sums.log_sum + log_probs,
    )


def finish_samples(sums: SampleSums) -> SampleSummary:
    """Return the summary of the distributions added so far; there must be at least one."""
    variance = jnp.mean(sums.squares, axis=-1) / sums.num_samples
    return SampleSummary(sums.mean, sums.mean_entropy, variance, sums.log_sum / sums.num_samples)


_IS_CHECKED = contextvars.ContextVar('whether distributions must differ', default=True)


@contextlib.contextmanager
def unchecked_samples() -> Iterator[None]:
    """Let distributions agree on every unit until the block ends, as they may on a few new ones."""
    token = _IS_CHECKED.set(False)
    try:
        yield
    finally:
        _IS_CHECKED.reset(token)


def check_samples(summary: SampleSummary, what: str) -> None:
    """Check that the distributions differ at all.

    Args:
      summary: of at least one unit. Inside a jitted function nothing is checked, since nothing is known there, nor
        within `unchecked_samples`.
      what: the sort of distributions, for the message.

    Raises:
      ScoreUnavailableError: where the variance of every unit is exactly 0, as when dropout is silently off.
    """
    if (
        _IS_CHECKED.get()
        and not isinstance(summary.variance, Tracer)
        and not bool(jnp.any(jnp.asarray(summary.variance) > 0))
    ):
        raise ScoreUnavailableError(f'the {what} do not differ: their variance is 0 for every unit')


def mean_probability(summary: SampleSummary, logits: Array) -> jax.Array:
    """Return the mean probability of the frozen classifier's prediction.

    Not the largest one: where the samples agree on another class, they speak against the prediction that is judged.

    Args:
      summary: of the samples.
      logits: [..., C] of the frozen classifier.

    Returns:
      [...] float32 in [0, 1].
    """
    return at_label(jnp.asarray(summary.mean_probs, jnp.float32), predicted_classes(logits))


def predictive_entropy(summary: SampleSummary) -> jax.Array:
    """Return minus the entropy of the mean distribution: [...] float32 in [-log C, 0]. It names no class."""
    return -entropy_of(summary.mean_probs)


def logit_entropy(summary: SampleSummary) -> jax.Array:
    """Return minus the entropy of the softmax of the mean logits: [...] float32 in [-log C, 0].

    The reference code of ConfidNet averages the logits of 50 passes, where the papers average probabilities.

    Raises:
      ScoreUnavailableError: where the summary was made without log-probabilities.
    """
    if summary.mean_log_probs is None:
        raise ScoreUnavailableError('the mean logits of the samples were not kept')
    return -softmax_entropy(summary.mean_log_probs)


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


def _register(
    field: str, what: str, name: str, fn: Callable, description: str, reference: str, of_prediction: bool = False
) -> None:
    """File `fn` of the SampleSummary in `field` (and of the logits, with `of_prediction`) as a score."""

    def of_inputs(inputs: ScoreInputs) -> jax.Array:
        summary = getattr(inputs, field)
        check_samples(summary, what)
        return fn(summary, inputs.logits) if of_prediction else fn(summary)

    of_inputs.__doc__ = fn.__doc__
    needs = [field, 'logits'] if of_prediction else [field]
    score(name, needs=needs, description=description, reference=reference, is_probability=of_prediction)(of_inputs)


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
        f'probability of the predicted class, averaged over {_of}',
        _reference,
        of_prediction=True,
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
_register(
    'mc_dropout',
    'dropout passes',
    'mc_dropout_logit_entropy',
    logit_entropy,
    'minus the entropy of the softmax of the mean logits of dropout passes, as in the reference code of ConfidNet',
    'Corbière et al., NeurIPS 2019, section 4, code; Gal & Ghahramani, ICML 2016, equation 6',
)
