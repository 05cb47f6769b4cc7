"""Which scores a run can have, and what is said of those it cannot."""

import jax
import numpy as np
import pytest

from failpred_jax import console, evaluate_predictions
from failpred_jax.errors import ScoreUnavailableError, UserError
from failpred_jax.evaluate.scoring import ORDER, Fitted, Plan, compute_scores, drop_normalized, fit_scores, make_plan
from failpred_jax.registry import SCORES
from failpred_jax.scores.score import FitInputs, Score, ScoreInputs

MISSING = {'mc_dropout': 'the network has no dropout to sample', 'finetuned_logit': 'there is no fine-tuning stage'}


def score(name, fn, **more):
    return Score(name=name, fn=fn, needs=frozenset({'logits'}), description='x', reference='x', **more)


def test_all_is_every_score_whose_needs_are_met():
    plan = make_plan(('all',), MISSING, 'classification')
    names = [s.name for s in plan.scores]
    assert set(names) | set(plan.unavailable) == set(SCORES)
    assert plan.unavailable['mc_dropout'] == MISSING['mc_dropout']
    assert plan.unavailable['confidnet_finetuned'] == MISSING['finetuned_logit']
    places = [ORDER.index(SCORES[name].role) for name in names]
    assert places == sorted(places)
    assert 'features' in plan.needs()
    assert plan.train_needs() <= {'logits', 'features'}


def test_a_score_asked_for_by_name_that_cannot_be_had_is_an_error():
    with pytest.raises(UserError, match='mc_dropout: the network has no dropout to sample'):
        make_plan(('mcp', 'mc_dropout'), MISSING, 'classification')


def test_needs_are_only_those_of_what_was_asked_for():
    plan = make_plan(('mcp',), MISSING, 'classification')
    assert plan.needs() == {'logits'}
    assert plan.train_needs() == frozenset()


def test_scores_that_are_for_images_only_are_left_out_of_segmentation():
    plan = make_plan(('all',), {}, 'segmentation')
    for name in SCORES:
        if not SCORES[name].per_pixel:
            assert 'not defined for single pixels' in plan.unavailable[name]


def test_a_fit_or_a_score_that_gives_up_leaves_its_reason_and_the_others():
    def give_up(*given):
        raise ScoreUnavailableError('two classes only')

    plan = Plan(
        (
            score('fits', lambda inputs, fitted: inputs.logits[:, 0] * fitted, fit=lambda given: (2.0, ('twice',))),
            score('unfitted', lambda inputs, fitted: None, fit=give_up),
            score('refused', give_up),
        ),
        {},
    )
    logits = np.arange(6, dtype=np.float32).reshape(3, 2)
    fitted = fit_scores(plan, fit_inputs(logits))
    assert fitted.notes == {'fits': ('twice',)}
    assert {*fitted.columns} == {'fits'}
    found, unavailable = compute_scores(plan, ScoreInputs(logits), fitted)
    assert unavailable == {'unfitted': 'two classes only', 'refused': 'two classes only'}
    assert list(found) == ['fits']
    assert np.array_equal(found['fits'], [0, 4, 8])
    assert found['fits'].dtype == np.float32
    assert compute_scores(Plan((), {}), ScoreInputs(logits), Fitted()) == ({}, {})


def fit_inputs(logits):
    return FitInputs(ScoreInputs(logits), np.zeros(len(logits), np.int32), None, None, jax.random.key(0))


def test_what_combines_reads_columns_that_were_computed_once(rng):
    calls = {'plain': 0, 'combined': 0}

    def plain(inputs):
        calls['plain'] += 1
        return inputs.logits[:, 0]

    def combined(inputs, fitted):
        calls['combined'] += 1
        assert 'bound' not in inputs.columns
        return sum(inputs.columns[name] for name in fitted)

    bound = Score(
        name='tcp',
        fn=lambda inputs: inputs.labels,
        needs=frozenset({'labels'}),
        description='',
        reference='',
        role='bound',
    )
    plan = Plan(
        (
            Score(
                name='combined',
                fn=combined,
                needs=frozenset({'columns'}),
                description='x',
                reference='x',
                fit=lambda given: (tuple(given.val.columns), ()),
                reads_val_labels=False,
            ),
            score('plain', plain),
            bound,
        ),
        {},
    )
    logits = rng.normal(size=(5, 2)).astype(np.float32)
    own = {'mine': rng.random(5)}
    fitted = fit_scores(plan, fit_inputs(logits), own)
    assert fitted.values['combined'] == ('mine', 'plain')
    assert {*fitted.columns} == {'mine', 'plain', 'combined', 'tcp'}
    test = ScoreInputs(2 * logits, labels=np.zeros(5, np.int32))
    found, unavailable = compute_scores(plan, test, fitted, own)
    np.testing.assert_allclose(found['combined'], 2 * logits[:, 0] + own['mine'])
    assert list(found) == ['combined', 'plain', 'tcp']
    assert not unavailable
    assert calls == {'plain': 2, 'combined': 2}


def test_scores_of_raw_logits_are_not_made_of_probabilities(rng):
    """Log-sum-exp of log-probabilities is 0, and its rounding was ranked. Found by the values, not by a name."""
    raw = (5 * rng.normal(size=(300, 10))).astype(np.float32)
    log_probs = np.asarray(jax.nn.log_softmax(raw))
    probs = np.exp(log_probs)
    plan = make_plan(('all',), {'features': 'not given'}, 'classification')
    assert drop_normalized(plan, raw, 2 * raw) is plan
    for given, words in (
        (log_probs, 'log-probabilities'),
        (probs, 'are probabilities'),
        (np.log(np.maximum(np.round(probs, 3), 1e-38)), 'log-probabilities'),
        (np.asarray(log_probs, np.float16), 'log-probabilities'),
    ):
        left = drop_normalized(plan, raw, given)
        assert {s.name for s in plan.scores} - {s.name for s in left.scores} == {'energy', 'max_logit'}
        assert words in left.unavailable['energy']
        assert left.unavailable['max_logit'] == left.unavailable['energy']
        assert left.unavailable['trust_score'] == 'not given'


def test_scores_that_are_compiled_whole_are_the_same_and_those_in_numpy_are_not_compiled(rng):
    def largest(inputs):
        return np.asarray(inputs.logits).max(axis=-1)

    mine = Score('mine', largest, frozenset({'logits'}), 'largest logit, in NumPy', 'a test')
    plan = Plan((mine, *(SCORES[name] for name in ('mcp', 'doctor_alpha', 'tcp'))), {})
    inputs = ScoreInputs(rng.normal(size=(40, 5)).astype(np.float32), labels=rng.integers(5, size=40).astype(np.int32))
    expected, _ = compute_scores(plan, inputs, Fitted())
    found, unavailable = compute_scores(plan, inputs, Fitted(), is_compiled=True)
    assert not unavailable and list(found) == ['mine', 'mcp', 'doctor_alpha', 'tcp']
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6)


def fault(kind):
    """Return a score that does something wrong."""

    def fn(inputs, *fitted):
        values = np.asarray(inputs.logits)[:, 0]
        if kind == 'raises':
            raise KeyError('no such thing')
        if kind == 'exits':
            raise SystemExit
        return {'shape': values[:, None], 'scalar': np.float32(1), 'nan': np.where(values > 2, np.nan, values)}[kind]

    return fn


FAULTS = {
    'exits': 'it failed: SystemExit: ',
    'raises': "it failed: KeyError: 'no such thing' (test_scoring.py in line ",
    'shape': 'it failed: it returned values of shape (20, 1); it must be (20,), one per unit',
    'scalar': 'it failed: ',
    'nan': 'it failed: 17 of its 20 values are NaN; a ranking needs numbers',
}


@pytest.mark.parametrize('has_validation', [True, False])
@pytest.mark.parametrize('kind', FAULTS)
def test_a_score_that_fails_is_named_and_the_others_are_as_without_it(kind, has_validation, monkeypatch, capsys):
    """In the table, in the file of figures and on the terminal: with its name and the reason."""
    monkeypatch.setattr(console, '_told', set())
    logits = np.arange(60, dtype=np.float32).reshape(20, 3) % 7
    labels = np.arange(20) % 3
    logits[:, 0] = np.arange(20)
    part = {'logits': logits, 'labels': labels}
    given: dict = {'resamples': 20, 'validation': part if has_validation else None}
    without = evaluate_predictions(labels, logits, **given)
    SCORES.register('faulty')(score('faulty', fault(kind)))
    try:
        found = evaluate_predictions(labels, logits, **given)
    finally:
        for held in (SCORES._entries, SCORES._facts):
            del held['faulty']
    reason = found.metrics['unavailable']['faulty']
    assert reason.startswith(FAULTS[kind])
    assert f'faulty unavailable: {reason}' in found.text
    assert "warning: score 'faulty' failed and is left out; the table says why" in capsys.readouterr().out
    assert found.metrics['scores'] == without.metrics['scores']


def test_a_fit_that_fails_is_the_fault_of_its_score_and_memory_is_nobodys():
    logits = np.arange(6, dtype=np.float32).reshape(3, 2)

    def fit(given):
        raise RuntimeError('RESOURCE_EXHAUSTED: out of memory') if memory else TypeError('a fit of what?')

    plan = Plan((score('unfit', lambda inputs, fitted: inputs.logits[:, 0], fit=fit),), {})
    memory = False
    assert fit_scores(plan, fit_inputs(logits)).unavailable['unfit'].startswith('it failed: TypeError: a fit of what?')
    memory = True
    with pytest.raises(RuntimeError):
        fit_scores(plan, fit_inputs(logits))
