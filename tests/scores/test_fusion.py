"""Fusion against scikit-learn on normal scores made by scipy, and what it makes of columns that flatter themselves."""

import functools
from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.stats import norm, rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.evaluate.scoring import compute_scores, fit_scores, make_plan
from failpred_jax.registry import SCORES
from failpred_jax.scores import crossfit, fusion
from failpred_jax.scores.fusion import RIDGES, fit_fusion, fuse
from failpred_jax.scores.score import FitInputs, ScoreInputs, as_fit

LOGITS_ONLY = {field: 'not given' for field in ScoreInputs._fields if field not in ('logits', 'columns')}


@pytest.fixture
def columns(rng):
    return {name: rng.normal(size=600) for name in ('one', 'two')} | {'noise': np.exp(5 * rng.normal(size=600))}


@pytest.fixture
def correct(columns, rng):
    return columns['one'] + columns['two'] + 0.5 * rng.normal(size=600) > -1


def normal_scores(values):
    # A validation unit sits on a knot: it has rank - 1 below and rank not above.
    return norm.ppf(rankdata(values) / (len(values) + 1))


def test_equals_scikit_learn_on_normal_scores(columns, correct):
    fitted, notes, held_out = fit_fusion(columns, correct)
    design = np.stack([normal_scores(values) for values in columns.values()], axis=1)
    models = [LogisticRegression(C=1 / ridge, max_iter=1000, tol=1e-8).fit(design, correct) for ridge in RIDGES]
    (model,) = (m for m, ridge in zip(models, RIDGES, strict=True) if f'penalty {ridge:g} ' in notes[0])
    np.testing.assert_allclose([fitted.weights[name] for name in columns], model.coef_[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(fuse(columns, fitted), model.predict_proba(design)[:, 1], rtol=1e-3)
    assert min(fitted.weights['one'], fitted.weights['two']) > 5 * abs(fitted.weights['noise'])
    assert roc_auc_score(correct, held_out) > max(roc_auc_score(correct, columns[name]) for name in columns)


def test_does_not_mind_scale_ties_or_values_never_seen(columns, correct):
    stretched = {name: np.sign(v) * np.abs(v) ** 3 * 1e3 for name, v in columns.items()}
    expected = fuse(columns, fit_fusion(columns, correct)[0])
    np.testing.assert_allclose(fuse(stretched, fit_fusion(stretched, correct)[0]), expected, rtol=1e-4)
    # Two columns whose differences float32 does not see, one of integers beyond its reach.
    fine = {'one': 1e6 + 1e-6 * columns['one'], 'two': (1e15 + 1e6 * columns['two']).astype(np.int64)}
    coarse = {name: columns[name] for name in fine}
    np.testing.assert_allclose(
        fuse(fine, fit_fusion(fine, correct)[0]), fuse(coarse, fit_fusion(coarse, correct)[0]), atol=0.02
    )
    constant = {**columns, 'constant': np.ones(600)}
    fitted, *_ = fit_fusion(constant, correct)
    assert abs(fitted.weights['constant']) < 1e-6
    far = {name: np.array([-1e30, 1e30]) for name in constant}
    assert np.isfinite(fuse(far, fitted)).all()


def test_one_kind_only_and_a_missing_column_are_refused(columns, correct):
    single = np.arange(600) == 7
    kinds = {'no errors': single | ~single, 'nothing but errors': single & ~single}
    # Each unit is also judged by a fit that has not seen it, which would have none of them.
    for words, outcome in {**kinds, 'a single error': ~single, 'a single success': single}.items():
        with pytest.raises(ScoreUnavailableError, match=words):
            fit_fusion(columns, outcome)
    with pytest.raises(ScoreUnavailableError, match='none is available'):
        fit_fusion({}, np.array([True, False]))
    fitted, *_ = fit_fusion(columns, correct)
    with pytest.raises(ScoreUnavailableError, match='fitted on two'):
        fuse({'one': np.ones(3), 'noise': np.ones(3)}, fitted)


def test_noise_leaves_the_best_column_alone(rng):
    """Few errors and many columns: together they are worse than the best of them."""
    good = rng.normal(size=400)
    correct = good + 0.3 * rng.normal(size=400) > -1.9
    assert 5 < np.sum(~correct) < 20
    noise = {f'noise{i}': rng.normal(size=400) for i in range(25)}
    fitted, notes, _ = fit_fusion({'good': good, **noise}, correct)
    new = rng.normal(size=2000)
    is_right = new + 0.3 * rng.normal(size=2000) > -1.9
    found = fuse({'good': new, **{name: rng.normal(size=2000) for name in noise}}, fitted)
    assert roc_auc_score(is_right, found) > roc_auc_score(is_right, new) - 0.01
    assert 'good alone' in notes[0]


def test_one_column_alone_gives_validation_units_the_values_of_new_ones_to_the_bit(rng):
    """Thresholds are chosen on the first and applied to the second: tied units must stay tied."""
    votes = rng.integers(0, 11, 3000).astype(np.float32) / 10
    correct = rng.random(3000) < votes
    _, notes, held_out = fit_fusion({'votes': votes}, correct)
    fitted, *_ = fit_fusion({'votes': votes}, correct)
    assert 'votes alone' in notes[0]
    for given in (votes, votes[:11]):
        np.testing.assert_array_equal(np.asarray(fuse({'votes': given}, fitted)), held_out[: len(given)])


@functools.cache
def many_classes():
    """100 classes, 5,000 validation units: rel_u fits 4,950 numbers to their labels."""
    rng = np.random.default_rng(0)

    def units():
        labels = rng.integers(100, size=5000)
        logits = rng.normal(size=(5000, 100))
        logits[np.arange(5000), labels] += 4 + 1.5 * rng.normal(size=5000)
        return (2 * logits).astype(np.float32), labels.astype(np.int32)

    return units(), units()


def few_classes():
    (logits, labels), _ = many_classes()
    return logits[:200, :10], labels[:200] % 10


def auroc(logits, labels, confidence):
    return roc_auc_score(logits.argmax(axis=1) == labels, confidence)


def test_does_not_trust_a_score_that_was_fitted_on_its_own_labels():
    """Once fusion had .924 here, where MCP alone has .938: it saw rel_u's .979, and not its .926 on new units."""
    val, test = many_classes()
    given = FitInputs(ScoreInputs(val[0]), val[1], None, None, jax.random.key(0))
    plan = make_plan(('mcp', 'entropy', 'margin', 'energy', 'rel_u', 'fusion'), LOGITS_ONLY, 'classification')
    fitted = fit_scores(plan, given)
    found, _ = compute_scores(plan, ScoreInputs(test[0]), fitted)
    on_test = {name: auroc(*test, confidence) for name, confidence in found.items()}
    flattered, _ = compute_scores(plan, ScoreInputs(val[0]), fitted)
    assert auroc(*val, flattered['rel_u']) > 0.97 > on_test['rel_u'] + 0.04
    assert abs(auroc(*val, fitted.columns['rel_u']) - on_test['rel_u']) < 0.02

    inputs = [name for name in found if name != 'fusion']
    naive, *_ = fit_fusion({name: flattered[name] for name in inputs}, val[0].argmax(axis=1) == val[1])
    assert auroc(*test, fuse(found, naive)) < on_test['mcp'] - 0.008
    assert on_test['fusion'] > max(on_test[name] for name in inputs) - 0.003
    # Its own values on the validation units are no better than those on new ones, either.
    assert abs(auroc(*val, fitted.columns['fusion']) - on_test['fusion']) < 0.02


def test_held_out_values_have_not_seen_the_label_of_their_unit():
    logits, labels = few_classes()
    given = FitInputs(ScoreInputs(logits), labels, None, None, jax.random.key(0))
    folds = crossfit.validation_folds(given)
    for name in ('rel_u', 'max_logit_pnorm'):
        score = SCORES[name]
        values = crossfit.held_out_values(score, given, as_fit(score.fit(given)), folds)
        # Fold 0 under labels of its own choice: its order stays. (The scale may be that of another constant.)
        other = given._replace(val_labels=np.where(folds == 0, (given.val_labels + 3) % 10, given.val_labels))
        again = crossfit.held_out_values(score, other, as_fit(score.fit(other)), folds)
        ranks = (rankdata(found[folds == 0]) for found in (again, values))
        np.testing.assert_array_equal(*ranks, err_msg=name)


def test_reads_what_is_computed_and_never_the_label_or_an_ensemble(rng, monkeypatch):
    logits, labels = few_classes()
    seen, counts = {}, dict.fromkeys(SCORES, 0)

    def recording(columns, correct):
        seen['names'] = set(columns)
        return fit_fusion(columns, correct)

    def counting(name, fn):
        def count(*given):
            counts[name] += len(given[0].logits)
            return fn(*given)

        return count

    monkeypatch.setattr(fusion, 'fit_fusion', recording)
    entries = {name: replace(entry, fn=counting(name, entry.fn)) for name, entry in SCORES._entries.items()}
    monkeypatch.setattr(SCORES, '_entries', entries)
    plan = make_plan(
        ('mcp', 'tcp', 'rel_u', 'fusion'), {k: v for k, v in LOGITS_ONLY.items() if k != 'labels'}, 'classification'
    )
    given = FitInputs(ScoreInputs(logits), labels, None, None, jax.random.key(0))
    own = {'mine': rng.normal(size=200)}
    fitted = fit_scores(plan, given, own)
    assert seen['names'] == {'mcp', 'rel_u', 'mine'}
    # Of rel_u each fold by a fit of its own: 200 units in all.
    assert counts['mcp'] == counts['rel_u'] == 200
    found, _ = compute_scores(plan, ScoreInputs(logits, labels=labels), fitted, own)
    assert list(found) == [score.name for score in plan.scores]
    assert counts['mcp'] == counts['rel_u'] == 400

    columns = {'mcp': own['mine'], 'ensemble': own['mine'], 'ensemble_entropy': own['mine']}
    for name, expected in (('fusion', {'mcp'}), ('fusion_with_ensemble', set(columns))):
        SCORES[name].fit(given._replace(val=given.val._replace(columns=columns)))
        assert seen['names'] == expected
