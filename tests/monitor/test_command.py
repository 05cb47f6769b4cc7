"""--mode=monitor: streams of every format, exit codes, what is written, and what a killed call leaves."""

import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from e2e.command import run_here
from monitor.population import units, written
from PIL import Image

from failpred_jax.monitor import chunks, running

ROOT = Path(__file__).parents[2]


@pytest.fixture
def policy(rng, tmp_path):
    return written(tmp_path / 'decisions', rng, 2000)


def frame(rng, num, hard=0.0):
    """Return a stream as a table: 30 % of the rows have a label, every 97th no confidence."""
    confidence, right = units(rng, num, hard)
    known = (rng.random(num) < 0.3) & (np.arange(num) > 5)
    predicted = rng.integers(0, 3, num)
    labels = np.where(right, predicted, (predicted + 1) % 3)
    return pd.DataFrame({
        'id': [f'{i:04d}.png' for i in range(num)],
        'time': [f'day {1 + i // 500}' for i in range(num)],
        'predicted': predicted,
        'confidence_mine': np.where(np.arange(num) % 97 == 3, np.nan, confidence),
        'labels': pd.Series(np.where(known, labels, np.nan)).astype('Int64'),
    })  # fmt: skip


def monitor(policy, stream, state, *words):
    return run_here('--mode=monitor', f'--policy={policy}', f'--stream={stream}', f'--state={state}', *words)


def left(state):
    """Return what a call leaves beside its state, but for the page; the state's own name is left out.

    So are the files that were counted, of which a pipe has none.
    """
    body = json.loads(state.read_text())
    del body['digest'], body['content']['files']
    texts = [json.dumps(body), *(state.with_suffix(suffix).read_text() for suffix in ('.csv', '.prom'))]
    return [text.replace(f'monitor="{state.stem}"', '') for text in texts]


def test_every_format_in_parts_is_the_same_stream(policy, rng, tmp_path, monkeypatch):
    table = frame(rng, 1100)
    table.to_csv(tmp_path / 'a.csv', index=False)
    records = table.astype(object).where(table.notna(), None).to_dict('records')
    (tmp_path / 'b.jsonl').write_text(''.join(json.dumps(record) + '\n' for record in records))
    table.to_parquet(tmp_path / 'c.parquet', index=False)
    labels = table['labels'].to_numpy(float, na_value=np.nan)
    np.savez(
        tmp_path / 'd.npz',
        **{name: np.array(table[name].tolist()) for name in table if name != 'labels'},
        labels=labels,
    )
    monkeypatch.setattr(chunks, 'BLOCK_BYTES', 2000)
    monkeypatch.setattr(chunks, '_BATCH_ROWS', 77)
    found = {}
    for stream in ('a.csv', 'b.jsonl', 'c.parquet', 'd.npz', '-'):
        state = tmp_path / f'{stream[0]}_state.json'
        data = (tmp_path / 'a.csv').read_bytes()
        monkeypatch.setattr(sys, 'stdin', SimpleNamespace(buffer=io.BytesIO(data)))
        code, out, err = monitor(
            policy, stream if stream == '-' else tmp_path / stream, state, '--window=100', '--without_page'
        )
        assert code == 0, err
        assert '10 windows of 100 (10 new)' in out and 'page: ' not in out
        found[stream] = left(state)
    assert all(other == found['a.csv'] for other in found.values())
    rows = pd.read_csv(io.StringIO(found['a.csv'][1]))
    assert len(rows) == 10 and rows['left_out'].sum() == 11 and rows['first_time'][0] == 'day 1'


def test_an_alarm_is_exit_code_3_and_stays(policy, rng, tmp_path):
    state, pictures = tmp_path / 'monitor.json', tmp_path / 'pictures'
    frame(rng, 1000).to_csv(tmp_path / 'monday.csv', index=False)
    frame(rng, 2000, hard=0.5).to_csv(tmp_path / 'tuesday.csv', index=False)
    pictures.mkdir()
    for number in range(1000):
        Image.fromarray(np.full((8, 8), number % 256, np.uint8)).save(pictures / f'{number:04d}.png')
    code, out, err = monitor(policy, tmp_path / 'monday.csv', state, '--without_page')
    assert (code, err) == (0, '') and 'the probability that any ever goes off is at most 5 %' in out
    before = state.with_suffix('.csv').read_text()
    code, out, err = monitor(policy, tmp_path / 'tuesday.csv', state, f'--inputs={pictures}')
    assert code == 3 and 'alarm: ' in err and 'What to do' in err
    assert 'estimated_error, at unit 1,' in err or 'estimated_error, at unit 9' in err
    assert state.with_suffix('.csv').read_text().startswith(before)
    assert (
        'failpred_monitor_alarm{monitor="monitor",alarm="estimated_error"} 1' in state.with_suffix('.prom').read_text()
    )
    page = state.with_suffix('.html').read_text()
    assert page.count('data:image/png') > 12 and 'the window of the alarm' in page
    assert "default-src 'none'" in page.replace('&#39;', "'") and 'No alarm' not in page
    # It stays raised.
    assert monitor(policy, tmp_path / 'monday.csv', state, '--without_page')[0] == 3
    code, _, err = monitor(policy, tmp_path / 'monday.csv', state, '--alpha=0.01')
    assert code == 2 and 'was begun with alpha=0.05, and alpha=0.01 is asked for now' in err


def test_a_killed_call_on_a_file_can_be_repeated(policy, rng, tmp_path, monkeypatch):
    state, other = tmp_path / 'killed.json', tmp_path / 'whole.json'
    for name in ('monday', 'tuesday'):
        frame(rng, 700).to_csv(tmp_path / f'{name}.csv', index=False)
        assert monitor(policy, tmp_path / f'{name}.csv', other, '--window=100', '--without_page')[0] == 0
    monitor(policy, tmp_path / 'monday.csv', state, '--window=100', '--without_page')
    kept = state.read_text()

    def killed(*given):
        raise KeyboardInterrupt

    # Killed after the table was written and before the state was: the worst moment.
    with monkeypatch.context() as patched:
        patched.setattr(running, 'save', killed)
        assert monitor(policy, tmp_path / 'tuesday.csv', state, '--window=100', '--without_page')[0] == 130
    assert state.read_text() == kept and len(state.with_suffix('.csv').read_text().splitlines()) == 14
    assert monitor(policy, tmp_path / 'tuesday.csv', state, '--window=100', '--without_page')[0] == 0
    assert left(state) == left(other)


def start(policy, state):
    """Start a monitor of a pipe in a process of its own that has no JAX."""
    words = ['failpred', '--mode=monitor', f'--policy={policy}', '--stream=-', f'--state={state}', '--window=100']
    program = f"import sys; sys.modules['jax'] = None; from failpred_jax import main; sys.exit(main.main({words!r}))"
    return subprocess.Popen(
        [sys.executable, '-c', program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def send(process, table, state, num_windows):
    """Send rows, and wait until the state on disk has so many windows, while the pipe stays open."""
    process.stdin.write(table.to_csv(index=False).encode())
    process.stdin.flush()
    for _ in range(6_000):
        if state.exists() and json.loads(state.read_text())['content']['num_windows'] == num_windows:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError(f'no {num_windows} windows in {state}')


def test_a_pipe_is_followed_without_jax_and_goes_on_after_a_kill(policy, rng, tmp_path, monkeypatch):
    state, other = tmp_path / 'killed.json', tmp_path / 'other.json'
    table = frame(rng, 640).fillna({'confidence_mine': 0.9})
    table.to_csv(tmp_path / 'whole.csv', index=False)
    assert monitor(policy, tmp_path / 'whole.csv', other, '--window=100', '--without_page')[0] == 0
    process = start(policy, state)
    send(process, table[:350], state, 3)
    process.kill()
    process.communicate()
    # The state says how many rows it has taken.
    done = json.loads(state.read_text())['content']['num_rows']
    assert 300 <= done <= 350
    process = start(policy, state)
    send(process, table[done:480], state, 4)
    # Asked to stop, it saves all that it has read.
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 75 and b'everything that was read of the pipe is saved' in err
    monkeypatch.setattr(sys, 'stdin', SimpleNamespace(buffer=io.BytesIO(table[480:].to_csv(index=False).encode())))
    assert monitor(policy, '-', state, '--without_page')[0] == 0
    assert left(state) == left(other)


BAD = {
    'nothing': ('', "'.*' is empty"),
    'a misspelled column': ('id,confidnce_mine\na,0.5\n', "did you mean 'confidnce_mine'?"),
    'another score': (
        'id,confidence_yours\na,0.5\n',
        "has no column 'confidence_mine'. The policy decides by the score 'mine' and by no other",
    ),
    'a label out of range': (
        'predicted,labels,confidence_mine\n1,7,0.5\n',
        "'labels' has 1 value out of range, such as 7",
    ),
    'percentages': ('predicted,confidence_mine\n' + '1,97.5\n0,99\n', 'are from 97.5 to 99, .* divide them by 100'),
    'words in a late row': ('predicted,confidence_mine\n' + '1,0.5\n' * 300 + '1,high\n', "such as 'high'"),
    'a row cut short': ('predicted,confidence_mine\n1,0.5\n1\n', 'cannot be read as a table'),
    'another stream': ('confidence_mine\n0.5\n', 'other columns than the stream so far: predicted was True'),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_streams_are_one_message_and_leave_the_state(policy, rng, tmp_path, name):
    state = tmp_path / 'monitor.json'
    frame(rng, 150).drop(columns=['labels']).to_csv(tmp_path / 'good.csv', index=False)
    assert running.run_monitor(policy, tmp_path / 'good.csv', state, {'window': 50}).num_new == 2
    before = left(state)
    text, message = BAD[name]
    (tmp_path / 'bad.csv').write_text(text)
    code, out, err = monitor(policy, tmp_path / 'bad.csv', state)
    assert code == 2 and re.search(message, err) and 'Traceback' not in err, err
    assert len(err.splitlines()) == 1 and left(state) == before


def test_flags_and_files_that_do_not_go_together_are_refused(policy, rng, tmp_path):
    frame(rng, 60).to_csv(tmp_path / 'good.csv', index=False)
    state = tmp_path / 'monitor.json'
    for words, message in (
        ((policy, tmp_path / 'none.csv', state), "there is no file '.*none.csv'"),
        ((policy, tmp_path / 'good.csv', tmp_path / 'good.csv' / 'x.json'), "good.csv' is no folder"),
        ((policy, '', state, '--predictions=x.csv'), 'but --mode is monitor; name the file with --stream=FILE'),
        ((policy, tmp_path / 'good.csv', tmp_path / 'x.csv'), 'name a file that ends with .json'),
        ((tmp_path / 'p.json', tmp_path / 'good.csv', state), 'cannot be read as a policy'),
        ((policy, tmp_path / 'good.csv', state, '--window=3'), 'window is 3; allowed: from 20'),
        ((policy, tmp_path / 'good.csv', state, '--alarms=ranks'), "there is no alarm 'ranks'"),
        ((policy, tmp_path / 'good.csv', ''), '--mode=monitor needs --state=FILE'),
    ):
        code, _, err = monitor(*words)
        assert code == 2 and re.search(message, err), err
    assert not state.exists()
    state.with_suffix('.csv').write_text('mine,own\n1,2\n')
    code, _, err = monitor(policy, tmp_path / 'good.csv', state)
    assert code == 2 and 'no table of a monitor' in err
    assert state.with_suffix('.csv').read_text() == 'mine,own\n1,2\n'
