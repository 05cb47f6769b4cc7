"""Files in which only right or wrong, or a grade, and a confidence are known: language models, raters, a colleague."""

import numpy as np
import pytest

import failpred_jax
from failpred_jax import report, scored_file
from failpred_jax.errors import UserError
from failpred_jax.metrics import calibration_metrics, failure_metrics
from failpred_jax.prediction_file import read_predictions
from failpred_jax.predictions import evaluate_file
from failpred_jax.results import read_evaluation, write_evaluation


@pytest.fixture
def graded(rng):
    sure = rng.random(200)
    grade = np.clip(np.round(sure + rng.normal(0, 0.2, 200), 1), 0, 1)
    return {
        'correct': grade,
        'confidence_sure': sure,
        'confidence_length': -rng.integers(5, 90, 200),
        'group': np.array([f'prompt {i // 4}' for i in range(200)]),
        'id': np.arange(1000, 1200),
        'site': rng.choice(['a', 'b'], 200),
    }


def test_right_or_wrong_and_a_confidence_are_enough(rng):
    sure = rng.random(120)
    right = rng.random(120) < sure
    table = failpred_jax.evaluate_predictions(correct=right, confidences={'sure': sure}, resamples=0)
    found = table.metrics
    expected = failure_metrics(sure, right)
    assert {name: found['scores']['sure'][name] for name in expected} == expected
    assert found['scores']['sure']['calibration']['ece'] == calibration_metrics(sure, right)['ece']
    assert (found['classifier']['accuracy'], found['classifier']['num_errors']) == (right.mean(), int((~right).sum()))
    assert set(found['scores']) == {'sure'}
    assert f'{(~right).sum()} errors in 120 test units' in str(table)
    assert 'only the scores that came with the predictions' in str(table)


def test_what_was_predicted_beside_the_label_says_what_is_right(tmp_path):
    file = tmp_path / 'colleague.csv'
    file.write_text('label,prediction,confidence\ncat,cat,0.9\ndog,cat,0.6\ndog,dog,0.8\ncat, dog,0.3\n')
    found = read_predictions(file)['evaluated']
    assert found.correct.tolist() == [True, False, True, False]
    assert found.slices['true_class'].tolist() == ['cat', 'dog', 'dog', 'cat']
    np.savez(tmp_path / 'void.npz', labels=[0, 1, 255], predicted=[0, 0, 1], confidence_a=[1.0, 2.0, 3.0])
    assert read_predictions(tmp_path / 'void.npz', 255)['evaluated'].correct.tolist() == [True, False]


@pytest.mark.parametrize(
    ('arrays', 'text'),
    [
        ({'correct': [True, False], 'score': [1, 2], 'correctt': [0, 1]}, "did you mean 'correct'"),
        ({'correct': [True, False], 'score': [1, 2]}, 'columns that may be one: score'),
        ({'labels': [0, 1], 'confidence_a': [1, 2]}, "or 'predicted'"),
        ({'correct': [0, 1], 'labels': [0, 1], 'predicted': [0, 1], 'confidence_a': [1, 2]}, 'keep one'),
        ({'labels': ['a', 'b'], 'predicted': [0, 1], 'confidence_a': [1, 2]}, 'no value in common'),
        (
            {'labels': ['a', ''], 'predicted': ['a', 'b'], 'confidence_a': [1, 2]},
            r"'labels' is missing for 1 unit \(row 2\).*--ignore_label= ",
        ),
        (
            {'correct': [0.5, np.nan], 'confidence_a': [1, 2]},
            r"'correct' is missing for 1 unit \(row 2\).*--ignore_label= ",
        ),
        ({'correct': [0, 2], 'confidence_a': [1, 2]}, 'or grades from 0 to 1'),
        ({'correct': [0, 1], 'confidence_a': [1, 2], 'group': ['a', '']}, r"'group' is missing for 1 unit \(row 2\)"),
        ({'correct': [0, 1], 'confidence_a': [1, 2], 'weight': [1, -1]}, 'a weight is 0 or greater'),
        ({'correct': [0, 1], 'confidence_a': [1, 2], 'weight': [0, 0]}, 'is 0 for every unit'),
        ({'labels': [0, 1], 'predicted': [1, 1], 'logits': [[2, 1], [1, 2]]}, 'not the class of the largest output'),
    ],
)
def test_what_is_wrong_is_said(arrays, text, tmp_path):
    np.savez(tmp_path / 'x.npz', **arrays)
    with pytest.raises(UserError, match=text):
        evaluate_file(tmp_path / 'x.npz')


def test_grades_have_the_figures_of_their_risk_and_a_stated_threshold_gives_the_others(graded, tmp_path):
    np.savez(tmp_path / 'g.npz', **graded)
    found = evaluate_file(tmp_path / 'g.npz').metrics
    assert (found['classifier']['is_graded'], found['classifier']['num_errors']) == (True, None)
    assert {'aurc', 'augrc', 'e_aurc', 'risk_at_80coverage'} <= set(found['scores']['sure'])
    assert 'auroc' not in found['scores']['sure']
    assert 'needs right or wrong' in found['undefined']['auroc']
    assert (
        found['classifier']['ci']['accuracy'][0] < graded['correct'].mean() < found['classifier']['ci']['accuracy'][1]
    )
    strict = evaluate_file(tmp_path / 'g.npz', right_at=0.8)
    assert (
        strict.metrics['scores']['sure']['auroc']
        == failure_metrics(graded['confidence_sure'], graded['correct'] >= 0.8)['auroc']
    )
    assert 'of at least 0.8 are right' in str(strict)
    for wrong in (0, 1.5, np.nan, '0.5', True):
        with pytest.raises(UserError, match='right_at is'):
            evaluate_file(tmp_path / 'g.npz', right_at=wrong)


def test_groups_are_resampled_together(graded, tmp_path):
    np.savez(tmp_path / 'g.npz', **graded)
    table = evaluate_file(tmp_path / 'g.npz', right_at=0.5)
    assert 'intervals resample 50 groups, not 200 units' in str(table)
    one = graded | {'group': np.zeros(200)}
    np.savez(tmp_path / 'one.npz', **one)
    table = evaluate_file(tmp_path / 'one.npz', right_at=0.5)
    assert 'all 200 units are of one group' in str(table)
    assert not table.evaluation.scores['sure'].intervals


def test_the_page_and_the_arrays_know_every_unit_by_its_name(graded, tmp_path):
    np.savez(tmp_path / 'g.npz', **graded)
    scored_file.score(tmp_path / 'g.npz', tmp_path / 'out')
    evaluation = read_evaluation(tmp_path / 'out' / 'evaluation')
    page = (tmp_path / 'out' / 'report' / 'index.html').read_text()
    assert 'This section is unavailable' not in page
    assert 'mean grade' in page
    assert evaluation.test.about.ids.tolist() == graded['id'].astype(str).tolist()
    assert evaluation.test.about.group.tolist() == graded['group'].tolist()
    again = evaluate_file(tmp_path / 'out' / 'evaluation' / 'predictions.npz')
    assert again.evaluation.measures.scores['sure'] == evaluation.measures.scores['sure']


def test_the_page_of_right_and_wrong_alone_is_whole(rng, tmp_path):
    sure = rng.random(80)
    table = failpred_jax.evaluate_predictions(correct=rng.random(80) < sure, confidences={'sure': sure}, resamples=0)
    write_evaluation(table.evaluation, table.text, tmp_path / 'evaluation')
    report.build(read_evaluation(tmp_path / 'evaluation'), tmp_path / 'report', png=False)
    page = (tmp_path / 'report' / 'index.html').read_text()
    assert 'This section is unavailable' not in page
    assert 'Reliability diagram of sure' in page


def test_scores_of_which_none_is_a_probability_have_no_calibration_and_all_else(rng):
    right = np.arange(40) % 3 > 0
    group = np.arange(40) // 2
    for given in ({'group': group}, {}):
        table = failpred_jax.evaluate_predictions(
            correct=right, confidences={'rank': np.arange(40)}, resamples=20, **given
        )
        assert table.evaluation.scores['rank'].intervals
        assert not table.evaluation.scores['rank'].calibration
