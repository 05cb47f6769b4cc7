"""Resamples of the ranking metrics that have a function of their own and no place in the walk of all others."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.console import phase
from failpred_jax.metrics.metric import Metric
from failpred_jax.metrics.ranking import check_inputs
from failpred_jax.metrics.resampling import NUM_PLACES, Resamples, resample_weights, with_one_more
from failpred_jax.types import Array

# Units times resamples times scores: a sort of each takes about a minute for so many on two cores.
MAX_WORK = 3 * 10**8


def is_affordable(num_units: int, num_resamples: int, num_scores: int) -> bool:
    """Return whether resampling by calling a metric's function again and again takes no more than about a minute."""
    return num_units * num_resamples * num_scores <= MAX_WORK


def resample_others(
    resamples: Resamples,
    metrics: Sequence[Metric],
    values: Mapping[str, Mapping[str, float]],
    confidences: Mapping[str, Array],
    correct: Array,
    seed: int = 0,
) -> Resamples:
    """Return resamples with more metrics, for which each metric's function is called on every resample.

    Args:
      resamples: of the metrics from the walk.
      metrics: M others, of the inputs 'ranking'.
      values: score -> metric -> value on the data.
      confidences: score -> [N] of any real type.
      correct: [N] bool.
      seed: the same one gives all scores the same resamples.

    Returns:
      Resamples of the same scores, the new metrics behind the old.

    Reference: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 6.2.
    """
    num_resamples = resamples.samples.shape[-1]
    points = np.array([[values[score][metric.name] for score in resamples.scores] for metric in metrics])
    samples = np.empty((len(metrics), len(resamples.scores), num_resamples), np.float32)
    told = phase('resampling other metrics', samples.shape[0] * samples.shape[1])
    with told as resampling, jax.enable_x64(jax.default_backend() != 'tpu'):
        key = jax.random.key(seed)
        for s, score in enumerate(resamples.scores):
            exact, right, _ = check_inputs(confidences[score], correct, None)
            exact, right = with_one_more(np.asarray(exact), np.asarray(right))
            for m, metric in enumerate(metrics):
                samples[m, s] = jax.device_get(_on_resamples(metric.fn, num_resamples)(key, exact, right))
                resampling.add()
    return dataclasses.replace(
        resamples,
        metrics=(*resamples.metrics, *(metric.name for metric in metrics)),
        values=np.concatenate([resamples.values, points]),
        samples=np.concatenate([resamples.samples, samples]),
    )


@functools.cache
def _on_resamples(fn: Callable[..., jax.Array], num_resamples: int) -> Callable[..., jax.Array]:
    """Return a compiled function of a key, and of what `with_one_more` returned, [N + K] each: values [R]."""

    def all_of(key: jax.Array, confidence: jax.Array, correct: jax.Array) -> jax.Array:
        num_units = confidence.size - NUM_PLACES

        def one(number: jax.Array) -> jax.Array:
            weights = resample_weights(key, num_units, 1, number, NUM_PLACES)[:, 0]
            drawn = jnp.repeat(jnp.arange(confidence.size), weights, total_repeat_length=num_units + 1)
            return fn(confidence[drawn], correct[drawn])

        return jax.lax.map(one, jnp.arange(num_resamples, dtype=jnp.int32))

    return jax.jit(all_of)
