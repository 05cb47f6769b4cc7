"""What a monitor cannot count it says: labels that came late, columns of other names, units that come again."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from monitor.population import made, units, written
from monitor.test_command import frame, monitor

from failpred_jax.monitor import Monitor, Options, load, save, words
from failpred_jax.monitor.counted import UNKNOWN
from failpred_jax.monitor.lookalikes import lookalikes
from failpred_jax.monitor.seen import MOST, Seen
from failpred_jax.monitor.state import _digest


@pytest.fixture
def call(fed):
    """Return a function that feeds a table and returns what ended and what is said of the monitor."""

    def take(*table, **how):
        ended = fed(*table, **how)
        return ended, '\n'.join(words.summary(ended.monitor, ended.num_new))

    return take


def known(rng, num, **columns):
    """Return a stream in which every row has a confidence."""
    table = frame(rng, num)
    return table.assign(confidence_mine=table['confidence_mine'].fillna(pd.Series(rng.random(num))), **columns)


def without(table, rows):
    """Return a table without the labels of these rows."""
    return table.assign(labels=table['labels'].mask(np.isin(np.arange(len(table)), rows)))


def test_labels_that_came_after_their_rows_are_told_once_counted_and_never_after(call, rng, tmp_path):
    table = known(rng, 200, labels=pd.Series(rng.integers(0, 3, 200)).astype('Int64'))
    empty, some = without(table, np.arange(200)), without(table, np.arange(40, 200))
    assert call(empty)[0].num_late == 0
    kept = (tmp_path / 'monitor.json').read_bytes()
    for late, form, told in ((some, 'csv', 40), (table, 'parquet', 200), (table, 'csv', 200), (empty, 'csv', 0)):
        ended, _ = call(late, form=form)
        assert (ended.num_rows, ended.num_late) == (0, told)
    assert (tmp_path / 'monitor.json').read_bytes() == kept
    # Of a file that grew, labels of the new rows are in time.
    grown = pd.concat([table, known(rng, 60)])
    assert call(grown)[0].num_late == 200 and call(grown)[0].num_late == 200
    # In time from the beginning, in a state of their own.
    other = tmp_path / 'other.json'
    assert call(some, other)[0].num_late == 0 and call(table, other)[0].num_late == 160
    assert words.of_late(0) == '' and '1 label came after' in words.of_late(1)


def test_a_state_from_before_labels_were_counted_says_nothing_of_them_and_goes_on(call, policy, rng, tmp_path):
    table, state = known(rng, 120), tmp_path / 'monitor.json'
    call(without(table, np.arange(120)))
    body = json.loads(state.read_text())
    body['content']['files'] = [file[:4] for file in body['content']['files']]
    del body['content']['num_labeled'], body['content']['seen'], body['digest']
    state.write_text(json.dumps({**body, 'digest': _digest(body)}))
    assert load(state, policy).files[0].num_labeled == UNKNOWN
    ended, said = call(table)
    assert ended.num_repeated == 120 and ended.num_late == 0 and 'labels' not in said
    assert call(table)[0].num_late == 0


def test_late_labels_and_misnamed_columns_are_said_on_the_terminal(policy, rng, tmp_path):
    table, stream, state = frame(rng, 120), tmp_path / 'today.csv', tmp_path / 'monitor.json'
    table.rename(columns={'labels': 'True Label'}).to_csv(stream, index=False)
    code, out, _ = monitor(policy, stream, state, '--without_page', '--window=50')
    assert code == 0 and "perhaps rename 'True Label' to 'labels'" in out
    assert 'realized_error and accepted_error go by labels, and of 100 units none has had one so far' in out
    table.to_csv(stream, index=False)
    _, out, _ = monitor(policy, stream, state, '--without_page')
    late = re.search(r'(\d+) labels came after the row was counted; these are ignored', out)
    assert late and int(late[1]) == np.count_nonzero(table['labels'].notna()) and 'perhaps rename' not in out


def test_groups_without_a_threshold_are_said_on_the_terminal(rng, tmp_path):
    tiers = [{'name': 'accept', 'thresholds': [0.6, 0.6, 0.6], 'kind': 'selective', 'risk': 0.05, 'reason': ''}]
    policy = written(tmp_path, rng, by='site', groups=['3', '4', '2026-01-02'], tiers=tiers)
    stream, state = tmp_path / 'today.csv', tmp_path / 'monitor.json'
    sites = {'known': ['3.0', '4', '2026-01-02 00:00:00'], 'new': ['3', '007', '2026-01-03']}
    for name, there in sites.items():
        known(rng, 90, site=np.array(there)[np.arange(90) % 3]).to_csv(stream, index=False)
        code, out, _ = monitor(policy, stream, state.with_stem(name), '--without_page', '--window=50')
        assert code == 0
        said = "'site' holds groups that the policy has no threshold for ('007', '2026-01-03')"
        assert (said in out) == (name == 'new') and ('no threshold for' in out) == (name == 'new')


def test_alarms_that_lack_their_labels_are_named_and_no_others(rng):
    def said(correct, confidence=0.9, **options):
        one = Monitor(*made(rng, **options), Options(window=50))
        one.update(confidence=np.full(50, confidence), correct=correct)
        return '\n'.join(words.summary(one, 1))

    none, some = np.full(50, np.nan), np.r_[1.0, np.full(49, np.nan)]
    assert 'realized_error and accepted_error go by labels, and of 50 units none' in said(none)
    assert 'go by labels' not in said(some) and 'goes by labels' not in said(some)
    # Those that a human looks at alone have labels.
    told = said(some, confidence=0.3)
    assert 'accepted_error goes by labels of what the policy accepts, and none of that has had one' in told


def test_only_columns_of_something_that_lacks_are_named():
    assert lookalikes(['id', 'confidence_mine', 'true_label']) == {'true_label': 'labels'}
    assert lookalikes(['Ground Truth', 'pred', 'datetime', 'gruop']) == {
        'Ground Truth': 'labels', 'pred': 'predicted', 'datetime': 'time', 'gruop': 'group',
    }  # fmt: skip
    assert lookalikes(['lables', 'is_correct']) == {'lables': 'labels', 'is_correct': 'correct'}
    # What is there already under one of its names, and columns of something else.
    for names in (['y_true', 'class'], ['correct', 'true_label'], ['Labels', 'truth'], ['timestamp', 'datetime'],
                  ['age', 'firmware', 'mid', 'update', 'predictor', 'corrected_vision', 'probs']):  # fmt: skip
        assert lookalikes(names) == {}


@pytest.mark.parametrize('form', ['csv', 'parquet'])
def test_units_that_come_again_are_counted_and_told(call, rng, tmp_path, form):
    first, second = known(rng, 150), known(rng, 130)
    second['id'] = [f's{i}' for i in range(130)]
    for table in (first, second):
        ended, said = call(table)
        assert 'counted in an earlier call' not in said and 'before it' not in said
    # Both in one file, which begins with the first: its rows are skipped, and the others are told.
    ended, said = call(pd.concat([first, second]), form=form)
    assert (ended.num_repeated, ended.num_rows) == (150, 130)
    assert 'note: 130 rows of this call had an id and a confidence that were counted in an earlier call' in said
    # In another order, with other times; of 20 rows that are new, none.
    shuffled = second.sample(frac=1, random_state=0).assign(time='28.03.2026 00:00')
    new = known(rng, 20, id=[f'n{i}' for i in range(20)])
    _, said = call(pd.concat([new, shuffled]), form=form)
    assert 'note: 130 rows of this call' in said and 'before it' not in said
    # Twice within one file; the same ids with other confidences are other units.
    _, said = call(pd.concat([known(rng, 40), new.assign(confidence_mine=0.123)] * 2), tmp_path / 'other.json')
    assert 'in this call, at least 60 rows had the id and the confidence of a row before it' in said
    assert 'earlier call' not in call(known(rng, 150), tmp_path / 'other.json')[1]


def test_the_sample_of_units_is_the_same_however_they_come_and_does_not_grow(rng, tmp_path):
    hashes = rng.integers(0, 2**64, 9 * MOST, dtype=np.uint64)
    whole = Seen().after(hashes)
    pieces = Seen()
    for piece in np.array_split(rng.permutation(np.r_[hashes, hashes[:70]]), 23):
        pieces = pieces.after(piece)
    assert pieces.hashes.tolist() == whole.hashes.tolist() == np.unique(hashes)[:MOST].tolist()
    assert Seen.from_json(whole.to_json()).hashes.tolist() == whole.hashes.tolist()
    assert Seen().after(hashes[:50]).share == 1 and whole.count(hashes) == MOST
    # A share of the units is in it, and as large a share of any others is found.
    assert whole.count(hashes[:3000]) / whole.share == pytest.approx(3000, rel=0.3)
    one, sizes = Monitor(*made(rng), Options(window=100)), []
    for number in range(4 * MOST // 500):
        ids = [f'{number:03d}-{i:03d}' for i in range(500)]
        one.update(confidence=units(rng, 500)[0], id=ids, predicted=rng.integers(0, 3, 500))
        save(one, tmp_path / 'state.json')
        sizes.append((tmp_path / 'state.json').stat().st_size)
    assert one.num_twice == one.num_again == 0
    assert max(sizes[2:]) < 1.02 * min(sizes[2:])
