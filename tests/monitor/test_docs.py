"""What docs/monitoring.md shows runs as it stands there."""

import contextlib
import re
import shlex
from pathlib import Path

import numpy as np
from monitor.population import units, written

from failpred_jax import main
from failpred_jax.monitor.alarms import Armed
from failpred_jax.monitor.options import ALARMS, Options

PAGE = (Path(__file__).parents[2] / 'docs' / 'monitoring.md').read_text()


def test_the_monitoring_page_runs(rng, tmp_path, capsys):
    written(tmp_path / 'runs' / 'digits' / 'decisions', rng)
    confidence, right = units(rng, 1100)
    np.savetxt(tmp_path / 'today.csv', np.column_stack([confidence, right]), delimiter=',',
               header='confidence_mine,correct', comments='')  # fmt: skip
    (command,) = re.findall(r'```\n(python -m failpred_jax.main .*?)\n```', PAGE)
    (service,) = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)
    with contextlib.chdir(tmp_path):
        assert main.main(['failpred', *shlex.split(command)[3:], '--without_page']) == 0
        for name in ('monitor.json', 'monitor.csv', 'monitor.prom'):
            assert Path(name).stat().st_size > 0
        for _ in range(110):
            exec(compile(service, 'monitoring.md', 'exec'), {})  # noqa: S102  (our own page)
    out = capsys.readouterr().out
    # 110 calls of two units: one window of 200, in which every second unit is far from the reference.
    assert out.count('Estimate(') == 1 and re.search(r"\n20 \[.*'confidence_ranks'.*\]\n$", out)
    assert '1,000 units in 2 windows of 500' in out


def test_the_page_names_every_alarm_and_the_defaults():
    assert all(f'| `{name}` |' in PAGE for name in ALARMS)
    options = Options()
    assert f'`--alpha={options.alpha}`' in PAGE and f'`--tolerance` ({options.tolerance})' in PAGE
    assert f'window of {options.window} units' in PAGE and Armed.__doc__
