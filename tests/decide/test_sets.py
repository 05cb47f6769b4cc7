"""Prediction sets: nested, never larger than they must be, and plain about classes that are too rare."""

import math

import numpy as np
import pytest
from scipy.special import softmax

from failpred_jax.calibrate.conformal import fit_conformal
from failpred_jax.decide import Labeled, fit_sets, measure_sets
from failpred_jax.decide.set_limits import coverage_law, least_units
from failpred_jax.decide.set_scores import METHODS, Constants, draw_uniforms, strangeness
from failpred_jax.errors import UserError


def drawn(rng, num_units, num_classes=30):
    """Return class probabilities with a long tail, and labels of a flatter distribution."""
    logits = rng.normal(size=(num_units, num_classes)) * rng.gamma(2, 1.2, (num_units, 1))
    flat = softmax(logits * 0.7, axis=1).cumsum(axis=1)
    return softmax(logits, axis=1), np.minimum((flat < rng.random((num_units, 1))).sum(axis=1), num_classes - 1)


def test_scores_follow_their_definitions():
    probs, u = np.array([[0.2, 0.5, 0.3]]), np.array([0.25])
    given = Constants(penalty=0.1, free_ranks=1, weight=0.2)
    np.testing.assert_allclose(strangeness('lac', probs, u, given), [[0.8, 0.5, 0.7]])
    np.testing.assert_allclose(strangeness('aps', probs, u, given), [[0.85, 0.125, 0.575]])
    np.testing.assert_allclose(strangeness('raps', probs, u, given), [[1.05, 0.125, 0.675]])
    np.testing.assert_allclose(strangeness('saps', probs, u, given), [[0.75, 0.125, 0.55]])


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('by', ['marginal', 'class', 'cluster', 'group'])
def test_sets_are_nested_and_cover(method, by, rng):
    (probs, labels), val, (new, truth) = drawn(rng, 1500, 6), drawn(rng, 1000, 6), drawn(rng, 4000, 6)
    groups, new_groups = labels % 2 + 10, truth % 2 + 10
    sets = []
    for alpha in (0.05, 0.1, 0.3):
        rule = fit_sets(
            probs, labels, alpha, method, by, groups=groups, validation=Labeled(*val), constants=Constants(0.01, 2, 0.1)
        )
        found = rule(new, new_groups if by == 'group' else None)
        covered = found[np.arange(4000), truth]
        assert found[np.arange(4000), new.argmax(axis=1)].all()
        # The law of 1,500 units or of a sixth of them, and 4,000 new ones.
        assert covered.mean() > 1 - alpha - 4 * math.sqrt(alpha * (1 - alpha) * (1 / 1500 + 1 / 4000))
        if by in ('class', 'group'):
            of = truth if by == 'class' else new_groups
            assert min(covered[of == g].mean() for g in np.unique(of)) > 1 - alpha - 0.12
        sets.append(found)
    assert (sets[0] >= sets[1]).all() and (sets[1] >= sets[2]).all() and sets[0].sum() > sets[2].sum()


def test_lac_is_the_conformal_threshold_that_was_there(rng):
    (probs, labels), (new, _) = drawn(rng, 300), drawn(rng, 200)
    rule = fit_sets(probs.astype(np.float32), labels, 0.1, allow_empty=True)
    threshold = fit_conformal(probs.astype(np.float32), labels, 0.1)
    assert np.array_equal(rule(new.astype(np.float32)), new.astype(np.float32) >= threshold)


def many_classes(rng, num_units, num_classes=100):
    """Return what a good classifier of many classes gives: a label that stands out, and a long tail of noise."""
    labels = rng.integers(0, num_classes, num_units)
    logits = rng.normal(size=(num_units, num_classes))
    logits[np.arange(num_units), labels] += rng.normal(4.5, 2, num_units)
    return softmax(logits, axis=1), labels


def test_penalties_shrink_aps_at_equal_coverage(rng):
    (probs, labels), val, (new, truth) = (many_classes(rng, n) for n in (3000, 1500, 6000))
    size, coverage = {}, {}
    for method in METHODS:
        sets = fit_sets(probs, labels, 0.1, method, validation=Labeled(*val), allow_empty=True)(new)
        size[method], coverage[method] = sets.sum(axis=1).mean(), sets[np.arange(6000), truth].mean()
    assert max(coverage.values()) - min(coverage.values()) < 0.025
    assert size['raps'] < 0.8 * size['aps'] and size['saps'] < 0.8 * size['aps']
    assert size['lac'] == min(size.values())


def test_constants_come_from_validation_units_alone(rng):
    (probs, labels), val = drawn(rng, 400), drawn(rng, 600)
    some = fit_sets(probs, labels, 0.1, 'saps', validation=Labeled(*val)).constants
    other = fit_sets(probs[::-1][:100], labels[::-1][:100], 0.1, 'saps', validation=Labeled(*val)).constants
    assert some == other
    for call in ({'method': 'raps'}, {'method': 'saps'}, {'by': 'cluster'}):
        with pytest.raises(UserError, match='validation units'):
            fit_sets(probs, labels, 0.1, **call)


def test_rare_classes_are_in_every_set_and_it_is_said(rng):
    probs, labels = drawn(rng, 2000, 5)
    labels[labels == 4] = 3
    labels[:8] = 4
    rule = fit_sets(probs, labels, 0.1, 'lac', 'class')
    assert rule.limits[4] == math.inf and rule.num_units[4] == 8
    assert rule(probs)[:, 4].all()
    assert rule.notes == ('classes with too few calibration units (alpha = 0.1 needs 9), which are in every set: 4',)
    everything = fit_sets(probs[:8], labels[:8], 0.1)
    assert everything(probs).all() and 'too few' in everything.notes[0]
    assert (least_units(0.05), least_units(0.1)) == (19, 9)
    assert coverage_law(18, 0.05) == (1, 1, 1)
    # 100 units of a class at alpha = 0.1.
    mean, low, high = coverage_law(100, 0.1)
    assert (round(mean, 3), round(low, 2), round(high, 2)) == (0.901, 0.85, 0.94)


def test_sets_may_be_empty_only_if_allowed(rng):
    probs, labels = drawn(rng, 500, 4)
    probs[np.arange(500), labels] = 1
    probs /= probs.sum(axis=1, keepdims=True)
    allowed, forbidden = (fit_sets(probs, labels, 0.4, allow_empty=e)(probs) for e in (True, False))
    assert (~allowed.any(axis=1)).any() and forbidden.any(axis=1).all()
    empty = ~allowed.any(axis=1)
    assert np.array_equal(forbidden[empty].argmax(axis=1), probs[empty].argmax(axis=1))


def test_saturated_probabilities_are_cut_by_rank(rng):
    """One probability is 1, all others 0, and one in five is wrong: without ranks nothing tells the zeros apart."""
    predicted = rng.integers(0, 7, 1000)
    labels = np.where(rng.random(1000) < 0.8, predicted, rng.integers(0, 7, 1000))
    probs = np.eye(7)[predicted]
    for method, constants in (('raps', Constants(0.1, 1)), ('saps', Constants(weight=0.1))):
        sets = fit_sets(probs, labels, 0.25, method, constants=constants)(probs)
        assert sets.sum(axis=1).mean() < 2 and sets[np.arange(1000), labels].mean() > 0.7
    assert fit_sets(probs, labels, 0.1, 'aps')(probs).all()


def test_two_classes_of_which_one_is_rare(rng):
    labels = (rng.random(3000) < 0.04).astype(int)
    p = np.clip(0.1 + 0.5 * labels + 0.15 * rng.normal(size=3000), 0.01, 0.99)
    probs = np.stack([1 - p, p], axis=1)
    covered = {}
    for by in ('marginal', 'class'):
        sets = fit_sets(probs[:1500], labels[:1500], 0.1, by=by)(probs[1500:])
        covered[by] = sets[np.arange(1500), labels[1500:]][labels[1500:] == 1].mean()
    assert covered['class'] > 0.75 and covered['class'] > covered['marginal']


def test_sets_are_the_same_for_the_same_seed(rng):
    probs, labels = drawn(rng, 300)
    one, same, other = (fit_sets(probs, labels, 0.2, 'aps', seed=s)(probs) for s in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert not np.array_equal(draw_uniforms(9, 0, 0), draw_uniforms(9, 0, 1))


def test_measures_count_by_class_and_by_size():
    sets = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], bool)
    found = measure_sets(sets, np.array([0, 0, 1, 1]), 0.25, ('cat', 'dog'))
    assert (found.overall.coverage, found.overall.mean_size, found.empty, found.single) == (0.75, 1.0, 0.25, 0.5)
    assert [(r.name, r.num_units, r.num_covered, r.gap) for r in found.by_class] == [
        ('cat', 2, 2, 0.25), ('dog', 2, 1, -0.25),
    ]  # fmt: skip
    assert [(r.name, r.num_units, r.num_covered) for r in found.by_size] == [
        ('0 classes', 1, 0), ('1 class', 2, 2), ('2 classes', 1, 1),
    ]  # fmt: skip
    assert found.by_group == ()
    found = measure_sets(sets, np.array([0, 0, 1, 1]), 0.25, groups=np.array(['b', 'a', 'a', 'b']))
    assert [(r.name, r.num_units, r.num_covered) for r in found.by_group] == [('a', 2, 1), ('b', 2, 2)]


@pytest.mark.parametrize(
    ('how', 'words'),
    [
        ({'alpha': 1.0}, 'alpha is 1.0'),
        ({'method': 'hps'}, "method is 'hps'; it must be one of: lac, aps, raps, saps"),
        ({'by': 'label'}, "by is 'label'"),
        ({'by': 'group'}, 'give groups'),
    ],
)
def test_bad_input_is_one_message(how, words, rng):
    probs, labels = drawn(rng, 50)
    with pytest.raises(UserError, match=words):
        fit_sets(probs, labels, **{'alpha': 0.1, **how})
    rule = fit_sets(probs, labels, 0.1)
    with pytest.raises(UserError, match='calibrated for 30'):
        rule(probs[:, :4] / 4)
    with pytest.raises(UserError, match='apply softmax'):
        rule(np.log(probs))
