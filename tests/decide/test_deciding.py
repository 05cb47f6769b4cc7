"""Decisions put together: what is promised, what happens to the rest, and what the test units say."""

import dataclasses
import json
import math

import numpy as np
import pytest

from failpred_jax import apply
from failpred_jax import decided as decided_room
from failpred_jax.calibrate.confidence import fit_confidence
from failpred_jax.config import DecideConfig, read_decide
from failpred_jax.decide import certify_selective
from failpred_jax.decide.deciding import Given, make_decisions
from failpred_jax.decide.overlaps import shared_units
from failpred_jax.decide.policy import is_probability_of
from failpred_jax.decide.units import Units, model_digest
from failpred_jax.errors import UserError
from failpred_jax.results.decisions import read_decisions, write_decisions


def part(rng, num_units, groups=0):
    """Return units whose score 'good' says how likely each is right, and 'noise' nothing."""
    probability = rng.beta(6, 0.8, num_units)
    correct = rng.random(num_units) < probability
    predicted = rng.integers(0, 3, num_units)
    labels = np.where(correct, predicted, (predicted + 1) % 3)
    logits = np.full((num_units, 3), -3.0, np.float32)
    logits[np.arange(num_units), predicted] = 0
    logits[:, 0] += 1e-3
    confidences = {'noise': rng.random(num_units), 'good': probability.astype(np.float32), 'tcp': correct * 1.0}
    units = Units(confidences, correct, labels, logits, columns={'site': np.where(predicted == 0, 'north', 'south')})
    return dataclasses.replace(units, belongs=np.arange(num_units) // groups) if groups else units


@pytest.fixture
def given(rng):
    calibration, validation, test = part(rng, 1200), part(rng, 600), part(rng, 2000)
    return Given(calibration, validation, test, 'image', ('cat', 'dog', 'polar bear'))


def test_score_and_limit_are_chosen_on_validation_units(given):
    decided, rows = make_decisions(given, DecideConfig())
    assert decided.score == 'good' and 'of 2 scores' in decided.chosen
    # About 12 % errors: two thirds of that, rounded down to a rung.
    assert decided.guarantees[0].target == 0.05
    alone = certify_selective(given.calibration.confidences['good'], given.calibration.correct, 0.05)
    assert decided.policy['tiers'][0]['thresholds'] == [alone.threshold]
    assert decided.guarantees[0].verdict.word in ('confirmed', 'consistent')
    assert decided.model == model_digest(given.calibration, 'good') == decided.policy['model']
    assert decided.impossible.startswith('No score can do better')
    rows = list(rows)
    policy = apply.parse_policy(decided.policy)
    found = apply.decide(policy, given.test.confidences['good'], model=decided.model)
    assert [row['decision'] for row in rows] == found.names().tolist()
    assert np.array_equal(found.code == 0, given.test.confidences['good'] > np.float32(alone.threshold))
    assert sum(flow.units for flow in decided.flow) == 2000
    assert sum(flow.errors for flow in decided.flow) == (~given.test.correct).sum()
    assert all(len(row['set']) for row in rows) and any('"polar bear"' in row['set'] for row in rows)


def test_a_map_that_contradicts_the_decision_is_told(given):
    # Among the least confident of what is accepted, no validation unit is right.
    low = given.validation.confidences['good'] < np.quantile(given.validation.confidences['good'], 0.2)
    wrong = dataclasses.replace(given.validation, correct=given.validation.correct & ~low)
    decided, rows = make_decisions(given._replace(validation=wrong), DecideConfig(score='good', risks=(0.12,)))
    (note,) = (note for note in decided.notes if note.startswith('P(correct) is below 50 % for'))
    assert f'rests on {(~wrong.correct).sum():,} validation errors' in note
    assert any(row['decision'] == 'accept' and float(row['p_correct']) < 0.5 for row in rows)
    plain, _ = make_decisions(given, DecideConfig(score='good', risks=(0.01,)))
    assert not any('P(correct) is below' in note for note in plain.notes)


def test_tiers_are_certified_together(given):
    options = DecideConfig(tiers=('accept', 'second_model'), risks=(0.03, 0.08))
    decided, _ = make_decisions(given, options)
    first, second = decided.guarantees[:2]
    assert 'included' not in first.statement and 'over the threshold (those of accept included)' in second.statement
    assert 'the images that second_model takes by itself' in second.not_said
    # All over its threshold are judged, not what it takes by itself.
    assert second.verdict.units == (given.test.confidences[decided.score] > np.float32(second.threshold)).sum()
    thresholds = [tier['thresholds'][0] for tier in decided.policy['tiers']]
    assert thresholds[0] > thresholds[1]
    assert [found.delta for found in decided.guarantees[:2]] == [0.025, 0.025]
    assert [flow.action for flow in decided.flow] == ['accept', 'second_model', 'human']
    assert all(flow.units for flow in decided.flow)


@pytest.mark.parametrize('kind', ['generalized', 'expected', 'cost'])
def test_other_promises(kind, given):
    options = DecideConfig(kind=kind, risks=(0.03,), cost_error=10.0, cost_review=1.0, cost_limit=0.9)
    decided, _ = make_decisions(given, options)
    promise = decided.guarantees[0]
    assert promise.kind == kind and promise.is_certified and 0 < promise.coverage < 1
    assert math.isnan(promise.delta) == (kind == 'expected')
    assert promise.verdict.word in ('confirmed', 'consistent')
    said = f'{promise.verdict.value:.4g}' if kind == 'cost' else f'{100 * promise.verdict.value:.3g} %'
    assert any(line.endswith(f'test images: {said}, {promise.verdict.word}') for line in decided_room.summary(decided))
    rules = {cost.rule: cost.test for cost in decided.costs}
    assert rules['review everything'] == 1
    assert rules["Chow's rule: accept from this P(correct) on"] <= min(rules['accept everything'], 1)


def test_each_class_predicted_has_its_threshold(given):
    decided, rows = make_decisions(given, DecideConfig(by='predicted', risks=(0.1,)))
    assert decided.policy['groups'] == ['0', '1', '2'] and len(decided.policy['tiers'][0]['thresholds']) == 3
    assert [row.name for row in decided.groups] == ['cat', 'dog', 'polar bear']
    assert all(row.verdict.units for row in decided.groups if row.is_certified)
    assert {row['decision'] for row in rows} == {'accept', 'human'}
    by_site, _ = make_decisions(given, DecideConfig(by='site', risks=(0.1,), sets_by='group'))
    assert by_site.policy['groups'] == ['north', 'south'] and by_site.sets.by == 'group'


def test_a_budget_and_a_promise_cannot_both_hold(given):
    stays, _ = make_decisions(given, DecideConfig(risks=(0.04,), budget=0.1))
    yields, _ = make_decisions(given, DecideConfig(risks=(0.04,), budget=0.1, yields='risk'))
    assert stays.guarantees[0].is_certified and not yields.guarantees[0].is_certified
    assert 'given up for the budget' in yields.guarantees[0].reason
    budget = next(found for found in yields.guarantees if found.kind == 'budget')
    assert budget.verdict.value <= 0.1 and 'the promised error rate yields' in budget.statement
    assert stays.flow[-1].test > 0.1 >= yields.flow[-1].test


def test_reused_validation_units_are_no_guarantee(given):
    without = given._replace(calibration=None)
    with pytest.raises(UserError, match='no calibration units'):
        make_decisions(without, DecideConfig())
    decided, _ = make_decisions(without, DecideConfig(reuse_validation=True))
    stamped = [*decided.guarantees, *decided.menu, *decided.groups, decided.sets.promise]
    assert {found.invalid for found in stamped} == {'not valid: validation data reused'}
    assert decided.policy['not_valid']


def test_units_that_belong_together_count_once(rng):
    given = Given(part(rng, 1200, groups=4), part(rng, 300), part(rng, 400, groups=2))
    decided, rows = make_decisions(given, DecideConfig(sets='none'))
    assert decided.calibration == 300 and any('one of each' in note for note in decided.notes)
    assert decided.guarantees[0].verdict is None or decided.guarantees[0].verdict.units <= 200
    assert len(list(rows)) == 400


def test_files_without_classes_are_decided(rng):
    calibration, test = (
        Units({'mine': part.confidences['good']}, part.correct, ids=np.array([f'q{i}' for i in range(len(part))]))
        for part in (part(rng, 800), part(rng, 100))
    )
    decided, rows = make_decisions(Given(calibration, None, test), DecideConfig())
    assert decided.score == 'mine' and decided.sets is None and not decided.groups
    assert list(rows)[7].keys() == {'id', 'confidence', 'p_correct', 'decision', 'audit'}
    assert any('P(correct) is not known' in note for note in decided.notes)


def test_too_little_is_said_and_nothing_is_accepted(rng):
    given = Given(part(rng, 40), part(rng, 200), part(rng, 100))
    decided, rows = make_decisions(given, DecideConfig(risks=(0.05,)))
    assert decided.guarantees[0].reason == 'not certifiable: needs 59 units for 0.05 at delta = 0.05, there are 40'
    assert decided.guarantees[0].verdict.word == 'nothing to judge'
    assert decided.policy['tiers'][0]['thresholds'] == ['inf']
    assert {row['decision'] for row in rows} == {'human'}


def test_decisions_are_read_as_they_were_written(given, tmp_path):
    decided, rows = make_decisions(given, DecideConfig(cost_error=5.0, cost_review=1.0, budget=0.2))
    write_decisions(decided, rows, tmp_path / 'decisions')
    read = read_decisions(tmp_path / 'decisions')
    np.testing.assert_equal(dataclasses.asdict(read), dataclasses.asdict(decided))
    assert read_decisions(tmp_path / 'nothing') is None
    (tmp_path / 'decisions' / 'guarantees.json').write_text('{"score": 3}')
    with pytest.raises(UserError, match='make it again with --mode=decide'):
        read_decisions(tmp_path / 'decisions')


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'risks': (0.1, 0.05)}, 'rising'),
        ({'risks': (0.05, 0.1)}, 'one limit per tier'),
        ({'tiers': ('accept', 'second_model')}, 'one limit per tier'),
        ({'cost_review': 1.0}, 'without config.decide.cost_error'),
        ({'cost_error': -1.0}, '0 or greater'),
        ({'kind': 'cost'}, 'needs cost_error and cost_limit'),
        ({'kind': 'risky'}, 'selective, generalized, expected, cost'),
        ({'delta': 0.0}, 'greater than 0 and less than 1'),
        ({'sets_by': 'group'}, 'name the column'),
        ({'by': 'predicted', 'budget': 0.1}, 'a budget is of all units'),
        ({'scor': 'mcp'}, "did you mean 'score'"),
    ],
)
def test_options_are_checked_together(options, words):
    with pytest.raises(UserError, match=words):
        read_decide(options)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'score': 'nothing'}, "there is no score 'nothing'.*good"),
        ({'score': 'tcp'}, 'reads the label'),
        ({'by': 'hospital'}, "is 'hospital', which is no column of all parts .columns: site."),
    ],
)
def test_what_is_not_there_is_named(options, words, given):
    with pytest.raises(UserError, match=words):
        make_decisions(given, DecideConfig(**options))


def test_earlier_decisions_with_other_options_are_kept(given, tmp_path, capsys):
    def decide(options):
        decided, rows = make_decisions(given, options)
        made_from = {'options': dataclasses.asdict(options)}
        decided = dataclasses.replace(decided, policy={**decided.policy, 'made_from': made_from})
        decided_room._keep_other(tmp_path / 'decisions', read_back(decided))
        write_decisions(decided, rows, tmp_path / 'decisions')
        return decided

    def read_back(decided):
        return dataclasses.replace(decided, policy=json.loads(json.dumps(decided.policy)))

    first = decide(DecideConfig(risks=(0.05,)))
    decide(DecideConfig(risks=(0.05,)))
    assert [path.name for path in tmp_path.iterdir()] == ['decisions']
    decide(DecideConfig(risks=(0.02,)))
    (kept,) = tmp_path.glob('decisions-*')
    assert json.loads((kept / 'policy.json').read_text())['tiers'] == first.policy['tiers']
    said = capsys.readouterr().out
    assert 'the earlier decisions, with other options, are kept' in said and '--output=FOLDER' in said
    assert 'now accepts nothing' in said
    decide(DecideConfig(risks=(0.1,)))
    assert 'WARNING' not in capsys.readouterr().out


def test_what_is_said_names_groups_and_a_threshold_that_accepts_everything(given):
    decided, _ = make_decisions(given, DecideConfig(by='site', score='good', risks=(0.1,)))
    said = decided_room.summary(decided)
    assert any(line.startswith('  north') for line in said) and any(line.startswith('  south') for line in said)
    decided, _ = make_decisions(given, DecideConfig(score='good', risks=(0.3,)))
    assert decided_room.summary(decided)[1].startswith('  accept everything: ')


def test_a_limit_that_so_few_units_cannot_show_is_not_chosen(rng):
    without_errors = part(rng, 300)
    without_errors = dataclasses.replace(without_errors, correct=np.ones(300, bool))
    for num_units, limit in ((200, 0.02), (400, 0.01), (60, 0.05), (10, 0.001)):
        given = Given(part(rng, num_units), without_errors, None)
        decided, _ = make_decisions(given, DecideConfig(score='good'))
        assert decided.guarantees[0].target == limit
        assert any(f'{num_units} units can show; 0.001 needs 2,995' in note for note in decided.notes) == (
            limit > 0.001
        )


def test_calibration_units_that_stand_in_another_part_promise_nothing(given, rng):
    for name in ('validation', 'test'):
        again = given._replace(**{name: given.calibration})
        decided, _ = make_decisions(again, DecideConfig(risks=(0.05,)))
        stamped = {found.invalid for found in (*decided.guarantees, *decided.menu, decided.sets.promise)}
        assert stamped == {f'not valid: most of the calibration units also stand among the {name} units'}
        assert decided.policy['not_valid'] and any('also stand among' in note for note in decided.notes)
    # Here by their confidences alone, and only a few of them.
    calibration, test = (Units({'mine': rng.random(200)}, rng.random(200) < 0.9) for _ in range(2))
    test.confidences['mine'][:20], test.correct[:20] = calibration.confidences['mine'][:20], calibration.correct[:20]
    decided, _ = make_decisions(Given(calibration, None, test), DecideConfig())
    assert not decided.guarantees[0].invalid
    assert any('20 of the 200 calibration units also stand among the test units' in note for note in decided.notes)
    plain, _ = make_decisions(given, DecideConfig(risks=(0.05,)))
    assert not any('also stand among' in note for note in plain.notes) and not plain.policy['not_valid']


@pytest.mark.parametrize('decimals', [1, 3, 4, 5, 17])
def test_rounded_confidences_that_are_equal_by_chance_are_no_units_of_two_parts(rng, decimals):
    def units(size, first=None):
        values = rng.beta(5, 1.2, size)
        ids = None if first is None else np.arange(first, first + size).astype(str)
        return Units({'mine': np.round(values, decimals)}, rng.random(size) < 0.6 + 0.4 * values, ids=ids)

    for size, others in ((300, 20_000), (3000, 200), (40, 40)):
        assert shared_units(units(size), {'test': units(others)}, 'unit') == ('', [])
    # Names alone decide, also those that begin at 0 in each part.
    test, calibration = units(20_000, 0), units(300, 20_000)
    assert shared_units(calibration, {'test': test}, 'unit') == ('', [])
    assert shared_units(units(300, 0), {'test': test}, 'unit')[0] == ''
    shuffled = test.take(rng.permutation(20_000)[:300])
    stamp, (note,) = shared_units(shuffled, {'test': test}, 'unit')
    assert stamp.startswith('not valid: most') and note.startswith('300 of the 300') and 'same id and values' in note


def test_a_shuffled_copy_of_some_units_is_known_by_outputs(rng):
    def units(size, decimals):
        logits = np.round(rng.standard_normal((size, 3)) * 4, decimals).astype(np.float32)
        logits[: size // 3] = (30, 0, 0)  # Saturated alike: these say nothing.
        return Units({}, rng.random(size) < 0.9, rng.integers(0, 3, size), logits)

    test = units(2000, 9)
    copy = test.take(rng.permutation(2000)[:300])
    assert shared_units(copy, {'test': test}, 'image')[0].startswith('not valid: most')
    for decimals in (0, 1, 9):
        assert shared_units(units(300, decimals), {'test': units(2000, decimals)}, 'image') == ('', [])
    # One column at full precision will do, too.
    alone = Units({'mine': rng.random(2000)}, rng.random(2000) < 0.9)
    assert shared_units(alone.take(rng.permutation(2000)[:300]), {'test': alone}, 'unit')[0].startswith('not valid')


def test_one_map_of_one_score_and_none_is_the_confidence_itself():
    # By these units the confidence is as good as any map of it.
    rng = np.random.default_rng(1)

    def units(size):
        values = rng.random(size)
        return Units({'mine': values}, rng.random(size) < values)

    calibration, validation, test = units(500), units(800), units(900)
    test.confidences['mine'][0] = validation.confidences['mine'].min() / 2
    decided, rows = make_decisions(Given(calibration, validation, test), DecideConfig(risks=(0.2,)))
    best = fit_confidence(validation.confidences['mine'], validation.correct, is_probability=True)
    assert decided.policy['calibrator']['held_out_loss'] == dict(best.loss) and best.method == 'none'
    assert 'P(correct) of mine: the confidence itself, as no map predicts held-out units better' in decided.notes
    assert any(note.startswith("P(correct) is the confidence itself (the map 'none')") for note in decided.notes)
    assert all(row['p_correct'] == f'{float(row["confidence"]):.6g}' for row in rows)
    # Also by a policy from before, whose knots ended at the held-out range.
    old = {
        **decided.policy,
        'calibrator': {'method': 'none', 'knots': {'confidence': [0.2, 1], 'probability': [0.2, 1]}},
    }
    found = apply.decide(apply.parse_policy(old), np.array([0.0, 0.1, 0.9, 1.5]))
    assert found.p_correct.tolist() == [0, 0.1, 0.9, 1]


def test_groups_without_calibration_units_go_to_a_human(given):
    site = given.test.columns['site'].copy()
    site[:7] = 'new'
    other = given._replace(test=dataclasses.replace(given.test, columns={'site': site}))
    decided, rows = make_decisions(other, DecideConfig(by='site', risks=(0.3,)))
    assert any("7 test images are of groups without calibration images ('new')" in note for note in decided.notes)
    assert {row['decision'] for row in list(rows)[:7]} == {'human'}


def test_a_policy_says_whether_its_score_is_a_probability():
    """By the name of a score of ours; a column of that name that holds percentages is none."""
    said = {
        name: is_probability_of(np.array(values), name)
        for name, values in {'mcp': [0.2, 1.0], 'max_logit': [0.2, 0.9], 'mine': [0.2, 0.9]}.items()
    }
    assert said == {'mcp': True, 'max_logit': False, 'mine': False}
    assert not is_probability_of(np.array([20.0, 99.0]), 'mcp')
