"""Several components' confidences as one: each rule is right where what it assumes holds."""

import numpy as np
import pytest

from failpred_jax.decide import combine_components, compare_combinations
from failpred_jax.decide.choices import aurc
from failpred_jax.decide.combining import ASSUMES
from failpred_jax.errors import UserError
from failpred_jax.metrics import failure_metrics


def parts(rng, num_units):
    """Return two components that err independently; their confidences are logarithms of what is right."""
    p = {name: rng.beta(5, 1.5, num_units) for name in ('detector', 'classifier')}
    right = {name: rng.random(num_units) < value for name, value in p.items()}
    return {name: np.log(value) for name, value in p.items()}, right, p


@pytest.mark.parametrize('rule', ['product', 'noisy_or'])
def test_independent_components_give_the_probability_of_the_whole(rule, rng):
    confidences, right, _ = parts(rng, 6000)
    rule_of = combine_components(rule, confidences, right)
    new, truth, p = parts(rng, 6000)
    both, either = p['detector'] * p['classifier'], 1 - (1 - p['detector']) * (1 - p['classifier'])
    found = rule_of(new)
    assert np.abs(found - (both if rule == 'product' else either)).mean() < 0.03
    whole = np.logical_and(*truth.values()) if rule == 'product' else np.logical_or(*truth.values())
    assert abs(found.mean() - whole.mean()) < 0.02
    assert 'independently' in rule_of.assumes


def test_a_rule_that_is_learned_finds_the_component_that_counts(rng):
    confidences, right, _ = parts(rng, 4000)
    whole = right['classifier']
    learned = combine_components('logistic', confidences, right, whole)
    assert learned.weights[1] > 3 * abs(learned.weights[0])
    new, truth, _ = parts(rng, 2000)
    values = {'product': combine_components('product', confidences, right)(new), 'logistic': learned(new)}
    first, second = compare_combinations(values, truth['classifier'], 200)
    assert first.difference == 0 and second.difference_high < 0
    assert first.low < first.aurc < first.high and first.assumes == ASSUMES['product']


def test_dependence_is_what_the_minimum_survives(rng):
    """Two copies of one component: the product counts every error twice."""
    confidences, right, p = parts(rng, 4000)
    twice, same = dict.fromkeys(('a', 'b'), confidences['detector']), right['detector']
    minimum, product = (combine_components(rule, twice, same)(twice) for rule in ('minimum', 'product'))
    assert np.abs(minimum - p['detector']).mean() < 0.03 < np.abs(product - p['detector']).mean()
    mean = combine_components('mean', twice, same)(twice)
    np.testing.assert_allclose(mean, minimum)


def test_bad_input_is_one_message(rng):
    confidences, right, _ = parts(rng, 200)
    for call, words in (
        (lambda: combine_components('max', confidences, right), 'product, minimum, mean, noisy_or, logistic'),
        (lambda: combine_components('mean', {'a': confidences['detector']}, right['detector']), 'two or more'),
        (lambda: combine_components('mean', confidences, {'detector': right['detector']}), 'the components are'),
        (lambda: combine_components('logistic', confidences, right), 'needs whole_correct'),
        (lambda: combine_components('mean', confidences, right)({'detector': [0.1]}), 'classifier are missing'),
        (lambda: compare_combinations({}, right['detector']), 'one confidence per unit'),
    ):
        with pytest.raises(UserError, match=words):
            call()


@pytest.mark.parametrize('decimals', [0, 1, 9])
def test_there_is_one_aurc(rng, decimals):
    confidence = np.round(rng.random(300) * 3, decimals)
    correct = rng.random(300) < confidence / 3
    wanted = failure_metrics(confidence, correct)['aurc']
    assert aurc(confidence, correct) == pytest.approx(wanted, rel=1e-6)
    (row,) = compare_combinations({'mine': confidence}, correct, 2)
    assert row.aurc == aurc(confidence, correct)
