"""A metric with a function of its own is resampled like those that share a walk."""

import dataclasses

import numpy as np

from failpred_jax.metrics import bootstrap, resample_others
from failpred_jax.registry import METRICS


def test_auroc_by_its_own_function_spreads_like_auroc_from_the_walk(rng):
    correct = rng.random(300) < 0.8
    confidences = {'a': (rng.random(300) + 0.5 * correct).astype(np.float32), 'b': rng.integers(0, 2**40, 300)}
    drawn = bootstrap(confidences, correct, num_resamples=400)
    again = dataclasses.replace(METRICS['auroc'], name='again')
    values = {'a': {'again': 0.9}, 'b': {'again': 0.5}}
    more = resample_others(drawn, [again], values, confidences, correct)
    assert more.metrics == (*drawn.metrics, 'again')
    np.testing.assert_array_equal(more.values[-1], [0.9, 0.5])
    ours, walked = more.samples[-1], drawn.samples[drawn.metrics.index('auroc')]
    np.testing.assert_allclose(ours.mean(-1), walked.mean(-1), atol=0.02)
    np.testing.assert_allclose(ours.std(-1), walked.std(-1), rtol=0.25)
