"""Units that weigh, are graded or belong together: against slow loops, and against the walk where both apply."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from failpred_jax import evaluate_predictions
from failpred_jax.metrics import (
    bootstrap_pieces,
    graded_names,
    interval_warning,
    intervals,
    measure_calibration,
    measure_score,
    score_metrics,
    values_of_units,
)


@pytest.fixture
def units(rng):
    confidence = np.round(rng.normal(size=300), 1)
    return confidence, rng.random(300) < 1 / (1 + np.exp(-confidence - 1))


@pytest.fixture
def grades(units, rng):
    confidence, _ = units
    return np.clip(np.round(confidence / 4 + 0.5 + rng.normal(0, 0.2, len(confidence)), 1), 0, 1)


def slow_risks(confidence, grade, weight):
    """Return (weight, lost) above each distinct confidence, from the highest down, one unit at a time."""
    found = []
    for threshold in sorted(set(confidence.tolist()), reverse=True):
        accepted = lost = 0.0
        for c, g, w in zip(confidence, grade, weight, strict=True):
            if c >= threshold:
                accepted += w
                lost += w * (1 - g)
        found.append((accepted, lost))
    return found


def slow_metrics(confidence, grade, weight):
    points = [(0.0, 0.0), *slow_risks(confidence, grade, weight)]
    total = points[-1][0]
    aurc = augrc = 0.0
    for (units, lost), (next_units, next_lost) in zip(points, points[1:], strict=False):
        risk, next_risk = (lost / units if units else next_lost / next_units), next_lost / next_units
        aurc += (next_units - units) * (risk + next_risk) / 2 / total
        augrc += (next_units - units) * (lost + next_lost) / 2 / total**2
    return {
        'accuracy': 1 - points[-1][1] / total,
        'aurc': aurc,
        'augrc': augrc,
        'risk_at_80coverage': next(lost / units for units, lost in points[1:] if units >= 0.8 * total - 1e-9),
        'coverage_at_5risk': max([units / total for units, lost in points[1:] if lost <= 0.05 * units + 1e-9] or [0]),
    }


def test_grades_and_weights_are_those_of_a_slow_loop(units, grades, rng):
    confidence, right = units
    for grade, weight in ((grades, np.ones(300)), (right, rng.random(300)), (grades, rng.random(300))):
        found = values_of_units(confidence, grade, weight)
        expected = slow_metrics(confidence, grade.astype(float), weight)
        assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_whole_weights_count_units_as_often(units, rng):
    confidence, right = units
    weight = rng.integers(0, 4, 300)
    expected = score_metrics(np.repeat(confidence, weight), np.repeat(right, weight))
    assert values_of_units(confidence, right, weight.astype(float)) == pytest.approx(expected)
    assert values_of_units(confidence, right) == pytest.approx(score_metrics(confidence, right))


@pytest.mark.parametrize('scale', [1e-300, 1e-160, 1e-30, 1e30, 1e160, 1e300])
def test_the_unit_of_weights_does_not_matter(units, rng, scale):
    confidence, correct = units
    weight = rng.gamma(1, size=len(correct))
    given = {'a': confidence, 'b': rng.normal(size=len(correct))}
    expected = bootstrap_pieces(given, correct, None, weight, num_resamples=50)
    found = bootstrap_pieces(given, correct, None, weight * scale, num_resamples=50)
    rows = [m for m, name in enumerate(expected.metrics) if name != 'num_errors']
    np.testing.assert_allclose(found.values[rows], expected.values[rows], rtol=1e-9)
    np.testing.assert_allclose(found.samples[rows], expected.samples[rows], rtol=1e-5, atol=1e-6)
    assert found.support == expected.support
    of_units = values_of_units(confidence, correct, weight * scale)
    assert of_units['auroc'] == pytest.approx(roc_auc_score(correct, confidence, sample_weight=weight), rel=1e-9)
    precision = average_precision_score(~correct, -confidence, sample_weight=weight)
    assert of_units['aupr_error'] == pytest.approx(precision, rel=1e-9)
    slices = []
    for one in (weight, weight * scale):
        table = evaluate_predictions(correct=correct, confidences=given, weight=one, resamples=20)
        slices.append(table.evaluation.measures.slices[0])
    assert slices[1].accuracy == pytest.approx(slices[0].accuracy)
    assert slices[1].scores['a'].metrics == pytest.approx(slices[0].scores['a'].metrics)


def test_grades_come_to_right_and_wrong_in_the_limit(units):
    confidence, right = units
    nearly = np.where(right, 1 - 1e-9, 1e-9)
    probability = 1 / (1 + np.exp(-confidence))
    for measure, values in ((measure_score, confidence), (measure_calibration, probability)):
        found, expected = measure(values, nearly), measure(values, right)
        assert found == pytest.approx({name: expected[name] for name in found}, abs=1e-6)
    assert set(measure_score(confidence, nearly)) == set(graded_names())


def test_a_perfect_order_of_grades_has_no_excess_risk(rng):
    grades = rng.random(2000)
    found = measure_score(grades, grades)
    assert found['e_aurc'] == pytest.approx(0, abs=1e-5)
    assert found['e_aurc'] < measure_score(-grades, grades)['e_aurc']


def test_calibration_of_grades_is_that_of_their_mean(grades, rng):
    confidence = rng.random(300).astype(np.float32)
    found = measure_calibration(confidence, grades)
    assert found['brier'] == pytest.approx(np.mean((confidence - grades) ** 2))
    assert found['nll'] == pytest.approx(-np.mean(grades * np.log(confidence) + (1 - grades) * np.log(1 - confidence)))
    gap = sum(
        abs(np.sum((confidence - grades)[(confidence > k / 15) & (confidence <= (k + 1) / 15)])) for k in range(15)
    )
    assert found['ece'] == pytest.approx(gap / 300)
    assert found['brier_uncertainty'] == pytest.approx(np.var(grades))


def test_groups_that_repeat_their_units_are_worth_no_more_than_one(units):
    confidence, right = units
    once = bootstrap_pieces({'a': confidence}, right, np.arange(300), num_resamples=300)
    group = np.repeat(np.arange(300), 4)
    often = bootstrap_pieces({'a': np.repeat(confidence, 4)}, np.repeat(right, 4), group, num_resamples=300)
    assert often.support == once.support == 300
    np.testing.assert_allclose(often.samples[2:], once.samples[2:], atol=1e-6)
    alone = bootstrap_pieces({'a': np.repeat(confidence, 4)}, np.repeat(right, 4), num_resamples=300)
    width, narrow = (np.subtract(*intervals(one)['a']['auroc']) for one in (often, alone))
    assert width < 1.5 * narrow < 0
    few = bootstrap_pieces({'a': confidence}, right, np.arange(300) % 7, num_resamples=50)
    assert '7 groups' in interval_warning(few)


def test_names_and_order_of_units_and_groups_change_nothing(units, grades, rng):
    confidence, _ = units
    group = rng.integers(0, 40, 300)
    expected = bootstrap_pieces({'a': confidence}, grades, group, num_resamples=50)
    order = rng.permutation(300)
    found = bootstrap_pieces({'a': confidence[order]}, grades[order], group[order], num_resamples=50)
    np.testing.assert_allclose(found.samples, expected.samples, atol=1e-6)


def test_many_levels_are_cut_to_few_without_moving_the_figures(rng):
    confidence = rng.normal(size=3000)
    right = rng.random(3000) < 1 / (1 + np.exp(-confidence - 2))
    group = np.arange(3000) // 3
    fine = bootstrap_pieces({'a': confidence}, right, group, num_resamples=100, num_levels=3000)
    coarse = bootstrap_pieces({'a': confidence}, right, group, num_resamples=100)
    np.testing.assert_array_equal(fine.values, coarse.values)
    for metric in ('auroc', 'aurc', 'augrc', 'aupr_error', 'fpr_at_95tpr'):
        m = fine.metrics.index(metric)
        spread = fine.samples[m].std()
        assert np.abs(fine.samples[m] - coarse.samples[m]).mean() < 0.15 * spread, metric
