"""Distances that several scores share: one pass answers as each score does alone, and as loops do."""

import jax
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from failpred_jax import blocks
from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.evaluate import scoring
from failpred_jax.evaluate.fits import Fits, keep_fits, kept_fits
from failpred_jax.evaluate.scoring import Plan, compute_scores, fit_scores
from failpred_jax.registry import SCORES
from failpred_jax.scores import bank as bank_room
from failpred_jax.scores import distances as room
from failpred_jax.scores import linear, mahalanobis, residual, subsample
from failpred_jax.scores.bank import BY_CLASS, DENSITY, UNIFORM, make_bank
from failpred_jax.scores.density import ALPHAS, filter_by_density
from failpred_jax.scores.distances import InClasses, Nearest, measure_distances
from failpred_jax.scores.score import FitInputs, ScoreInputs, as_fit

ASKING = ('trust_score', 'trust_score_reference', 'knn_distance')
ALL = frozenset({BY_CLASS, DENSITY, UNIFORM})


def units(rng, num_units, num_classes=5, num_features=6):
    labels = rng.integers(num_classes, size=num_units).astype(np.int32)
    features = rng.normal(size=(num_units, num_features)) + 2 * np.eye(num_classes, num_features)[labels] + 3
    logits = rng.normal(size=(num_units, num_classes)).astype(np.float32)
    return features.astype(np.float32), labels, logits


@pytest.fixture
def given(rng):
    train, train_labels, train_logits = units(rng, 310)
    val, val_labels, val_logits = units(rng, 90)
    return FitInputs(
        ScoreInputs(val_logits, val), val_labels, ScoreInputs(train_logits, train), train_labels, jax.random.key(0)
    )


def plan_of(*names):
    return Plan(tuple(SCORES[name] for name in names), {})


def slow_classes(points, labels, queries, predicted, num_classes, nth):
    """Return (own, other) by sorting every distance in float64."""
    found = cdist(queries.astype(np.float64), points.astype(np.float64))
    nearest = np.full((len(queries), num_classes), np.inf)
    for c in range(num_classes):
        if np.sum(labels == c) >= nth:
            nearest[:, c] = np.sort(found[:, labels == c], axis=1)[:, nth - 1]
    own = nearest[np.arange(len(queries)), predicted].copy()
    nearest[np.arange(len(queries)), predicted] = np.inf
    return own, nearest.min(axis=1)


def test_scores_of_an_evaluation_are_those_of_each_alone(given, rng, monkeypatch):
    """Here with more training units than a bank holds, of which the scores draw different ones."""
    for name in ('keep_per_class', 'keep_uniform'):
        draw = getattr(subsample, name)
        monkeypatch.setattr(bank_room, name, lambda of, key, draw=draw: draw(of, key, 150))
    test, _, logits = units(rng, 70)
    inputs = ScoreInputs(logits, test)
    fitted = fit_scores(plan_of(*ASKING), given)
    measured = scoring.with_distances(plan_of(*ASKING).scores, given)
    together, unavailable = compute_scores(plan_of(*ASKING), inputs, fitted)
    assert not unavailable and len({id(fitted.values[name].bank) for name in ASKING}) == 1
    for name in ASKING:
        alone = as_fit(SCORES[name].fit(given))
        assert alone.notes == fitted.notes[name]
        np.testing.assert_allclose(together[name], SCORES[name].fn(inputs, alone.fitted), rtol=1e-6)
        if alone.candidates is not None:
            known = as_fit(SCORES[name].fit(measured))
            np.testing.assert_allclose(known.candidates, alone.candidates, rtol=1e-6)


def test_one_product_serves_all_scores(given, rng, monkeypatch):
    """Each unit is multiplied with the bank once, and the training units are summed up once for Gaussians."""
    passes, sums = [], []
    block, moments = room._block, mahalanobis.class_moments

    def counted(units_of_block, *args, **options):
        passes.append(options['asks'])
        return block(units_of_block, *args, **options)

    def summed(features, labels, num_classes):
        sums.append(num_classes)
        return moments(features, labels, num_classes)

    monkeypatch.setattr(room, '_block', counted)
    monkeypatch.setattr(mahalanobis, 'class_moments', summed)
    plan = plan_of(*ASKING, 'mahalanobis', 'relative_mahalanobis')
    fitted = fit_scores(plan, given)
    assert len(passes) == 1 and len(passes[0]) == 3
    test, _, logits = units(rng, 40)
    compute_scores(plan, ScoreInputs(logits, test), fitted)
    assert len(passes) == 2 and len(passes[1]) == 3
    assert sums == [5]


def test_directions_of_training_units_are_found_once(given, monkeypatch):
    """What several scores read of them: for the last layer, and for the space of the residual."""
    found = []
    for module, name in ((linear, '_directions'), (residual, '_fit')):
        make = getattr(module, name)
        monkeypatch.setattr(module, name, lambda of, make=make: found.append(make) or make(of))
    fit_scores(plan_of('vim', 'fdbd', 'react', 'residual', 'sirc_residual'), given)
    assert len(found) == 2


@pytest.mark.parametrize('num_classes', [2, 40])
def test_distances_in_classes_equal_loops(rng, num_classes):
    """With few units a class, and classes with one unit or none."""
    points, labels, _ = units(rng, 130, num_classes, 40)
    labels[labels == 1] = 0
    labels[0] = 1
    queries, predicted, _ = units(rng, 30, num_classes, 40)
    inputs = ScoreInputs(np.eye(num_classes, dtype=np.float32)[predicted], queries)
    bank = make_bank(points, labels, num_classes, jax.random.key(0), ALL)
    *classes, nearest = measure_distances(inputs, bank, [InClasses(), InClasses(nth=2), Nearest(7)])
    for nth, (own, other) in enumerate(classes, 1):
        slow_own, slow_other = slow_classes(points, labels, queries, predicted, num_classes, nth)
        np.testing.assert_allclose(own[:, 0], slow_own, rtol=1e-6)
        np.testing.assert_allclose(other[:, 0], slow_other, rtol=1e-6)
    of_length_1 = [x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (queries, points)]
    np.testing.assert_allclose(nearest, np.sort(cdist(*of_length_1), axis=1)[:, :7], rtol=1e-5)


def test_every_level_is_what_the_filter_keeps(rng):
    points, labels, _ = units(rng, 240, 3)
    queries, predicted, _ = units(rng, 20, 3)
    inputs = ScoreInputs(np.eye(3, dtype=np.float32)[predicted], queries)
    bank = make_bank(points, labels, 3, jax.random.key(0), ALL)
    own, other = measure_distances(inputs, bank, [InClasses(level=None)])[0]
    classes, counts = filter_by_density(points, labels, 3, ALPHAS)
    for level in (0, 3, 6):
        kept = np.concatenate([of_class[: counts[c, level]] for c, of_class in enumerate(classes)])
        of = np.repeat(np.arange(3), counts[:, level])
        slow = slow_classes(kept, of, queries, predicted, 3, 1)
        np.testing.assert_allclose(own[:, level], slow[0], rtol=1e-6)
        np.testing.assert_allclose(other[:, level], slow[1], rtol=1e-6)
        assert bank.class_counts(level, 3).tolist() == counts[:, level].tolist()
        alone = measure_distances(inputs, bank, [InClasses(level=level)])[0]
        np.testing.assert_array_equal(np.stack(alone), np.stack([own[:, [level]], other[:, [level]]]))


def test_many_blocks_and_compiled_whole(given, monkeypatch):
    """A pass in small blocks, and one inside a function that is compiled, find the same."""
    bank = make_bank(given.train.features, given.train_labels, 5, given.key, ALL)
    asks = [InClasses(nth=2), Nearest(50)]
    whole = measure_distances(given.val, bank, asks)
    traced = jax.jit(lambda inputs: measure_distances(inputs, bank, asks))(given.val)
    monkeypatch.setattr(room, '_MIN_ROWS', 16)
    monkeypatch.setattr(room, '_MAX_ENTRIES', 1)
    told = []
    heard = type('Heard', (), {'add': lambda self, count: told.append(count)})()
    small = measure_distances(given.val, bank, asks, heard)
    assert sum(told) == 90 and len(told) == 6
    for other in (traced, small):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), whole, other)


def test_candidates_that_tell_no_class_are_looked_at_again(rng, monkeypatch):
    """The nearest points are all of different classes: the second nearest of a class lies behind 19 others."""
    monkeypatch.setattr(room, '_MAX_OTHERS', 8)
    num_classes = 20
    near = rng.normal(size=(num_classes, 3)) * 1e-3
    far = 5 + rng.normal(size=(num_classes, 3))
    points = np.concatenate([near, far]).astype(np.float32)
    labels = np.tile(np.arange(num_classes, dtype=np.int32), 2)
    queries = rng.normal(size=(9, 3)).astype(np.float32) * 1e-3
    predicted = np.arange(9)
    inputs = ScoreInputs(np.eye(num_classes, dtype=np.float32)[predicted], queries)
    bank = make_bank(points, labels, num_classes, jax.random.key(0), frozenset({BY_CLASS}))
    own, other = measure_distances(inputs, bank, [InClasses(nth=2)])[0]
    slow = slow_classes(points, labels, queries, predicted, num_classes, 2)
    np.testing.assert_allclose(own[:, 0], slow[0], rtol=1e-6)
    np.testing.assert_allclose(other[:, 0], slow[1], rtol=1e-6)


def test_duplicates_constant_features_and_far_offsets(rng):
    """Distances of 0 stay 0, and a common offset of 1,000 costs no digits."""
    points, labels, _ = units(rng, 120, 4)
    points[60:] = points[:60]
    labels[60:] = labels[:60]
    points[:, 0] = 7
    points += 1000
    queries = points[:25]
    inputs = ScoreInputs(np.eye(4, dtype=np.float32)[labels[:25]], queries)
    bank = make_bank(points, labels, 4, jax.random.key(0), ALL)
    first, second, nearest = measure_distances(inputs, bank, [InClasses(), InClasses(nth=2), Nearest(3)])
    slow = slow_classes(points, labels, queries, labels[:25], 4, 1)
    assert (np.asarray(first[0]) == 0).all() and (np.asarray(second[0]) == 0).all() and (nearest[:, :2] == 0).all()
    np.testing.assert_allclose(first[1][:, 0], slow[1], rtol=1e-6)


def test_fits_that_share_a_bank_are_kept_with_one(given, rng):
    """A file holds the points once, and what is read from it shares them again and finds the same."""
    plan = plan_of(*ASKING)
    fitted = fit_scores(plan, given)
    kept = keep_fits(Fits(ASKING, fitted.values), {})
    assert sum(array.shape[1:] == (6,) for array in kept.arrays.values()) == 1
    values = kept_fits(kept).values
    assert len({id(values[name].bank) for name in ASKING}) == 1
    test, _, logits = units(rng, 30)
    inputs = ScoreInputs(logits, test)
    expected = compute_scores(plan, inputs, fitted)[0]
    found = compute_scores(plan, inputs, scoring.Fitted(values))[0]
    for name in ASKING:
        np.testing.assert_array_equal(found[name], expected[name])


def test_fits_of_earlier_versions_still_serve(given, rng):
    from failpred_jax.scores.knn import Neighborhood, unit_length
    from failpred_jax.scores.trust_score import dense_sets

    test, _, logits = units(rng, 30)
    inputs, train = ScoreInputs(logits, test), given.train.features
    earlier = {
        'trust_score': dense_sets(train, given.train_labels, 5, 0.0),
        'trust_score_reference': dense_sets(train, given.train_labels, 5, 0.0, nth=2),
        'knn_distance': Neighborhood(unit_length(train), np.int32(10)),
    }
    values = kept_fits(keep_fits(Fits(ASKING, earlier), {})).values
    found, unavailable = compute_scores(plan_of(*ASKING), inputs, scoring.Fitted(values))
    bank = make_bank(train, given.train_labels, 5, given.key, ALL)
    first, second, nearest = measure_distances(inputs, bank, [InClasses(), InClasses(nth=2), Nearest(10)])
    assert not unavailable
    for name, (own, other) in (('trust_score', first), ('trust_score_reference', second)):
        np.testing.assert_allclose(found[name], (other / own)[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found['knn_distance'], -nearest[:, 9], rtol=1e-6)


def test_many_units_are_shared_too(given, rng, monkeypatch):
    """Where other scores are computed for some units at a time, answers on all are not taken for those on a part."""
    plan = plan_of(*ASKING, 'mahalanobis', 'relative_mahalanobis', 'mcp')
    fitted = fit_scores(plan, given)
    test, _, logits = units(rng, 60)
    expected, _ = compute_scores(plan, ScoreInputs(logits, test), fitted)
    monkeypatch.setattr(blocks, 'BLOCK_VALUES', 40)
    found, unavailable = compute_scores(plan, ScoreInputs(logits, test), fitted)
    assert not unavailable
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5)


def test_without_training_units_each_score_says_so(given):
    fitted = fit_scores(plan_of(*ASKING, 'mcp'), given._replace(train=None, train_labels=None))
    assert set(fitted.unavailable) == set(ASKING) and 'mcp' in fitted.columns
    with pytest.raises(ScoreUnavailableError, match='knn_distance needs the features'):
        SCORES['knn_distance'].fit(given._replace(train=None))


@pytest.mark.parametrize('sizes', [(200, 30), (3,) * 300, (1,) * 50])
def test_a_bank_holds_every_unit_once_and_little_else(rng, sizes):
    labels = rng.permutation(np.repeat(np.arange(len(sizes), dtype=np.int32), sizes))
    points = np.arange(1, 1 + 2 * len(labels), dtype=np.float32).reshape(-1, 2)
    bank = make_bank(points, labels, len(sizes), jax.random.key(0), frozenset({BY_CLASS}))
    rows = np.asarray(bank.points)
    found = rows[bank.is_unit]
    assert sorted(map(tuple, found)) == sorted(map(tuple, points))
    of = np.tile(bank.labels, bank.chunk)[bank.is_unit]
    np.testing.assert_array_equal(of, labels[(found[:, 0].astype(int) - 1) // 2])
    assert len(rows) <= max(1.2 * len(labels), bank_room.CHUNKS[-1] * len(sizes))
