"""Where there is no terminal, training says now and then how far it is."""

import pytest

from failpred_jax.train import stage_log
from failpred_jax.train.stage_log import FIRST_WAIT, LONGEST_WAIT, StageLog


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(stage_log, '_make_summary_writer', lambda folder: None)
    seconds = [100.0]
    monkeypatch.setattr(stage_log.time, 'monotonic', lambda: seconds[0])
    return seconds


def lines(clock, capsys, folder, num_steps, seconds_per_step):
    log = StageLog(folder, 'baseline', num_steps, 0)
    for step in range(1, num_steps + 1):
        clock[0] += seconds_per_step
        log.progress(step, 0.5, 0.75, 10.0)
    log.close()
    return [
        int(line.split()[2].replace(',', ''))
        for line in capsys.readouterr().out.splitlines()
        if line.startswith('baseline: step')
    ]


def test_short_training_says_nothing_in_between(tmp_path, clock, capsys):
    assert lines(clock, capsys, tmp_path, 9, FIRST_WAIT / 10) == []


def test_lines_come_ever_more_rarely_and_not_for_the_last_step(tmp_path, clock, capsys):
    told = lines(clock, capsys, tmp_path, 2000, 1.0)
    waits = [later - earlier for earlier, later in zip([0, *told], told, strict=False)]
    assert waits[:3] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT]
    assert waits == sorted(waits) and max(waits) == LONGEST_WAIT
    assert told[-1] < 2000
