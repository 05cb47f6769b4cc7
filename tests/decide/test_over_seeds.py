"""Decisions of several seeds: each has its own, and what is said of them together is true."""

import csv
import json

import numpy as np
import pytest

from failpred_jax import apply, decided, session
from failpred_jax.config import DecideConfig
from failpred_jax.decide import certify_selective
from failpred_jax.errors import UserError
from failpred_jax.files import read_npz
from failpred_jax.report.page import make_sections
from failpred_jax.report.view import View
from failpred_jax.results import (
    DatasetDescription,
    Evaluation,
    Measures,
    Predictions,
    RunDescription,
    ScoreResult,
    read_evaluation,
    write_evaluation,
)
from failpred_jax.session import build_report


def predictions(rng, num_units, skill):
    probability = rng.beta(6, skill, num_units)
    correct = rng.random(num_units) < probability
    predicted = rng.integers(0, 3, num_units)
    labels = np.where(correct, predicted, (predicted + 1) % 3).astype(np.int32)
    logits = np.full((num_units, 3), -3.0, np.float32)
    logits[np.arange(num_units), predicted] = 0
    return Predictions(labels, logits, correct, {'mine': probability.astype(np.float32)})


@pytest.fixture
def workdir(tmp_path, rng):
    """Return a WORKDIR of the seeds 0, 1 and 2, the last of which finds too many errors for a strict limit."""
    dataset = DatasetDescription('data', num_classes=3, class_names=('a', 'b', 'c'))
    for seed, skill in ((0, 0.4), (1, 0.8), (2, 5.0)):
        test, validation, calibration = (predictions(rng, n, skill) for n in (800, 300, 400))
        evaluation = Evaluation(
            Measures(scores={'mine': ScoreResult({'aurc': 0.01})}),
            RunDescription(dataset=dataset, fingerprint=str(seed)),
            test,
            validation,
            calibration=calibration,
        )
        write_evaluation(evaluation, '', tmp_path / f'seed_{seed}' / 'evaluation')
    write_evaluation(evaluation, '', tmp_path / 'evaluation')
    (tmp_path / 'config.json').write_text(json.dumps({'seeds': [0, 1, 2]}))
    return tmp_path


def content(workdir):
    return json.loads((workdir / 'decisions' / 'seeds.json').read_text())


def test_each_seed_has_decisions_of_its_own(workdir, capsys):
    assert decided.decide_seeds(workdir, (0, 1, 2), DecideConfig(risks=(0.05,)))
    said = capsys.readouterr().out
    rows = content(workdir)['promises']
    assert [row['seed'] for row in rows] == [0, 1, 2]
    policies = [apply.read_policy(workdir / f'seed_{seed}' / 'decisions' / 'policy.json') for seed in (0, 1, 2)]
    with pytest.raises(apply.PolicyError, match='belongs to the model'):
        apply.read_policy(workdir / 'seed_0' / 'decisions' / 'policy.json', policies[1].model)
    for seed, row in enumerate(rows[:2]):
        arrays = read_npz(workdir / f'seed_{seed}' / 'evaluation' / 'calibration.npz')
        found = certify_selective(arrays['confidence_mine'], arrays['correct'], 0.05)
        assert row['threshold'] == pytest.approx(found.threshold) and row['accepted'] == found.coverage
        with (workdir / f'seed_{seed}' / 'decisions' / 'decisions.csv').open() as file:
            accepted = np.array([line['decision'] == 'accept' for line in csv.DictReader(file)])
        wrong = ~read_npz(workdir / f'seed_{seed}' / 'evaluation' / 'predictions.npz')['correct']
        assert row['test_accepted'] == pytest.approx(accepted.mean())
        assert row['test_value'] == pytest.approx(wrong[accepted].mean())
        assert row['test_low'] < row['test_value'] < row['test_high'] and row['verdict']
        assert f'seed {seed}, accept by mine over {found.threshold:.6g}' in said
    assert rows[2]['accepted'] is None and 'not certified' in rows[2]['reason'] and rows[2]['reason'] in said


def test_what_is_said_of_the_seeds_together_is_true(workdir):
    decided.decide_seeds(workdir, (0, 1), DecideConfig(risks=(0.05,)))
    notes = ' '.join(content(workdir)['notes'])
    assert 'fails with probability 5 % at most; that of all 2 seeds hold together' in notes
    assert 'with probability 90 % or more' in notes and 'their verdicts are not independent' in notes
    coverages = [row['accepted'] for row in content(workdir)['promises']]
    assert f'from {100 * min(coverages):.4g} % to {100 * max(coverages):.4g} %' in notes


def test_only_the_seeds_of_the_run_are_shown_and_nothing_is_done_twice(workdir):
    decided.decide_seeds(workdir, (0, 1, 2), DecideConfig(risks=(0.05,)))
    times = [path.stat().st_mtime_ns for path in workdir.glob('seed_*/decisions/policy.json')]
    assert not decided.decide_seeds(workdir, (0, 1, 2), DecideConfig(risks=(0.05,)), again=False)
    assert decided.decide_seeds(workdir, (0, 1), DecideConfig(risks=(0.05,)), again=False)
    assert [row['seed'] for row in content(workdir)['promises']] == [0, 1]
    assert times == [path.stat().st_mtime_ns for path in workdir.glob('seed_*/decisions/policy.json')]
    # A seed without calibration units: nothing is written of the others either.
    (workdir / 'seed_1' / 'evaluation' / 'calibration.npz').unlink()
    before = (workdir / 'seed_0' / 'decisions' / 'policy.json').read_text()
    with pytest.raises(UserError, match='there are no calibration units'):
        decided.decide_seeds(workdir, (0, 1), DecideConfig(risks=(0.01,)))
    assert (workdir / 'seed_0' / 'decisions' / 'policy.json').read_text() == before


def test_the_page_shows_the_seeds_side_by_side(workdir, monkeypatch):
    decided.decide_seeds(workdir, (0, 1, 2), DecideConfig(risks=(0.05,)))
    seen = []
    monkeypatch.setattr('failpred_jax.report.build', lambda evaluation, folder: seen.append(evaluation))
    build_report(workdir)
    (evaluation,) = seen
    assert [one.seed for one in evaluation.seed_decisions] == [0, 1, 2] and evaluation.decisions is None
    sections = {section.name: ' '.join(map(str, section.parts)) for section in make_sections(View(evaluation))}
    text = sections['promises_of_seeds']
    assert 'seed_0/decisions, seed_1/decisions and seed_2/decisions' in text and 'promises' not in sections
    assert 'Name the seed to deploy beforehand' in text and 'not certified' in text
    assert 'promises_of_seeds' not in {
        section.name for section in make_sections(View(read_evaluation(workdir / 'evaluation')))
    }


def test_a_promise_is_tried_elsewhere_and_the_policy_in_use_stays(workdir, tmp_path):
    run, there = workdir / 'seed_0', tmp_path / 'tried'
    decided.decide_run(run, DecideConfig(risks=(0.05,)))
    before = {path.name: path.read_bytes() for path in (run / 'decisions').iterdir()}
    decided.try_decisions(run, DecideConfig(risks=(0.1,)), there)
    assert json.loads((there / 'policy.json').read_text())['tiers'][0]['risk'] == 0.1
    assert {path.name: path.read_bytes() for path in (run / 'decisions').iterdir()} == before
    assert [path.name for path in run.glob('decisions*')] == ['decisions']
    with pytest.raises(UserError, match='which is there already'):
        decided.try_decisions(run, DecideConfig(risks=(0.1,)), there)
    with pytest.raises(UserError, match='name the folder of one of the seeds'):
        session.try_decisions(workdir, DecideConfig(), tmp_path / 'other')
