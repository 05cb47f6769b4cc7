"""A monitor as an object: it does not depend on how it is fed, and what it cannot use leaves it unchanged."""

import json

import numpy as np
import pytest
from monitor.population import NAMES, made, units, written

from failpred_jax.errors import UserError
from failpred_jax.monitor import Monitor, Options, load, save
from failpred_jax.monitor.output import prometheus_text
from failpred_jax.monitor.words import of_alarm, promise, summary


def stream(rng, num, hard=0.0):
    """Return the arrays of a stream: 30 % of the rows have a label, a few no confidence."""
    confidence, right = units(rng, num, hard)
    confidence[rng.random(num) < 0.02] = np.nan
    correct = np.where(rng.random(num) < 0.3, right, np.nan)
    ids = np.char.add('unit-', np.arange(num).astype(str))
    predicted = rng.integers(0, 3, num)
    return {'confidence_mine': confidence, 'correct': correct, 'id': ids, 'predicted': predicted}


def fed(monitor, arrays, cuts):
    """Feed arrays to a monitor in parts and return the windows."""
    windows = []
    for first, last in zip([0, *cuts], [*cuts, len(arrays['confidence_mine'])], strict=True):
        windows += monitor.update({name: values[first:last] for name, values in arrays.items()})
    return windows


def rows_of(windows):
    return [window.to_row() for window in windows]


@pytest.mark.parametrize('has_groups', [False, True])
def test_one_piece_or_many_or_killed_and_resumed_is_the_same_to_the_bit(rng, tmp_path, has_groups):
    path = written(tmp_path, rng)
    arrays = stream(rng, 2500, hard=0.2)
    if has_groups:
        arrays['group'] = np.sort(rng.integers(0, 1200, 2500))
    options = {'window': 150, 'seed': 3}
    whole = Monitor.from_policy(path, **options)
    windows = fed(whole, arrays, [])
    assert len(windows) > 5 and whole.raised
    pieces = Monitor.from_policy(path, **options)
    cuts = sorted(rng.choice(2500, 40, replace=False).tolist())
    assert rows_of(fed(pieces, arrays, cuts)) == rows_of(windows)
    state = tmp_path / 'state.json'
    resumed, found = Monitor.from_policy(path, **options), []
    for first in range(0, 2500, 170):
        found += resumed.update({name: values[first : first + 170] for name, values in arrays.items()})
        save(resumed, state)
        resumed = load(state, path, resumed.options)
    assert rows_of(found) == rows_of(windows)
    for other in (pieces, resumed):
        assert json.dumps(other.to_json()) == json.dumps(whole.to_json())
        assert prometheus_text(other, 'x') == prometheus_text(whole, 'x')


def test_the_state_does_not_grow(rng, tmp_path):
    monitor = Monitor(*made(rng), Options(window=100))
    sizes = []
    for _ in range(4):
        for _ in range(10):
            monitor.update(confidence=units(rng, 100)[0], predicted=rng.integers(0, 3, 100))
        save(monitor, tmp_path / 'state.json')
        sizes.append((tmp_path / 'state.json').stat().st_size)
    assert monitor.num_windows == 40
    assert max(sizes) < 1.02 * min(sizes)


def test_a_window_says_what_is_in_it(rng):
    policy, reference = made(rng, 2000)
    monitor = Monitor(policy, reference, Options(window=400))
    arrays = stream(rng, 450)
    (window,) = monitor.update(arrays, time=np.char.add('2026-11-', np.arange(450).astype(str)))
    kept = np.flatnonzero(~np.isnan(arrays['confidence_mine']))[:400]
    confidence, correct = arrays['confidence_mine'][kept], arrays['correct'][kept]
    assert (window.number, window.first, window.last, window.units) == (1, 1, 400, 400)
    assert window.mean_confidence == pytest.approx(confidence.mean())
    assert window.accuracy['calibrated'].value == pytest.approx(confidence.mean())
    gap = reference.accuracy - reference.confidence.mean()
    assert window.accuracy['difference'].value == pytest.approx(confidence.mean() + gap)
    assert window.shares == {'accept': np.mean(confidence > 0.6), 'human': np.mean(confidence <= 0.6)}
    assert window.accepted_error.value == pytest.approx(1 - confidence[confidence > 0.6].mean())
    known = ~np.isnan(correct)
    assert window.labeled == known.sum() and window.labeled_accuracy.value == correct[known].mean()
    taken = known & (confidence > 0.6)
    assert window.accepted_labeled_error.value == pytest.approx(1 - correct[taken].mean())
    assert window.brier == pytest.approx(np.mean((confidence[known] - correct[known]) ** 2))
    assert window.ends['first_id'] == arrays['id'][kept[0]] and window.ends['last_time'] == f'2026-11-{kept[-1]}'
    # Rows without a confidence are no units, and are counted.
    assert monitor.num_left_out == np.isnan(arrays['confidence_mine']).sum()
    assert window.left_out == np.isnan(arrays['confidence_mine'][: kept[-1]]).sum() > 0
    row = window.to_row()
    assert row['accuracy_agreement'] == '' and row['log10_e_confidence_ranks'] == window.evidence['confidence_ranks']


def test_alarms_say_what_they_mean_and_stay(rng):
    monitor = Monitor(*made(rng, 2000), Options(window=200))
    assert 'at most 5 %' in promise(monitor)
    monitor.update(stream(rng, 1000))
    assert not monitor.raised
    monitor.update(stream(rng, 4000, hard=0.6))
    assert set(monitor.raised) == {'estimated_error', 'confidence_ranks', 'realized_error', 'accepted_error'}
    said = [of_alarm(alarm, monitor.raised[alarm.name]) for alarm in monitor.armed]
    words = (
        'no label was needed',
        'they are lower than',
        'units with labels are wrong',
        'the policy promises that at most 5 %',
    )
    assert all(word in text and 'What to do' in text for word, text in zip(words, said, strict=True))
    first = dict(monitor.raised)
    monitor.update(stream(rng, 2000))
    assert monitor.raised == first
    assert 'failpred_monitor_alarm{monitor="x",alarm="accepted_error"} 1' in prometheus_text(monitor, 'x')
    assert '4 alarms are armed' in summary(monitor, 3)[-1]


def test_alarms_that_cannot_be_had_are_left_out_with_the_reason(rng):
    budget = {'name': 'accept', 'thresholds': [0.6], 'kind': 'cost', 'risk': 0.05, 'reason': ''}
    policy, reference = made(rng, calibrator=None, tiers=[budget])
    monitor = Monitor(policy, reference, Options(window=100))
    assert [a.name for a in monitor.armed] == ['confidence_ranks', 'realized_error']
    assert 'no map to P(correct)' in monitor.off['estimated_error']
    assert 'promises no error rate' in monitor.off['accepted_error']
    (window,) = monitor.update(stream(rng, 110))[:1]
    assert window.to_row()['accuracy_calibrated'] == '' and window.accuracy['atc'].value > 0.8
    with pytest.raises(UserError, match="'estimated_error' cannot be armed: the policy has no map"):
        Monitor(policy, reference, Options(alarms=('estimated_error',)))
    generalized = {'name': 'accept', 'thresholds': [0.6], 'kind': 'generalized', 'risk': 0.05, 'reason': ''}
    armed = Monitor(*made(rng, tiers=[generalized]), Options(alarms=('accepted_error',))).armed
    assert armed[0].among_all and armed[0].alpha == 0.05


def test_outputs_models_groups_and_words_are_understood(rng):
    policy, reference = made(rng, score='mcp')
    monitor = Monitor(policy, reference, Options(window=50))
    logits = rng.normal(size=(50, 3)).astype(np.float32) * 4
    names = np.array(NAMES)
    labels = np.where(rng.random(50) < 0.4, names[logits.argmax(1)], '')
    members = np.stack([logits, logits[:, ::-1]], axis=1)
    (window,) = monitor.update(logits=logits, labels=labels, ensemble_probs=members)
    probs = np.exp(logits - logits.max(1, keepdims=True))
    assert window.mean_confidence == pytest.approx((probs.max(1) / probs.sum(1)).mean(), rel=1e-6)
    assert window.labeled == (labels != '').sum() and window.labeled_accuracy.value == 1
    same = logits.argmax(1) == 2 - logits.argmax(1)
    assert window.accuracy['agreement'].value == pytest.approx(same.mean())
    # A policy may have thresholds of their own for classes.
    tiers = [{'name': 'accept', 'thresholds': [0.1, 'inf', 0.9]}]
    by_class = made(rng, by='predicted', groups=['0', '1', '2'], tiers=tiers)
    (window,) = Monitor(*by_class, Options(window=60)).update(confidence=np.full(60, 0.5), predicted=np.arange(60) % 3)
    assert window.shares['accept'] == pytest.approx(1 / 3)


BAD = {
    'no confidence': ({'confidence_mine': None, 'score': [0.5] * 4}, "no column 'confidence_mine'.*The columns are"),
    'words': ({'confidence_mine': ['high'] * 4}, "'confidence_mine' has type .* such as 'high'; it must hold numbers"),
    'a label out of range': ({'labels': [0, 1, 3, 2]}, "'labels' has 1 value out of range, such as 3; .* 0 to 2"),
    'a label of another name': ({'labels': ['cat', 'dog', 'cow', 'dog']}, "'labels' holds 'cow', which is no class"),
    'a grade': ({'correct': [1, 0, 0.5, 1]}, "'correct' must hold true and false"),
    'labels of nothing': ({'predicted': None, 'labels': [0] * 4}, "'labels' but nothing that was predicted"),
    'a contradiction': ({'labels': [0, 0, 0, 0], 'correct': [1, 1, 1, 1]}, "'correct' contradicts 'labels'"),
    'other classes': ({'logits': np.eye(4)}, "has 4 classes \\('logits'\\), but the policy was made for 3"),
    'classes of other names': ({'class_names': ['cat', 'cow', 'dog']}, 'has other classes'),
    'another length': ({'id': ['a', 'b']}, "'id' has shape \\(2,\\)"),
    'no rows': ({'confidence_mine': [], 'predicted': []}, 'holds no rows'),
    'no predictions any more': ({'predicted': None}, 'other columns than the stream so far: predicted was True'),
    'groups all at once': ({'group': ['a', 'b', 'c', 'd']}, 'other columns than the stream so far: group was False'),
    'two names of one thing': ({'y_pred': [0, 1, 2, 0]}, "'predicted' mean the same|'y_pred' and"),
}


@pytest.mark.parametrize('name', BAD)
def test_what_cannot_be_used_is_one_message_and_changes_nothing(rng, name):
    monitor = Monitor(*made(rng), Options(window=50))
    monitor.update(stream(rng, 70))
    before = json.dumps(monitor.to_json())
    changed, message = BAD[name]
    given = {'confidence_mine': [0.5, 0.9, 0.8, 0.7], 'predicted': [0, 1, 2, 0], **changed}
    with pytest.raises(UserError, match=message):
        monitor.update({key: np.array(value) for key, value in given.items() if value is not None})
    assert json.dumps(monitor.to_json()) == before


def test_a_state_is_refused_where_it_does_not_belong(rng, tmp_path):
    path, state = written(tmp_path / 'a', rng), tmp_path / 'state.json'
    monitor = Monitor.from_policy(path, window=50)
    monitor.update(stream(rng, 130))
    save(monitor, state)
    whole = state.read_text()
    with pytest.raises(UserError, match='belongs to another policy'):
        load(state, written(tmp_path / 'b', rng))
    with pytest.raises(UserError, match='was begun with window=50, and window=60 is asked for now'):
        load(state, path, Options(window=60))
    with pytest.raises(UserError, match=r'alarms=, and alarms=realized_error'):
        load(state, path, Options(window=50, alarms=('realized_error',)))
    for damage in (
        whole[:500],
        whole.replace('"num_units": 100', '"num_units": 999'),
        '[]',
        whole.replace('state 1', 'state 9'),
    ):
        state.write_text(damage)
        with pytest.raises(UserError, match='is damaged|cannot be read|is no state'):
            load(state, path)
        assert state.read_text() == damage
    (tmp_path / 'a' / 'reference.npz').write_bytes((tmp_path / 'b' / 'reference.npz').read_bytes())
    with pytest.raises(UserError, match='belongs to another policy, or its content was changed'):
        Monitor.from_policy(path)
    (tmp_path / 'a' / 'reference.npz').unlink()
    with pytest.raises(UserError, match="no 'reference.npz' beside the policy.*--mode=decide"):
        Monitor.from_policy(path)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'window': 5}, 'window is 5; allowed: from 20'),
        ({'alpha': 0.0}, 'alpha is 0.0'),
        ({'run_length': 30}, 'run_length is 30; allowed: 0, or at least one window'),
        ({'tolerance': 1.0}, 'tolerance is 1.0'),
        ({'alarms': ('estimated_eror',)}, "no alarm 'estimated_eror'; did you mean 'estimated_error'"),
        ({'alarms': ('realized_error', 'realized_error')}, 'each may be listed once'),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(UserError, match=message):
        Options(**options)


def test_confidences_of_another_scale_are_noted(rng):
    """A score that is no probability: most of the stream is outside the reference's range."""
    monitor = Monitor(*made(rng), Options(window=50))
    low, high = monitor.reference.confidence.min(), monitor.reference.confidence.max()
    monitor.update(confidence=[low, high, high])
    assert not monitor.is_mostly_outside and 'note: ' not in '\n'.join(summary(monitor, 0))
    monitor.update(confidence=[1.5, 1.5, low - 0.5, 1.5])
    assert monitor.num_outside == 4
    said = '\n'.join(summary(monitor, 0))
    assert 'note: most confidences (4) are outside the range of the reference' in said
    monitor.update(confidence=[low])
    assert not monitor.is_mostly_outside
