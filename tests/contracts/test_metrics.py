"""What every registered metric keeps to, whichever it is; and each against a slow double-precision definition."""

import functools
import math

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk

import failpred_jax.metrics as fm
from failpred_jax.metrics.calibration import NUM_BINS
from failpred_jax.registry import METRICS

N, C = 40, 7
KINDS = ('ranking', 'probability', 'classes', 'labels')
FAMILIES = ('failure', 'selective', 'calibration', 'classification', 'segmentation')


def names_of(kind: str) -> list[str]:
    return [name for name in METRICS if METRICS[name].inputs == kind]


@functools.cache
def all_of(kind: str):
    """Return one compiled function for all metrics of a kind: (a, b, mask) -> {name: value}."""
    options = {'num_classes': C} if kind == 'labels' else {}
    return jax.jit(lambda a, b, mask: {name: METRICS[name].fn(a, b, mask, **options) for name in names_of(kind)})


def evaluate(kind: str, a, b, mask=None) -> dict[str, np.ndarray]:
    """Pad to N units, so that a kind compiles once, and evaluate."""
    size = len(b)
    mask = np.ones(size, bool) if mask is None else mask
    a, b, mask = (np.concatenate([x, np.zeros((N - size, *x.shape[1:]), x.dtype)]) for x in (a, b, mask))
    return {name: np.asarray(value, np.float64) for name, value in jax.device_get(all_of(kind)(a, b, mask)).items()}


def draw(kind: str, rng: np.random.Generator, size: int = N, right: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Draw inputs with many ties."""
    if kind == 'classes':
        logits = rng.integers(0, 4, (size, C)).astype(np.float64)
        probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        return probs.astype(np.float32), rng.integers(0, C - 1, size).astype(np.int32)
    if kind == 'labels':
        labels = rng.integers(0, C - 1, size)
        other = rng.integers(0, C, size)
        return np.where(rng.random(size) < right, labels, other).astype(np.int32), labels.astype(np.int32)
    low = 0.0 if kind == 'probability' else -4.0
    confidence = low + rng.integers(1, 16, size) / 16 * (1 if kind == 'probability' else 7)
    return confidence.astype(np.float32), rng.random(size) < right


def assert_same(found: dict, expected: dict, tolerance: float = 1e-6) -> None:
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=tolerance, atol=tolerance, err_msg=name)


def assert_like(some: dict, found: dict) -> None:
    assert_same(some, {name: found[name] for name in some})


@pytest.mark.parametrize('name', METRICS)
def test_entry_tells_what_a_reader_needs(name):
    metric = METRICS[name]
    assert metric.name == name
    assert metric.family in FAMILIES
    assert metric.inputs in KINDS
    assert metric.definition.endswith(('.', ')'))
    assert metric.reference
    assert metric.label
    assert '_' not in metric.label
    assert metric.low < metric.high
    assert not metric.is_share or -1 <= metric.low < metric.high <= 1
    assert metric.column is None or metric.inputs == 'ranking'
    assert metric.higher_is_better in (True, False, None)


@pytest.mark.parametrize('kind', KINDS)
def test_values_are_in_range(kind, rng):
    for right in (0.0, 0.5, 0.9, 1.0):
        for name, value in evaluate(kind, *draw(kind, rng, right=right)).items():
            metric = METRICS[name]
            assert value.shape == ((C,) if metric.per_class else ())
            value = value[~np.isnan(value)]
            assert ((value >= metric.low) & (value <= metric.high)).all(), name


@pytest.mark.parametrize('kind', KINDS)
def test_order_of_units_changes_nothing(kind, rng):
    a, b = draw(kind, rng)
    expected = evaluate(kind, a, b)
    # Among ties: correct ones first, errors first, and at random. A sort leaves not even a rounding.
    tolerance = 0 if kind in ('ranking', 'labels') else 1e-6
    for order in (np.argsort(b, kind='stable'), np.argsort(b)[::-1], rng.permutation(N)):
        assert_same(evaluate(kind, a[order], b[order]), expected, tolerance)


@pytest.mark.parametrize('kind', KINDS)
def test_masked_units_count_nowhere_whatever_they_hold(kind, rng):
    a, b = draw(kind, rng)
    mask = rng.random(N) < 0.7
    expected = evaluate(kind, a[mask], b[mask])
    for garbage_a, garbage_b in ((np.nan, 0), (np.inf, 1), (-np.nan, 255), (-7.0, -1)):
        bad_a, bad_b = a.copy(), b.copy()
        with np.errstate(invalid='ignore'):
            bad_a[~mask] = garbage_a if a.dtype.kind == 'f' else garbage_b
        bad_b[~mask] = garbage_b
        assert_same(evaluate(kind, bad_a, bad_b, mask), expected, 0 if kind in ('ranking', 'labels') else 1e-6)


@pytest.mark.parametrize('kind', KINDS)
def test_no_unit_is_undefined_and_not_a_number_made_up(kind, rng):
    for name, value in evaluate(kind, *draw(kind, rng), np.zeros(N, bool)).items():
        assert np.isnan(value).all() or name == 'num_errors', name


def test_rankings_do_not_change_under_monotone_transforms(rng):
    a, b = draw('ranking', rng)
    expected = evaluate('ranking', a, b)
    tiny = np.float32(2.0**-149)  # Subnormal numbers are numbers like others.
    for transform in (np.exp, lambda x: 3 * x - 100, lambda x: x**3, lambda x: (16 * x).astype(np.int64) * tiny):
        assert_same(evaluate('ranking', transform(a).astype(np.float32), b), expected, 0)
    ends = np.where(a == a.max(), np.inf, np.where(a == a.min(), -np.inf, a))
    assert_same(evaluate('ranking', ends, b), expected, 0)


@pytest.mark.parametrize('kind', ['ranking', 'probability'])
def test_nan_confidence_makes_all_of_it_nan(kind, rng):
    a, b = draw(kind, rng)
    for nan in (np.nan, -np.nan):
        a[3] = nan
        assert all(np.isnan(value) for value in evaluate(kind, a, b).values())


@pytest.mark.parametrize('kind', KINDS)
def test_eight_devices_find_what_one_finds(kind, rng):
    a, b = draw(kind, rng)
    mask = rng.random(N) < 0.8
    mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))
    found = all_of(kind)(*(jax.device_put(x, spread) for x in (a, b, mask)))
    found = {name: np.asarray(value, np.float64) for name, value in found.items()}
    assert_same(found, evaluate(kind, a, b, mask), 0 if kind in ('ranking', 'labels') else 1e-6)


@pytest.mark.parametrize('kind', KINDS)
def test_without_jit_the_same(kind, rng):
    a, b = draw(kind, rng, size=6)
    mask = np.array([True, True, True, False, True, True])
    options = {'num_classes': C} if kind == 'labels' else {}
    names = names_of(kind)
    with jax.disable_jit():
        if kind == 'ranking':
            found = fm.ranking_metrics(a, b, mask)
        elif kind == 'probability':
            found = fm.confidence_calibration(a, b, mask)
        else:
            found = {name: METRICS[name].fn(a, b, mask, **options) for name in names}
    assert set(found) <= set(names)
    expected = evaluate(kind, a, b, mask)
    assert_like({name: np.asarray(value, np.float64) for name, value in found.items()}, expected)


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


def test_all_inputs_may_be_jax_arrays(rng):
    a, b = draw('ranking', rng)
    assert_same(fm.score_metrics(jnp.asarray(a), jnp.asarray(b)), fm.score_metrics(a, b), 0)
