"""Files that are fed again or that grew: every row is counted once, and what comes out is that of the whole."""

import numpy as np
import pandas as pd
import pytest
from monitor.population import units
from monitor.test_command import frame, left, monitor

from failpred_jax.errors import UserError
from failpred_jax.monitor import chunks, load, running
from failpred_jax.monitor.counted import instant
from failpred_jax.monitor.words import of_rows


@pytest.fixture
def taken(fed):
    """Return a function that feeds a table to a state and returns (rows counted before, rows counted now)."""

    def take(*table, **how):
        ended = fed(*table, **how)
        return ended.num_repeated, ended.num_rows

    return take


def test_a_file_that_grows_is_the_whole_file(taken, policy, rng, tmp_path, monkeypatch):
    table, state, other = frame(rng, 400), tmp_path / 'monitor.json', tmp_path / 'whole.json'
    assert taken(table, other) == (0, 400)
    assert taken(table[:15]) == (0, 15)
    assert taken(table[:170]) == (15, 155)
    # Neither parts nor formats matter, nor labels that came late.
    monkeypatch.setattr(chunks, 'BLOCK_BYTES', 700)
    late = table.assign(labels=table['labels'].fillna(1).where(np.arange(400) < 170, table['labels']))
    assert taken(late, form='parquet') == (170, 230)
    assert left(state) == left(other) and load(state, policy).files == load(other, policy).files
    kept = state.read_bytes()
    assert taken(table) == (400, 0) and state.read_bytes() == kept
    assert len(load(state, policy).files) == 1


def test_a_new_file_is_counted_and_older_ones_are_remembered(taken, rng):
    monday, tuesday = frame(rng, 120), frame(rng, 90)
    assert taken(monday) == (0, 120)
    assert taken(tuesday) == (0, 90)
    assert taken(monday) == (120, 0)
    assert taken(pd.concat([tuesday, monday])) == (90, 120)


@pytest.mark.parametrize('change', ['a row changed', 'a row gone', 'cut off'])
def test_a_file_that_was_rewritten_is_refused(taken, policy, rng, tmp_path, change):
    table, state = frame(rng, 120), tmp_path / 'monitor.json'
    taken(table)
    kept = state.read_bytes()
    changed = {
        'a row changed': lambda: pd.concat([table.assign(predicted=table['predicted'].where(table.index != 80, 0)
                                                         + (table.index == 80) * 2), frame(rng, 9)]),
        'a row gone': lambda: table.drop(index=50),
        'cut off': lambda: table[:60],
    }[change]()  # fmt: skip
    if change == 'a row changed':
        assert changed['predicted'].iloc[80] == 2
        changed.loc[changed.index == 80, 'confidence_mine'] = 0.123
    with pytest.raises(UserError, match='not with all the 120 rows that were counted of it.*rows that are new alone'):
        taken(changed)
    assert state.read_bytes() == kept


@pytest.mark.parametrize('form', ['csv', 'jsonl'])
def test_a_file_that_is_still_being_written_is_the_whole_file_in_the_end(form, policy, rng, tmp_path):
    table = frame(rng, 130).drop(columns='labels').dropna()
    whole = table.to_csv(index=False) if form == 'csv' else table.to_json(orient='records', lines=True)
    stream, once = tmp_path / f'stream.{form}', tmp_path / 'once.json'
    stream.write_text(whole)
    running.run_monitor(policy, stream, once, {'window': 50})
    for part in range(3):
        # Wherever it ends, in the header or a number or at a line's end: each line is counted once, and whole.
        state, counted = tmp_path / f'{part}.json', 0
        for end in [*sorted(rng.integers(1, len(whole), 6).tolist()), len(whole)]:
            stream.write_text(whole[:end])
            ended = running.run_monitor(policy, stream, state, {'window': 50})
            counted += ended.num_rows
            lines = whole[:end].split('\n')
            is_object = form == 'jsonl' and lines[-1].endswith('}')
            assert ended.left == ('' if is_object else lines[-1].strip())
            assert counted == max(0, len(lines) - 1 - (form == 'csv') + is_object)
        assert left(state) == left(once)


def test_a_line_that_is_left_is_said_with_what_ends_it(policy, tmp_path):
    stream, state = tmp_path / 'today.csv', tmp_path / 'monitor.json'
    stream.write_text('id,confidence_mine\na,0.5\nb,0.25')
    code, out, _ = monitor(policy, stream, state, '--without_page')
    assert code == 0 and "'b,0.25', does not end with a newline" in out and f"echo >> '{stream}'" in out
    assert '1 waits for the next' in out
    with stream.open('a') as file:
        file.write('\n')
    code, out, _ = monitor(policy, stream, state, '--without_page')
    assert code == 0 and '1 row was counted in an earlier call, 1 row is new' in out and 'newline' not in out


def test_rows_without_names_are_known_again_from_twenty_on(taken, rng):
    confidence, _ = units(rng, 60)
    table = pd.DataFrame({'confidence_mine': confidence})
    few = pd.DataFrame({'confidence_mine': [1.0] * 3})
    # Any file may begin with the same three confidences.
    assert taken(few) == (0, 3) and taken(few) == (0, 3)
    assert taken(table[:30]) == (0, 30) and taken(table) == (30, 30)


def test_what_is_said_and_an_empty_day(policy, rng, tmp_path):
    table, state = frame(rng, 60), tmp_path / 'new' / 'folder' / 'monitor.json'
    stream = tmp_path / 'today.csv'
    table[:0].to_csv(stream, index=False)
    for _ in range(2):
        code, out, err = monitor(policy, stream, state, '--without_page', '--window=50')
        assert (code, err) == (0, '') and out.startswith('0 new units: the stream has no rows\n')
    table.to_csv(stream, index=False)
    _, out, _ = monitor(policy, stream, state, '--without_page')
    assert out.startswith('monitor: 50 units in 1 window of 50 (1 new); 9 wait for the next\n  1 row had no confidence')
    code, out, _ = monitor(policy, stream, state, '--without_page')
    assert code == 0 and out.startswith('nothing new: these 60 rows were counted in an earlier call\nmonitor: 50 units')
    assert of_rows(1, 60) == '60 rows were counted in an earlier call, 1 row is new' and of_rows(5, 0) == ''


def test_times_are_instants_however_they_are_written(taken, rng):
    """Local time with its offset, UTC, csv and parquet: the same units are counted once, also in the lost hour."""
    table = frame(rng, 120).assign(time=pd.date_range('2026-03-29', periods=120, freq='97s', tz='Europe/Berlin'))
    utc = table.assign(time=table['time'].dt.tz_convert('UTC'))
    assert taken(table) == (0, 120)
    for same, form in ((table, 'parquet'), (utc, 'csv'), (utc, 'parquet')):
        assert taken(same, form=form) == (120, 0)
    zulu = utc['time'].dt.strftime('%Y-%m-%dT%H:%M:%SZ')
    assert taken(utc.assign(time=zulu)) == (120, 0)
    assert taken(utc.assign(time=utc['time'] + pd.Timedelta('1h'))) == (0, 120)
    assert instant('day 4') == 'day 4' and instant('2026-02-30') == '2026-02-30' and instant('0001-01-01 00:00+14:00')


def test_capitals_and_blanks_of_names_make_no_difference(taken, rng):
    table = frame(rng, 60).assign(time=pd.date_range('2026-03-29', periods=60, freq='97s'))
    assert taken(table) == (0, 60)
    written = {'time': 'Time', 'confidence_mine': 'Confidence Mine', 'id': 'ID'}
    for form in ('csv', 'parquet'):
        assert taken(table.rename(columns=written), form=form) == (60, 0)
    both = table.rename(columns=written).assign(**{'CONFIDENCE MINE': 0.5})
    with pytest.raises(UserError, match="no column 'confidence_mine'"):
        taken(both)
