"""Several seeds: means, intervals over seeds and test units, shared scores without a spread, and what it is worth."""

import dataclasses

import numpy as np
import pytest

from failpred_jax.config import EvaluateConfig
from failpred_jax.evaluate.describe import describe
from failpred_jax.evaluate.measure import measure
from failpred_jax.evaluate.parts import Part, Parts
from failpred_jax.evaluate.scoring import Plan
from failpred_jax.evaluate.seeds import summarize_ensemble, summarize_evaluations, summarize_seeds, to_markdown
from failpred_jax.registry import SCORES
from failpred_jax.results import CalibratedScore, DatasetDescription, Evaluation, Measures, codec
from failpred_jax.scores.score import ScoreInputs

OPTIONS = EvaluateConfig(resamples=60)
SHARED = next(name for name in SCORES if 'ensemble' in SCORES[name].needs)


def evaluation(seed: int) -> Evaluation:
    """Return the evaluation of a classifier that was trained with this seed, all on the same test units."""
    units, rng = np.random.default_rng(0), np.random.default_rng(seed)
    labels, hard = units.integers(0, 3, 400).astype(np.int32), units.random(400)
    correct = rng.random(400) < 1 - 0.4 * hard
    logits = np.eye(3, dtype=np.float32)[np.where(correct, labels, (labels + 1) % 3)]
    confidences = {
        'mcp': np.clip(1 - hard + 0.3 * rng.standard_normal(400), 0, 1).astype(np.float32),
        'confidnet': np.clip(0.5 * correct + 0.5 - hard / 2, 0, 1).astype(np.float32),
        SHARED: 1 - hard.astype(np.float32),
    }
    found = measure(Parts('classification', Part(ScoreInputs(logits), labels, confidences)), Plan((), {}), OPTIONS)
    return Evaluation(found.measures, describe(found.measures, DatasetDescription('things'), 0.95), found.test)


@pytest.fixture(scope='module')
def evaluations():
    return {seed: evaluation(seed) for seed in (1, 2, 3)}


def test_means_spreads_and_intervals(evaluations):
    summary = summarize_evaluations(evaluations, OPTIONS)
    values = [one.scores['confidnet'].metrics['aurc'] for one in evaluations.values()]
    spread = summary.scores['confidnet']['aurc']
    assert (spread.mean, spread.std) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert spread.low < spread.mean < spread.high
    (row,) = [r for r in summary.paired if r.metric == 'auroc']
    assert (row.a, row.b, row.a_wins, row.num_seeds, row.p_sign) == ('confidnet', 'mcp', 1, 3, 0.25)
    assert 0 < row.low < row.mean < row.high
    assert row.p_value < 0.05
    calibration = [one.scores['confidnet'].calibration['brier'] for one in evaluations.values()]
    assert summary.calibration['confidnet']['brier'].std == pytest.approx(np.std(calibration, ddof=1))
    assert codec.from_json(type(summary), codec.to_json(summary)).paired == summary.paired


def test_calibration_before_and_after_over_seeds(evaluations):
    def with_calibration(one: Evaluation, brier: float, method: str) -> Measures:
        figures = {'before': {'brier': 0.2, 'nll': 0.5}, method: {'brier': brier}}
        score = dataclasses.replace(one.scores['confidnet'], calibrated=CalibratedScore(figures, chosen=method))
        return dataclasses.replace(one.measures, scores={**one.scores, 'confidnet': score})

    chosen = zip(evaluations.items(), (0.1, 0.12, 0.14), ('platt', 'beta', 'platt'), strict=True)
    summary = summarize_seeds({seed: with_calibration(one, b, method) for (seed, one), b, method in chosen})
    found = summary.calibrated['confidnet']
    assert (found['after']['brier'].mean, found['after']['brier'].std) == pytest.approx((0.12, 0.02))
    assert found['before']['brier'].std == pytest.approx(0)
    text = to_markdown(summary, evaluations[1].run)
    assert '0.120 ± 0.020' in text and '| confidnet \u2020 |' in text
    assert 'confidnet was trained to predict the true class probability' in text


def test_what_all_seeds_share_has_no_spread_and_no_wins(evaluations):
    summary = summarize_evaluations(evaluations, OPTIONS)
    assert summary.shared == (SHARED,)
    assert np.isnan([summary.scores[SHARED][metric].std for metric in summary.scores[SHARED]]).all()
    assert SHARED not in {row.a for row in summary.paired}
    text = to_markdown(summary, evaluations[1].run)
    row = next(line for line in text.splitlines() if line.startswith(f'| {SHARED} '))
    assert '\N{PLUS-MINUS SIGN}' not in row
    assert f'- {SHARED}: one and the same ensemble in all seeds' in text
    assert '- a score that is better in 3 of 3 seeds has p = 0.25 by that alone (sign test)' in text
    assert 'seeds 1, 2, 3: accuracy' in text
    assert 'with intervals over seeds and test units together' in text


def test_what_differs_by_the_rounding_of_a_sum_is_a_tie(evaluations):
    def with_twin(one: Evaluation, sign: float) -> Measures:
        metrics = {name: value + sign * 4e-15 for name, value in one.scores['mcp'].metrics.items()}
        twin = dataclasses.replace(one.scores['mcp'], metrics=metrics, role='')
        return dataclasses.replace(one.measures, scores={**one.scores, 'twin': twin})

    for sign in (-1, 1):
        summary = summarize_seeds({seed: with_twin(one, sign) for seed, one in evaluations.items()})
        rows = [row for row in summary.paired if row.a == 'twin']
        assert rows and all((row.a_wins, row.p_sign) == (0.5, 1) for row in rows)


def test_where_units_are_not_the_same_there_are_no_joint_intervals_but_a_reason(evaluations):
    other = evaluations[3]
    turned = dataclasses.replace(other, test=dataclasses.replace(other.test, labels=other.test.labels[::-1].copy()))
    summary = summarize_evaluations({**evaluations, 3: turned}, OPTIONS)
    assert np.isnan(summary.scores['mcp']['aurc'].low)
    assert any('the seeds differ in test units' in note for note in summary.notes)
    assert 'together, each for itself' not in to_markdown(summary, other.run)
    alone = summarize_seeds({1: evaluations[1].measures})
    assert np.isnan(alone.scores['mcp']['aurc'].std)
    assert not any('sign test' in note for note in alone.notes)


def test_an_ensemble_of_equals_agrees_with_itself(rng):
    probs = rng.dirichlet(np.ones(3), 7).astype(np.float32)
    summary = summarize_ensemble([{'test': probs}, {'test': probs}])['test']
    np.testing.assert_allclose(summary.mean_probs, probs, rtol=1e-6)
    np.testing.assert_allclose(summary.variance, 0, atol=1e-12)
