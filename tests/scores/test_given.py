"""Scores of probabilities that somebody gave: laws over every registered score that is a function of them."""

import numpy as np
import pytest
from scipy.stats import entropy, rankdata
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import average_precision_score, roc_auc_score

from failpred_jax import evaluate_predictions
from failpred_jax.evaluate.scoring import Fitted, compute_scores, make_plan
from failpred_jax.monitor.scoring import score_of
from failpred_jax.prediction_file.file import parse_arrays
from failpred_jax.registry import SCORES
from failpred_jax.scored_parts import part_of
from failpred_jax.scores.score import ScoreInputs

OF_PROBABILITIES = tuple(
    name
    for name in sorted(SCORES)
    if SCORES[name].needs <= {'logits', 'labels'} and SCORES[name].fit is None and not SCORES[name].needs_raw_logits
)
# Of two classes, all say how far the larger probability is from a half.
SYMMETRIC = tuple(name for name in OF_PROBABILITIES if not SCORES[name].reads_label)
PLAN = make_plan(OF_PROBABILITIES, {}, 'classification')


def confidences(probs, labels=None, name='probs'):
    labels = np.zeros(len(probs), np.int32) if labels is None else labels
    units = parse_arrays({'labels': labels, name: probs}, 'the test')['evaluated']
    return compute_scores(PLAN, part_of(units).inputs._replace(labels=units.labels), Fitted())[0]


def votes(rng, rows, classes, trees):
    return rng.multinomial(trees, rng.dirichlet(np.ones(classes), size=rows)) / trees


def rows_of(kind, rng, classes):
    """Return rows as models and files give them."""
    smooth = rng.dirichlet(np.full(classes, 0.3), size=400)
    return {
        'float64': smooth,
        'float32': smooth.astype(np.float32),
        'float16': smooth.astype(np.float16),
        'two decimals': np.round(smooth, 2),
        'two decimals in float32': np.round(smooth, 2).astype(np.float32),
        'votes': votes(rng, 400, classes, 20),
        'sure': np.concatenate([rng.dirichlet(np.full(classes, 1e-3), size=300), np.eye(classes)]),
    }[kind]


KINDS = ('float64', 'float32', 'float16', 'two decimals', 'two decimals in float32', 'votes', 'sure')


def test_the_scores_of_probabilities_are_these_and_more_may_come():
    assert {'mcp', 'margin', 'entropy', 'gen', 'doctor_alpha', 'doctor_beta', 'tcp'} <= {*OF_PROBABILITIES}


@pytest.mark.parametrize('trees', [10, 20, 50, 1000])
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_equal_leads_of_decimals_are_equal_margins(trees, dtype, rng):
    counts = rng.multinomial(trees, rng.dirichlet(np.ones(5), size=3000))
    lead = np.sort(counts, axis=1)[:, -1] - np.sort(counts, axis=1)[:, -2]
    found = confidences((counts / trees).astype(dtype))['margin']
    assert np.array_equal(rankdata(found, 'dense'), rankdata(lead, 'dense'))


@pytest.mark.parametrize('classes', [2, 3, 10, 130])
@pytest.mark.parametrize('kind', KINDS)
def test_equal_probabilities_in_any_order_of_classes_are_equally_sure(kind, classes):
    rng = np.random.default_rng(classes)
    probs = rows_of(kind, rng, classes)
    labels = rng.integers(classes, size=len(probs))
    order = rng.permuted(np.tile(np.arange(classes), (len(probs), 1)), axis=1)
    moved, own = np.take_along_axis(probs, order, axis=1), np.argsort(order, axis=1)[np.arange(len(probs)), labels]
    first, second = confidences(probs, labels), confidences(moved, own)
    shuffle = rng.permutation(len(probs))[:137]
    some = confidences(probs[shuffle], labels[shuffle])
    for name in OF_PROBABILITIES:
        assert np.isfinite(first[name]).all(), name
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        np.testing.assert_array_equal(first[name][shuffle], some[name], err_msg=name)


@pytest.mark.parametrize('kind', KINDS)
def test_mcp_is_the_largest_number_of_the_row_and_tcp_that_of_the_label(kind):
    rng = np.random.default_rng(0)
    probs, labels = rows_of(kind, rng, 5), rng.integers(5, size=405)
    labels = labels[: len(probs)]
    found = confidences(probs, labels)
    np.testing.assert_array_equal(found['mcp'], probs.max(axis=1).astype(np.float32))
    np.testing.assert_array_equal(found['tcp'], probs[np.arange(len(probs)), labels].astype(np.float32))
    # doctor_beta only tells apart what mcp does not, and never turns the order around.
    order = np.lexsort((found['doctor_beta'], found['mcp']))
    assert (np.diff(found['doctor_beta'][order]) >= 0).all()


@pytest.mark.parametrize('kind', KINDS[:2])
def test_unrounded_probabilities_have_the_values_that_their_logarithms_have(kind):
    rng = np.random.default_rng(1)
    probs = rows_of(kind, rng, 6)
    probs, labels = probs[probs.max(axis=1) < 0.99], rng.integers(6, size=400)
    labels = labels[: len(probs)]
    found = confidences(probs, labels)
    inputs = ScoreInputs(np.log(np.maximum(probs, 1e-300)).astype(np.float32), labels=labels)
    for name in OF_PROBABILITIES:
        np.testing.assert_allclose(found[name], SCORES[name].fn(inputs), rtol=2e-5, atol=2e-6, err_msg=name)
    wide = np.sort(probs.astype(np.float64), axis=1)
    np.testing.assert_allclose(found['entropy'], -entropy(wide, axis=1), rtol=1e-5)
    np.testing.assert_allclose(found['margin'], -np.log1p(wide[:, -2] - wide[:, -1]), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('dtype', [np.float64, np.float32])
@pytest.mark.parametrize('form', ['column', 'two columns', 'the other class first'])
def test_of_two_classes_rounded_probabilities_rank_alike(form, dtype):
    decimal = np.round(np.random.default_rng(2).random(500), 2)
    probs = np.stack([1 - decimal, decimal], axis=1).round(2)
    given = {'column': decimal, 'two columns': probs, 'the other class first': probs[:, ::-1]}[form].astype(dtype)
    found = confidences(given)
    exact = np.maximum(np.round(100 * decimal), 100 - np.round(100 * decimal)).astype(int)
    for name in SYMMETRIC:
        np.testing.assert_array_equal(rankdata(found[name], 'dense'), rankdata(exact, 'dense'), err_msg=name)


def test_of_two_classes_no_score_turns_the_order_around():
    top = np.sort(np.concatenate([0.5 + np.linspace(0, 1e-3, 300), 1 - np.geomspace(0.5, 1e-30, 300)]))
    found = confidences(np.stack([top, 1 - top], axis=1))
    for name in SYMMETRIC:
        assert (np.diff(found[name]) >= 0).all(), name


def test_tails_that_float32_rounds_away_are_told_apart():
    tails = np.array([1e-3, 1e-6, 1e-9, 1e-20, 1e-50, 1e-200])
    found = confidences(np.stack([1 - tails, tails], axis=1))
    assert (np.diff(found['doctor_beta']) > 0).all() and (np.diff(found['margin']) > 0).all()
    np.testing.assert_allclose(found['doctor_beta'], np.log1p(-tails) - np.log(tails), rtol=1e-4)


def test_votes_of_trees_have_scikit_learns_values():
    x, y = load_digits(return_X_y=True)
    probs = RandomForestClassifier(20, random_state=0).fit(x[:500], y[:500]).predict_proba(x[500:])
    labels, top = y[500:], probs.max(axis=1)
    table = evaluate_predictions(labels, probs, {'largest': top}, resamples=0).metrics['scores']
    right = probs.argmax(axis=1) == labels
    for name in ('mcp', 'largest', 'doctor_beta'):
        assert table[name]['auroc'] == pytest.approx(roc_auc_score(right, top), abs=1e-12)
        assert table[name]['aupr_error'] == pytest.approx(average_precision_score(~right, -top), abs=1e-12)


def test_a_stream_of_probabilities_has_the_confidences_of_the_file():
    probs = votes(np.random.default_rng(3), 77, 4, 10)
    found, units = confidences(probs), parse_arrays({'labels': np.zeros(77, int), 'probs': probs}, 'x')['evaluated']
    for name in SYMMETRIC:
        np.testing.assert_array_equal(score_of(name, units.logits, units.outputs_are, units.probs), found[name])


def test_given_float32_probabilities_are_not_copied():
    probs = np.random.default_rng(4).dirichlet(np.ones(3), size=50).astype(np.float32)
    units = parse_arrays({'labels': np.zeros(50, int), 'probs': probs}, 'x')['evaluated']
    assert np.shares_memory(units.probs, probs)
