"""Shifted sets: by weights as by repeated units, as scikit-learn has it, and the same whatever else is measured."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from failpred_jax.config import DecideConfig
from failpred_jax.decide.deciding import Given, make_decisions
from failpred_jax.decide.units import of_predictions
from failpred_jax.evaluate import shifted
from failpred_jax.evaluate.shift_severity import Judge, binned_gap, make_judge
from failpred_jax.evaluate.shift_table import sign_of, to_table
from failpred_jax.evaluate.shifted import COVERAGE, Evaluator, ShiftUnits
from failpred_jax.metrics import confidence_calibration
from failpred_jax.metrics.weighted import values_of_units
from failpred_jax.results import About, Interval, Predictions
from failpred_jax.results.shift_choice import recommend
from failpred_jax.results.shifted import read_shifted, write_shifted

NUM_TEST, NUM_STRANGERS = 90, 20


def predictions(rng, count, lift=1.0, is_stranger=False, about=None):
    correct = np.zeros(count, bool) if is_stranger else rng.random(count) < 0.8
    signal = lift * correct + rng.normal(size=count)
    # Rounded, so that there are ties within and between the sets.
    confidences = {'mcp': 1 / (1 + np.exp(-np.round(signal, 1))), 'mine': np.round(signal + rng.normal(size=count), 1)}
    return Predictions(np.zeros(0, np.int32), np.zeros((0, 0)), correct, confidences, about or About())


@pytest.fixture
def test_units(rng):
    return predictions(rng, NUM_TEST)


@pytest.fixture
def strangers(rng):
    return ShiftUnits('far', predictions(rng, NUM_STRANGERS, is_stranger=True), True)


@pytest.mark.parametrize('name', ['mcp', 'mine'])
def test_strangers_are_found_as_scikit_learn_measures_it(test_units, strangers, name):
    found = Evaluator(test_units, None, 'mcp', resamples=0).measured(strangers).scores[name]['strangers'].metrics
    values = np.concatenate([test_units.confidences[name], strangers.predictions.confidences[name]])
    inside = np.arange(NUM_TEST + NUM_STRANGERS) < NUM_TEST
    weight = np.where(inside, 1 / NUM_TEST, 1 / NUM_STRANGERS)
    assert found['auroc'] == pytest.approx(roc_auc_score(inside, values))
    assert found['aupr_success'] == pytest.approx(average_precision_score(inside, values, sample_weight=weight))
    assert found['aupr_error'] == pytest.approx(average_precision_score(~inside, -values, sample_weight=weight))
    threshold = np.sort(values[inside])[::-1][int(np.ceil(0.95 * NUM_TEST)) - 1]
    assert found['fpr_at_95tpr'] == pytest.approx(np.mean(values[~inside] >= threshold))


@pytest.mark.parametrize(('setting', 'times'), [('joint_10', (2, 1)), ('joint_50', (2, 9))])
def test_a_share_by_weights_is_the_share_by_repeated_units(test_units, strangers, setting, times):
    """90 units twice and 20 strangers once are 10 % strangers; twice and nine times, 50 %."""
    parts = (test_units, strangers.predictions)
    correct = np.concatenate([np.repeat(part.correct, n) for part, n in zip(parts, times, strict=True)])
    assert np.mean(np.arange(len(correct)) >= times[0] * NUM_TEST) == {'joint_10': 0.1, 'joint_50': 0.5}[setting]
    for name, settings in Evaluator(test_units, None, resamples=0).measured(strangers).scores.items():
        repeated = [np.repeat(part.confidences[name], n) for part, n in zip(parts, times, strict=True)]
        expected = values_of_units(np.concatenate(repeated), correct)
        for metric, value in settings[setting].metrics.items():
            assert value == pytest.approx(expected[metric], abs=1e-12), (name, metric)


def test_a_labeled_shift_counts_what_is_right_as_right(rng, test_units):
    shifted = predictions(rng, 60, lift=0.5)
    found = Evaluator(test_units, None, resamples=0).measured(ShiftUnits('dark', shifted, False))
    assert set(found.scores['mine']) == {'errors', 'joint_10', 'joint_50'}
    assert found.accuracy == shifted.correct.mean()
    expected = values_of_units(shifted.confidences['mine'], shifted.correct)
    assert found.scores['mine']['errors'].metrics == pytest.approx(
        {m: expected[m] for m in found.scores['mine']['errors'].metrics}
    )
    both = {
        n: np.concatenate([np.repeat(test_units.confidences[n], 2), np.repeat(shifted.confidences[n], 3)])
        for n in ('mine',)
    }
    correct = np.concatenate([np.repeat(test_units.correct, 2), np.repeat(shifted.correct, 3)])
    assert found.scores['mine']['joint_50'].metrics['aurc'] == pytest.approx(
        values_of_units(both['mine'], correct)['aurc']
    )


def test_intervals_are_those_of_a_plain_bootstrap(rng):
    test, far = predictions(rng, 800), predictions(rng, 500, is_stranger=True)
    found = Evaluator(test, None, 'mcp', resamples=300).measured(ShiftUnits('far', far, True)).scores
    drawn = {'mcp': [], 'mine': []}
    for _ in range(300):
        rows, strange = rng.integers(0, 800, 800), rng.integers(0, 500, 500)
        weight = np.repeat([0.9 / 800, 0.1 / 500], [800, 500])
        correct = np.concatenate([test.correct[rows], far.correct[strange]])
        for name, values in drawn.items():
            confidence = np.concatenate([test.confidences[name][rows], far.confidences[name][strange]])
            values.append(values_of_units(confidence, correct, weight)['aurc'])
    for name, values in drawn.items():
        of = found[name]['joint_10']
        width = np.quantile(values, 0.975) - np.quantile(values, 0.025)
        np.testing.assert_allclose(of.intervals['aurc'], np.quantile(values, [0.025, 0.975]), atol=0.2 * width)
        assert of.intervals['aurc'].low < of.metrics['aurc'] < of.intervals['aurc'].high
    difference = np.subtract(drawn['mine'], drawn['mcp'])
    width = np.quantile(difference, 0.975) - np.quantile(difference, 0.025)
    expected = np.quantile(difference, [0.025, 0.975])
    np.testing.assert_allclose(found['mine']['joint_10'].differences['aurc'], expected, atol=0.25 * width)
    assert not found['mcp']['joint_10'].differences


def test_a_score_is_not_beaten_by_its_own_copy_and_intervals_do_not_depend_on_other_sets(test_units, strangers):
    test_units.confidences['copy'] = test_units.confidences['mcp']
    strangers.predictions.confidences['copy'] = strangers.predictions.confidences['mcp']
    evaluator = Evaluator(test_units, None, 'mcp', resamples=50)
    first = evaluator.measured(strangers)
    assert set(first.scores['copy']['joint_10'].differences['aurc']) == {0.0}
    evaluator.measured(ShiftUnits('another', strangers.predictions, True))
    assert evaluator.measured(strangers) == first


def test_units_of_one_image_are_drawn_together(rng, test_units):
    """Five copies of every unit say no more than one: the interval stays as wide."""
    once = predictions(rng, 60, lift=0.5)
    confidences = {name: np.repeat(values, 5) for name, values in once.confidences.items()}
    copies = Predictions(once.labels, once.logits, np.repeat(once.correct, 5), confidences)
    evaluator = Evaluator(test_units, None, resamples=300)
    alone = evaluator.measured(ShiftUnits('dark', once, False))
    together = evaluator.measured(ShiftUnits('dark', copies, False, number=np.repeat(np.arange(60), 5)))
    apart = evaluator.measured(ShiftUnits('dark', copies, False))
    width = {k: np.ptp(v.scores['mine']['errors'].intervals['auroc']) for k, v in
             {'alone': alone, 'together': together, 'apart': apart}.items()}  # fmt: skip
    assert together.num_images == 60
    assert width['together'] == pytest.approx(width['alone'], rel=0.05)
    assert width['apart'] < 0.7 * width['alone']


def test_a_constant_score_tells_nothing(test_units, strangers):
    for found in (test_units, strangers.predictions):
        found.confidences['flat'] = np.ones(len(found.correct))
    values = Evaluator(test_units, None, resamples=20).measured(strangers).scores['flat']
    assert values['strangers'].metrics['auroc'] == values['joint_10'].metrics['auroc'] == 0.5
    assert values['strangers'].metrics['aupr_error'] == pytest.approx(0.5)
    assert values['strangers'].metrics['fpr_at_95tpr'] == 1
    wrong = 1 - 0.9 * test_units.correct.mean()
    assert values['joint_10'].metrics['aurc'] == pytest.approx(wrong)


def test_grades_have_the_metrics_of_a_mean_risk_alone(rng, strangers):
    test = predictions(rng, NUM_TEST)
    graded = Predictions(test.labels, test.logits, rng.random(NUM_TEST), test.confidences)
    found = Evaluator(graded, None, resamples=20).measured(strangers).scores['mine']
    assert set(found['joint_10'].metrics) == {'aurc', 'augrc', 'risk_at_80coverage'}
    assert 'auroc' in found['strangers'].metrics


def test_severities_thresholds_and_sets(rng, test_units):
    shifted = predictions(rng, 90, lift=0.5)
    severity = np.repeat([1, 3, 5], 30)
    found = Evaluator(test_units, None, 'mcp', resamples=0).measured(
        ShiftUnits('blur', shifted, False, severity=severity)
    )
    assert [row.severity for row in found.severities] == [1, 3, 5]
    row, rows = found.severities[1], severity == 3
    assert row.accuracy == shifted.correct[rows].mean()
    threshold = np.sort(test_units.confidences['mine'])[::-1][int(np.ceil(COVERAGE * NUM_TEST)) - 1]
    over = shifted.confidences['mine'][rows] >= threshold
    assert row.accepted['mine'] == over.mean()
    assert row.accepted_error['mine'] == pytest.approx(1 - shifted.correct[rows][over].mean())
    confidence = shifted.confidences['mcp'][rows].astype(np.float32)
    expected = confidence_calibration(confidence, shifted.correct[rows])['ece']
    assert row.ece == pytest.approx(float(expected), abs=1e-6)
    assert binned_gap(confidence, shifted.correct[rows].astype(float)) == pytest.approx(float(expected), abs=1e-6)
    assert np.isnan([row.policy_accepted, row.set_coverage]).all()


def test_prediction_sets_cover_what_they_promise_and_less_under_shift(rng):
    def units(count, scale):
        labels = rng.integers(0, 5, count).astype(np.int32)
        logits = (scale * np.eye(5)[labels] + rng.normal(size=(count, 5))).astype(np.float32)
        return Predictions(labels, logits, logits.argmax(1) == labels, {'mcp': logits.max(1)})

    judge = make_judge(None, units(4000, 3.0), None, DecideConfig(empty_sets=True), '')
    assert judge.sets(units(4000, 3.0))[0] == pytest.approx(0.9, abs=0.02)
    assert judge.sets(units(4000, 1.5))[0] < 0.8
    assert np.isnan(Judge().sets(units(10, 1.0))).all()
    assert 'fitted on 4,000 units by config.decide' in judge.sets_are


@pytest.mark.parametrize(
    'asked',
    [
        {},
        {'empty_sets': True},
        {'sets': 'aps', 'sets_alpha': 0.3},
        {'sets': 'raps', 'sets_by': 'class', 'seed': 3},
        {'sets': 'saps', 'sets_by': 'cluster'},
        {'sets_by': 'group', 'by': 'place'},
        {'sets': 'none'},
    ],
)
@pytest.mark.parametrize('in_groups', [False, True])
def test_severity_0_has_the_prediction_sets_of_the_decisions(rng, asked, in_groups):
    def units(count):
        labels = rng.integers(0, 4, count).astype(np.int32)
        logits = (2.5 * np.eye(4)[labels] + rng.normal(size=(count, 4))).astype(np.float32)
        about = About(columns={'place': rng.integers(0, 2, count)}, group=np.arange(count) // 3 if in_groups else None)
        return Predictions(labels, logits, logits.argmax(1) == labels, {'mcp': logits.max(1)}, about)

    parts, options = {name: units(300) for name in ('calibration', 'validation', 'test')}, DecideConfig(**asked)
    given = {name: of_predictions(part) for name, part in parts.items()}
    decided = make_decisions(Given(**given, class_names=tuple('abcd')), options).decided
    judge = make_judge(None, parts['calibration'], parts['validation'], options, 'a digest')
    found = Evaluator(parts['test'], parts['validation'], 'mcp', judge, resamples=0).summary([])
    if decided.sets is None:
        assert np.isnan([found.unshifted.set_coverage, found.unshifted.set_size]).all() and not found.sets_are
        return
    promised = decided.sets.rows['all'][0]
    assert (found.unshifted.set_coverage, found.unshifted.set_size) == (promised.coverage, promised.size)
    assert "of the run's decisions" in found.sets_are and found.judged_by == 'a digest'


def test_sets_that_cannot_be_had_say_why(rng):
    labels = np.arange(40, dtype=np.int32) % 2
    logits = rng.normal(size=(40, 2)).astype(np.float32)
    units = Predictions(labels, logits, logits.argmax(1) == labels, {'mcp': logits.max(1)})
    judge = make_judge(None, units, None, DecideConfig(sets='raps'), '')
    assert judge.rule is None and judge.sets_are.startswith('none, as') and 'validation' in judge.sets_are


def test_the_folder_gives_back_what_it_was_given_and_the_table_names_the_best(tmp_path, test_units, strangers):
    evaluator = Evaluator(test_units, None, 'mcp', resamples=50)
    shifted = evaluator.summary([evaluator.measured(strangers)], ['a note'])
    table = to_table(shifted, 'mine')
    write_shifted(shifted, table, tmp_path)
    assert read_shifted(tmp_path) == shifted
    choice = recommend(shifted)
    means = {n: shifted.sets[0].scores[n]['joint_10'].metrics['aurc'] for n in ('mcp', 'mine')}
    assert choice.score == min(means, key=means.get)
    assert choice.sentences[0] in table
    assert (tmp_path / 'table.csv').read_text().count('far,strangers') == 2 * 3 * 7
    assert recommend(evaluator.summary([])) is None


@pytest.mark.parametrize(
    ('difference', 'is_lower_better', 'sign'),
    [
        ((0.1, 0.2), False, '+'),
        ((0.1, 0.2), True, '-'),
        ((-0.2, -0.1), True, '+'),
        ((-0.1, 0.1), True, ''),
        (None, True, ''),
    ],
)
def test_the_sign_says_better_or_worse(difference, is_lower_better, sign):
    assert sign_of(difference and Interval(*difference), is_lower_better) == sign


@pytest.mark.parametrize('most', [shifted.MAX_FLOAT32, 0])
@pytest.mark.parametrize('is_graded', [False, True])
def test_sums_on_resamples_are_those_of_plain_loops(rng, monkeypatch, most, is_graded):
    """Whole numbers are summed in float32 up to a limit, which changes no bit."""
    monkeypatch.setattr(shifted, 'MAX_FLOAT32', most)
    right = rng.random(40) if is_graded else (rng.random(40) < 0.7).astype(np.float64)
    counts = rng.integers(0, 5, (40, 6)).astype(np.float32)
    place, coarse = rng.integers(0, 9, 40), rng.permutation(np.array([0, 0, 1, 1, 2, 3, 3, 3, 4]))
    place[0] = int(np.argmax(coarse))
    part = shifted._Part(place, right, shifted._Draws(counts, counts.sum(axis=0, dtype=np.float64)), 0.3)
    for side, found in zip((right, 1 - right), part.resampled(coarse), strict=True):
        sums = np.zeros((6, 5))
        for unit in range(40):
            sums[:, coarse[place[unit]]] += side[unit] * counts[unit].astype(np.float64)
        weight = 0.3 / counts.sum(axis=0, dtype=np.float64)
        np.testing.assert_allclose(found, sums * weight[:, None], rtol=1e-15 if is_graded else 0)
