"""What decisions cannot have is told before anything is computed or written, and the WORKDIR stays as it was."""

import csv

import numpy as np
import pytest
from e2e.command import TINY, run_here, run_well_here

from failpred_jax import decided, predictions
from failpred_jax.config import DecideConfig, read_decide


@pytest.fixture
def tables(rng, tmp_path):
    """Return a function that writes a table of 400 units in parts with a site, changed; None leaves a column out."""

    def write(name='p.csv', **change):
        num = 400
        confidence = rng.random(num)
        columns = {
            'part': rng.choice(['test', 'val', 'cal'], num),
            'label': np.where(rng.random(num) < 0.5 + 0.5 * confidence, 1, 0),
            'probs_0': np.round(0.5 - confidence / 2, 6),
            'probs_1': np.round(0.5 + confidence / 2, 6),
            'site': rng.choice(['north', 'south'], num),
            'group': np.arange(num) // 2,
            **change,
        }
        columns = {key: value for key, value in columns.items() if value is not None}
        path = tmp_path / name
        with path.open('w', newline='') as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
        return path

    return write


# Options -> what the message says; all of it can be seen in the file itself.
SEEN = {
    ('by=siet',): "config.decide.by is 'siet', which is no column of all parts; did you mean 'site'? (columns: site",
    ('by=label',): "config.decide.by is 'label', which holds the labels: nobody knows that when the policy decides",
    ('by=Y True',): "config.decide.by is 'Y True', which holds the labels",
    ('by=correct',): "config.decide.by is 'correct', which holds what is correct",
    ('by=group',): "config.decide.by is 'group', which says what belongs together",
    ('by=prediction',): "config.decide.by is 'prediction', which has another name here: site, predicted",
    ('by=probs',): "config.decide.by is 'probs', which tells units apart one by one",
    ('by=siet', 'sets_by=group'): "did you mean 'site'",
    ('score=tcp',): "the score 'tcp' reads the label",
    ('score=mpc',): "there is no score 'mpc'; did you mean 'mcp'",
}
# What only the scores can say.
MEASURED = {('kind=cost', 'cost_error=5', 'cost_limit=1', 'by=site'): 'per group', ('risks=(0.3,0.1)',): 'rising'}


def refused(path, workdir, *options):
    words = [f'--config.decide.{option}' for option in options]
    code, _, error = run_here('--mode=decide', f'--predictions={path}', f'--workdir={workdir}', *words)
    assert code == 2 and error.startswith('error: ') and 'Traceback' not in error
    return error


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file() and p.name != '.lock'}


def test_what_a_file_cannot_have_is_told_before_anything_is_measured(tables, tmp_path, monkeypatch):
    path, used = tables(), tmp_path / 'used'
    run_well_here('--mode=score', f'--predictions={path}', f'--workdir={used}', '--resamples=0')
    before = content(used)
    monkeypatch.setattr(predictions, 'measure', lambda *_: pytest.fail('it was measured'))
    for options, said in SEEN.items():
        for workdir in (tmp_path / 'fresh', used):
            assert said in refused(path, workdir, *options)
        assert not (tmp_path / 'fresh').exists() and content(used) == before
    for change, said in (
        ({'part': np.where(np.arange(400) % 2, 'test', 'val')}, 'there are no calibration units'),
        ({'weight': np.arange(400) + 1}, 'no promise can be made for weighted units'),
        ({'label': None, 'probs_0': None, 'probs_1': None, 'correct': np.linspace(0, 1, 400),
          'confidence': np.arange(400)}, 'no promise can be made for grades'),
    ):  # fmt: skip
        assert said in refused(tables('other.csv', **change), tmp_path / 'fresh')
        assert not (tmp_path / 'fresh').exists()


@pytest.mark.parametrize('options', MEASURED)
def test_options_that_contradict_one_another_leave_nothing(tables, tmp_path, options):
    assert MEASURED[options] in refused(tables(), tmp_path / 'fresh', *options)
    assert not (tmp_path / 'fresh').exists()


def test_what_only_measuring_shows_leaves_the_workdir_as_it_was(tables, tmp_path, rng):
    """Several scores and no units to choose on: another file can still have this WORKDIR."""
    own = {'label': None, 'probs_0': None, 'probs_1': None, 'correct': rng.random(400) < 0.8}
    own |= {'confidence_a': rng.random(400), 'confidence_b': rng.random(400)}
    several = tables('own.csv', part=np.where(np.arange(400) % 2, 'test', 'cal'), **own)
    assert 'name one, --score=NAME' in refused(several, tmp_path / 'fresh')
    assert not (tmp_path / 'fresh').exists()
    run_well_here('--mode=decide', f'--predictions={tables()}', f'--workdir={tmp_path / "fresh"}', '--resamples=0')
    # Who asks for no decisions goes without, and has the report.
    told = run_well_here('--mode=score', f'--predictions={several}', f'--workdir={tmp_path / "own"}', '--resamples=0')
    assert 'no decisions (--mode=decide makes them): several scores could decide (a, b)' in told
    assert (tmp_path / 'own' / 'report' / 'index.html').exists() and not (tmp_path / 'own' / 'decisions').exists()


def test_decisions_made_in_memory_are_those_of_the_folder(tables, tmp_path):
    workdir = tmp_path / 'w'
    words = ('--config.decide.by=site', '--config.decide.sets_by=group', '--resamples=0')
    run_well_here('--mode=decide', f'--predictions={tables()}', f'--workdir={workdir}', *words)
    made = content(workdir / 'decisions')
    options = read_decide({'by': 'site', 'sets_by': 'group'})
    assert options != DecideConfig()
    decided.decide_run(workdir, options)
    again = content(workdir / 'decisions')
    assert {name: made[name] for name in ('policy.json', 'decisions.csv', 'guarantees.json')} == {
        name: again[name] for name in ('policy.json', 'decisions.csv', 'guarantees.json')
    }


@pytest.mark.parametrize(
    ('word', 'said'),
    [
        ('by=site', "config.decide.by is 'site', but the images of a run have no columns to decide by"),
        ('score=msp', "config.decide.score: unknown score 'msp'"),
        ('score=tcp', "config.decide.score is 'tcp', which reads the label"),
        ('score=margin', "config.decide.score is 'margin', which config.evaluate.scores leaves out"),
    ],
)
def test_what_a_run_cannot_decide_is_told_before_it_trains_and_by_check(tmp_path, word, said):
    words = (*TINY, f'--config.decide.{word}')
    told = run_well_here('--mode=check', *words, f'--workdir={tmp_path / "looked"}')
    code, _, error = run_here(*words, f'--workdir={tmp_path / "run"}')
    assert code == 2 and said in error and f'- a run would stop with: {said}' in told
    assert not (tmp_path / 'run').exists()
