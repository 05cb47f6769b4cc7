"""Whether there is anything for a confidence head to learn, in plain words."""

import numpy as np

from failpred_jax.stages.targets import describe_targets
from failpred_jax.train.step import Outcomes


def one_part(tcp, correct):
    zeros = np.zeros(len(tcp), np.float32)
    return [Outcomes(np.asarray(correct), zeros, np.asarray(tcp, np.float32), np.ones(len(tcp), bool))]


def test_a_classifier_that_errs_raises_no_warning(rng):
    tcp = rng.random(500)
    found = describe_targets(one_part(tcp, tcp > 0.3))
    assert found['warnings'] == []
    assert found['num_errors'] == np.count_nonzero(tcp <= 0.3)
    counts = np.add(found['histogram']['correct'], found['histogram']['wrong'])
    assert counts.sum() == 500
    assert np.array_equal(counts, np.histogram(tcp.astype(np.float32), found['histogram']['edges'])[0])


def test_few_errors_are_counted_and_said():
    found = describe_targets(one_part(np.linspace(0.2, 1, 100), [False] * 3 + [True] * 97))
    (text,) = found['warnings']
    assert 'makes 3 errors on its 100 training units' in text
    assert "the score 'fusion'" in text


def test_saturated_targets_are_said():
    found = describe_targets(one_part([0.1] * 30 + [1.0] * 9970, [False] * 30 + [True] * 9970))
    (text,) = found['warnings']
    assert 'at least 0.995 for 99.7% of its 10,000 training units' in text
    assert 'fewer epochs or with more regularization' in text


def test_the_division_into_parts_does_not_matter(rng):
    tcp = rng.random(500)
    halves = [one_part(part, part > 0.3)[0] for part in (tcp[:123], tcp[123:])]
    assert describe_targets(halves) == describe_targets(one_part(tcp, tcp > 0.3))
