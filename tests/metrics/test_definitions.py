"""The metrics against their definitions, slowly and in double precision, and against scikit-learn."""

import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import sklearn.metrics as sk
from metrics.inputs import KINDS, C, N, assert_like, draw, evaluate

import failpred_jax.metrics as fm
from failpred_jax.metrics.reliability import NUM_BINS
from failpred_jax.registry import METRICS

# The definitions once more, slowly, in double precision, threshold by threshold.


def walk(confidence, correct):
    thresholds = sorted(set(confidence.tolist()), reverse=True)
    units = np.array([sum(confidence >= t) for t in thresholds])
    right = np.array([sum((confidence >= t) & correct) for t in thresholds])
    return units, right, units - right


def trapezoid(x, y):
    return math.fsum((x[i + 1] - x[i]) * (y[i + 1] + y[i]) / 2 for i in range(len(x) - 1))


def ranking_oracle(confidence, correct):
    size, num_right = len(correct), int(correct.sum())
    num_wrong = size - num_right
    units, right, wrong = walk(confidence, correct)
    risk = wrong / units
    found = {'accuracy': num_right / size, 'num_errors': num_wrong}
    pairs = [(a > b) + (a == b) / 2 for a in confidence[correct] for b in confidence[~correct]]
    found['auroc'] = np.mean(pairs) if pairs else np.nan
    found['aupr_success'] = found['aupr_error'] = found['fpr_at_95tpr'] = np.nan
    if num_right:
        found['aupr_success'] = np.sum(np.diff(right, prepend=0) / num_right * right / units)
    if num_wrong:
        below = size - np.concatenate([[0], units[:-1]])
        wrong_below = num_wrong - np.concatenate([[0], wrong[:-1]])
        found['aupr_error'] = np.sum(np.diff(wrong, prepend=0) / num_wrong * wrong_below / below)
    if num_right and num_wrong:
        found['fpr_at_95tpr'] = next(w / num_wrong for w, r in zip(wrong, right, strict=True) if r / num_right >= 0.95)
    coverage = np.concatenate([[0], units]) / size
    found['aurc'] = trapezoid(coverage, np.concatenate([risk[:1], risk]))
    e = num_wrong / size
    found['e_aurc'] = found['aurc'] - (e + (1 - e) * math.log(1 - e) if e < 1 else 1)
    found['augrc'] = trapezoid(coverage, np.concatenate([[0], wrong]) / size)
    for c in (80, 90, 95):
        found[f'risk_at_{c}coverage'] = next(r for r, u in zip(risk, units, strict=True) if 100 * u >= c * size)
    for r in (1, 5):
        kept = [u for u, w in zip(units, wrong, strict=True) if 100 * w <= r * u]
        found[f'coverage_at_{r}risk'] = max(kept, default=0) / size
    return found


def ece_oracle(confidence, correct, bin_of):
    gaps = [(bin_of == k, k) for k in range(NUM_BINS) if (bin_of == k).any()]
    gaps = [(inside.mean(), confidence[inside].mean() - correct[inside].mean(), inside) for inside, _ in gaps]
    return gaps, sum(share * abs(gap) for share, gap, _ in gaps)


def width_bins(confidence):
    return np.array([sum(c > np.float32(k / NUM_BINS) for k in range(1, NUM_BINS)) for c in confidence])


def probability_oracle(confidence, correct):
    exact = confidence.astype(np.float64)
    gaps, ece = ece_oracle(exact, correct, width_bins(confidence))
    below = np.array([sum(confidence < c) for c in confidence])
    truth = np.where(correct, exact, 1 - exact)
    accuracy = correct.mean()
    return {
        'ece': ece,
        'ece_equal_mass': ece_oracle(exact, correct, below * NUM_BINS // len(correct))[1],
        'signed_ece': exact.mean() - accuracy,
        'mce': max(abs(gap) for _, gap, _ in gaps),
        'brier': np.mean((exact - correct) ** 2),
        'brier_reliability': sum(share * gap**2 for share, gap, _ in gaps),
        'brier_resolution': sum(share * (correct[inside].mean() - accuracy) ** 2 for share, _, inside in gaps),
        'brier_uncertainty': accuracy * (1 - accuracy),
        'nll': np.inf if (truth == 0).any() else -np.mean(np.log(truth)),
    }


def classes_oracle(probs, labels):
    exact = probs.astype(np.float64)
    one_hot = np.eye(C)[labels]
    ranks = [sorted(range(C), key=lambda c, p=p: (-p[c], c)).index(y) for p, y in zip(exact, labels, strict=True)]
    each = [ece_oracle(exact[:, c], one_hot[:, c], width_bins(probs[:, c]))[1] for c in range(C)]
    return {
        'classwise_ece': np.mean(each),
        'multiclass_brier': np.mean(np.sum((exact - one_hot) ** 2, axis=-1)),
        'multiclass_nll': -np.mean(np.log(exact[np.arange(len(labels)), labels])),
        'top_5_accuracy': np.mean(np.array(ranks) < 5),
    }


def labels_oracle(predicted, labels):
    def share(part, whole):
        return part / whole if whole else np.nan

    hit = [int(np.sum((predicted == c) & (labels == c))) for c in range(C)]
    occurs, chosen = ([int(np.sum(x == c)) for c in range(C)] for x in (labels, predicted))
    union = [o + p - h for o, p, h in zip(occurs, chosen, hit, strict=True)]
    found = {
        'recall': [share(h, o) for h, o in zip(hit, occurs, strict=True)],
        'precision': [share(h, p) for h, p in zip(hit, chosen, strict=True)],
        'f1': [share(2 * h, o + p) for h, o, p in zip(hit, occurs, chosen, strict=True)],
        'iou': [share(h, u) for h, u in zip(hit, union, strict=True)],
        'pixel_accuracy': np.mean(predicted == labels),
    }
    found['balanced_accuracy'] = np.nanmean(found['recall'])
    found['mean_iou'] = np.nanmean(found['iou'])
    return {name: np.array(value) for name, value in found.items()}


ORACLES = {
    'ranking': ranking_oracle,
    'probability': probability_oracle,
    'classes': classes_oracle,
    'labels': labels_oracle,
}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('right', [0.0, 0.3, 0.97, 1.0])
def test_equals_the_slow_definition(kind, right, rng):
    for size in (1, 2, 3, 10, 20, 39, 40):
        for _ in range(3):
            a, b = draw(kind, rng, size, right)
            expected = ORACLES[kind](a, b)
            found = evaluate(kind, a, b)
            # A new metric brings its own test; those below may not lose theirs.
            assert set(expected) <= set(found)
            assert_like(expected, found)


confidences = st.one_of(
    st.floats(width=32, allow_nan=False),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, np.inf, -np.inf, 2.0**-149, -(2.0**-149)]),
)


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)
@hypothesis.given(st.lists(st.tuples(confidences, st.booleans()), min_size=1, max_size=N))
def test_rankings_equal_scikit_learn(pairs):
    confidence, correct = np.array([c for c, _ in pairs], np.float32), np.array([k for _, k in pairs])
    found = evaluate('ranking', confidence, correct)
    # scikit-learn refuses infinities; their ranks it takes.
    ranks = np.unique(confidence, return_inverse=True)[1]
    expected = {'accuracy': sk.accuracy_score(correct, np.ones_like(correct))}
    if correct.any():
        expected['aupr_success'] = sk.average_precision_score(correct, ranks)
    if not correct.all():
        expected['aupr_error'] = sk.average_precision_score(~correct, -ranks)
    if correct.any() and not correct.all():
        expected['auroc'] = sk.roc_auc_score(correct, ranks)
        fpr, tpr, _ = sk.roc_curve(correct, ranks, drop_intermediate=False)
        expected['fpr_at_95tpr'] = fpr[np.argmax(tpr >= 0.95)]
    assert_like(expected, found)


@hypothesis.settings(max_examples=30, deadline=None, derandomize=True, database=None)
@hypothesis.given(st.lists(st.tuples(st.floats(1 / 64, 63 / 64, width=32), st.booleans()), min_size=1, max_size=N))
def test_calibration_equals_scikit_learn(pairs):
    confidence, correct = np.array([c for c, _ in pairs], np.float32), np.array([k for _, k in pairs])
    expected = {
        'brier': sk.brier_score_loss(correct, confidence, labels=[False, True]),
        'nll': sk.log_loss(correct, confidence.astype(np.float64), labels=[False, True]),
    }
    assert_like(expected, evaluate('probability', confidence, correct))


@hypothesis.settings(max_examples=30, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    st.lists(st.tuples(st.integers(0, C - 1), st.integers(0, C - 1)), min_size=1, max_size=N), st.integers(0, 2**32 - 1)
)
def test_classification_equals_scikit_learn(pairs, seed):
    predicted, labels = (np.array(x, np.int32) for x in zip(*pairs, strict=True))
    classes, occurring = list(range(C)), sorted(set(labels.tolist()))
    options = {'labels': classes, 'average': None, 'zero_division': np.nan}
    expected = {
        'balanced_accuracy': sk.recall_score(labels, predicted, labels=occurring, average='macro'),
        'precision': sk.precision_score(labels, predicted, **options),
        'recall': sk.recall_score(labels, predicted, **options),
        'f1': sk.f1_score(labels, predicted, **options),
        'pixel_accuracy': sk.accuracy_score(labels, predicted),
    }
    seen = sorted(set(labels.tolist()) | set(predicted.tolist()))
    expected['mean_iou'] = sk.jaccard_score(labels, predicted, labels=seen, average='macro')
    assert_like(expected, evaluate('labels', predicted, labels))
    confusion = fm.confusion_matrix(predicted, labels, num_classes=C)
    np.testing.assert_array_equal(confusion, sk.confusion_matrix(labels, predicted, labels=classes))
    probs = np.random.default_rng(seed).dirichlet(np.ones(C), len(labels)).astype(np.float32)
    exact = probs.astype(np.float64)
    expected = {
        'top_5_accuracy': sk.top_k_accuracy_score(labels, exact, k=5, labels=classes),
        'multiclass_nll': sk.log_loss(labels, exact / exact.sum(axis=-1, keepdims=True), labels=classes),
    }
    assert_like(expected, evaluate('classes', probs, labels))


@pytest.mark.parametrize('name', ['balanced_accuracy', 'mean_iou', 'pixel_accuracy'])
def test_a_million_classes_need_no_table_of_pairs(rng, name):
    """A matrix of all pairs would take 4 TB; the classes that are there are measured as if there were no others."""
    predicted, labels, mask = rng.integers(0, C, 50), rng.integers(0, C, 50), rng.random(50) < 0.8
    spread = np.sort(rng.choice(1_000_000, C, replace=False))
    found = METRICS[name].fn(spread[predicted], spread[labels], mask, num_classes=1_000_000)
    assert float(found) == pytest.approx(float(METRICS[name].fn(predicted, labels, mask, num_classes=C)), rel=1e-6)
