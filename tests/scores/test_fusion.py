"""The fusion against scikit-learn on normal scores made by scipy."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.stats import norm, rankdata
from sklearn.linear_model import LogisticRegression

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.evaluate.scoring import Plan, fit_scores
from failpred_jax.registry import SCORES
from failpred_jax.scores.fusion import fit_fusion, fuse
from failpred_jax.scores.score import FitInputs, ScoreInputs


@pytest.fixture
def columns(rng):
    return {'good': rng.normal(size=300), 'noise': np.exp(5 * rng.normal(size=300))}


@pytest.fixture
def correct(columns, rng):
    return columns['good'] + 0.5 * rng.normal(size=300) > -1


def test_equals_scikit_learn_on_normal_scores(columns, correct):
    fitted = fit_fusion(columns, correct)
    # A validation unit sits on a knot: it has rank - 1 below and rank not above.
    design = np.stack([norm.ppf(rankdata(values) / 301) for values in columns.values()], axis=1)
    model = LogisticRegression(max_iter=1000).fit(design, correct)
    np.testing.assert_allclose([fitted.weights[name] for name in columns], model.coef_[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(fuse(columns, fitted), model.predict_proba(design)[:, 1], rtol=1e-3)
    assert fitted.weights['good'] > 5 * abs(fitted.weights['noise'])


def test_does_not_mind_scale_ties_or_values_never_seen(columns, correct):
    stretched = {name: np.sign(v) * np.abs(v) ** 3 * 1e3 for name, v in columns.items()}
    np.testing.assert_allclose(
        fuse(stretched, fit_fusion(stretched, correct)), fuse(columns, fit_fusion(columns, correct)), rtol=1e-4
    )
    constant = {**columns, 'constant': np.ones(300)}
    fitted = fit_fusion(constant, correct)
    assert abs(fitted.weights['constant']) < 1e-6
    far = {name: np.array([-1e30, 1e30]) for name in constant}
    assert np.isfinite(fuse(far, fitted)).all()


def test_one_kind_only_is_refused(columns):
    for correct, words in ((np.ones(300, bool), 'no errors'), (np.zeros(300, bool), 'nothing but errors')):
        with pytest.raises(ScoreUnavailableError, match=words):
            fit_fusion(columns, correct)
    with pytest.raises(ScoreUnavailableError, match='none is available'):
        fit_fusion({}, np.array([True, False]))


def test_uses_what_is_there_and_never_the_label(rng):
    logits = rng.normal(size=(100, 2)).astype(np.float32)
    labels = np.where(rng.random(100) < 0.7, logits.argmax(axis=1), 1 - logits.argmax(axis=1)).astype(np.int32)
    given = FitInputs(
        ScoreInputs(logits, labels=labels), labels, None, None, jax.random.key(0),
        lambda confidence, correct: 0.0, lambda logits, labels: (2.0, ()),
    )  # fmt: skip
    (fits, _), notes = SCORES['fusion'].fit(given)
    # Two classes: no p-norm; no features, no passes, no heads; not the label, not itself.
    expected = {'mcp', 'margin', 'entropy', 'max_logit', 'energy', 'doctor_alpha', 'doctor_beta', 'temperature_mcp'}
    assert set(fits) - {'rel_u'} == expected
    assert 'largest weights' in notes[0]


def test_is_handed_the_fits_of_the_others_and_gives_the_same(rng, monkeypatch):
    logits = rng.normal(size=(100, 3)).astype(np.float32)
    labels = np.where(rng.random(100) < 0.7, logits.argmax(axis=1), 0).astype(np.int32)
    given = FitInputs(
        ScoreInputs(logits), labels, None, None, jax.random.key(0),
        lambda confidence, correct: 0.0, lambda logits, labels: (2.0, ()),
    )  # fmt: skip
    alone, _ = SCORES['fusion'].fit(given)
    counts = dict.fromkeys(SCORES, 0)

    def counting(name, fit):
        def fit_and_count(given):
            counts[name] += 1
            return fit(given)

        return fit_and_count

    entries = {n: e if e.fit is None else replace(e, fit=counting(n, e.fit)) for n, e in SCORES._entries.items()}
    monkeypatch.setattr(SCORES, '_entries', entries)
    plan = Plan(tuple(SCORES[name] for name in ('fusion', 'temperature_mcp', 'rel_u')), {})
    fitted = fit_scores(plan, given)
    assert counts['temperature_mcp'] == counts['rel_u'] == counts['fusion'] == 1
    jax.tree.map(np.testing.assert_array_equal, fitted.values['fusion'], alone)
