"""Which scores a run can have, and what is said of those it cannot."""

import numpy as np
import pytest

from failpred_jax.errors import ScoreUnavailableError, UserError
from failpred_jax.evaluate.scoring import PAPER, Fitted, Plan, compute_scores, fit_scores, make_plan
from failpred_jax.registry import SCORES
from failpred_jax.scores.score import Score, ScoreInputs

MISSING = {'mc_dropout': 'the network has no dropout to sample', 'finetuned_logit': 'there is no fine-tuning stage'}


def score(name, fn, **more):
    return Score(name=name, fn=fn, needs=frozenset({'logits'}), description='x', reference='x', **more)


def test_all_is_every_score_whose_needs_are_met():
    plan = make_plan(('all',), MISSING, 'classification')
    names = [s.name for s in plan.scores]
    assert set(names) | set(plan.unavailable) == set(SCORES)
    assert plan.unavailable['mc_dropout'] == MISSING['mc_dropout']
    assert plan.unavailable['confidnet_finetuned'] == MISSING['finetuned_logit']
    assert names[:3] == [name for name in PAPER if name in names][:3]
    assert names[-1] == 'tcp'
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
    fitted = fit_scores(plan, None)
    assert fitted.notes == {'fits': ('twice',)}
    logits = np.arange(6, dtype=np.float32).reshape(3, 2)
    found, unavailable = compute_scores(plan, ScoreInputs(logits), fitted)
    assert unavailable == {'unfitted': 'two classes only', 'refused': 'two classes only'}
    assert list(found) == ['fits']
    assert np.array_equal(found['fits'], [0, 4, 8])
    assert found['fits'].dtype == np.float32
    assert compute_scores(Plan((), {}), ScoreInputs(logits), Fitted({}, {}, {})) == ({}, {})
