"""What a monitor writes beside its state: one row per window, and figures for Prometheus."""

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from failpred_jax.errors import UserError
from failpred_jax.files import write_text
from failpred_jax.monitor.estimates import METHODS
from failpred_jax.monitor.monitor import Monitor
from failpred_jax.monitor.window import Window

_PREFIX = 'failpred_monitor'
# The label of a family of one sample.
_ALONE = ('', '')
_SINGLE = {
    'mean_confidence': 'Of the latest window.',
    'accepted_error': 'Estimated error rate of what is accepted, of the latest window.',
    'labeled': 'Units of the latest window with a label.',
    'labeled_accuracy': 'The share of these that is right.',
    'accepted_labeled_error': 'The share of the accepted ones among these that is wrong.',
    'ece_debiased': 'Of P(correct), where there are labels.',
    'brier': 'Of P(correct), where there are labels.',
}


class Table:
    """monitor.csv: as many rows as the state has windows, whatever a killed process left behind them.

      Rows are written before the state that counts them; rows that no state counts are cut off at the next start. A
      table
    without a state is moved aside.
    """

    def __init__(self, path: Path, num_windows: int):
        self._path = path
        self._header: list[str] | None = None
        if not path.exists() or not path.stat().st_size:
            return
        lines = path.read_bytes().splitlines(keepends=True)
        self._header = next(csv.reader([lines[0].decode(errors='replace')]))
        if self._header[0] != 'window':
            raise UserError(f"'{path}' is there already and is no table of a monitor; move it aside")
        if not num_windows:
            self._header = None
            path.rename(free_name(path))
            return
        # Rows may be missing, where somebody rotated the file; they are not made up.
        whole = [line for line in lines if line.endswith(b'\n') and _number(line) <= num_windows]
        if len(whole) < len(lines):
            os.truncate(path, len(b''.join(whole)))

    def add(self, windows: Sequence[Window]) -> None:
        """Add rows at the end, on disk when this returns."""
        if not windows:
            return
        text = io.StringIO()
        rows = [window.to_row() for window in windows]
        writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
        if self._header is None:
            writer.writeheader()
            self._header = list(rows[0])
        elif self._header != list(rows[0]):
            raise UserError(f"'{self._path}' has other columns than are written now; move it aside")
        writer.writerows(rows)
        with self._path.open('ab') as file:
            file.write(text.getvalue().encode('utf-8', 'replace'))
            file.flush()
            os.fsync(file.fileno())


def free_name(path: Path) -> Path:
    """Return a name beside a file that nothing has: NAME.old-1.csv, ..."""
    number = 1
    while (free := path.with_name(f'{path.stem}.old-{number}{path.suffix}')).exists():
        number += 1
    return free


def _number(row: bytes) -> int:
    digits = row.split(b',', 1)[0]
    return int(digits) if digits.isdigit() else 0


def write_prometheus(monitor: Monitor, path: Path) -> None:
    """Write the figures of the latest window for node-exporter's textfile collector; whole or not at all.

    Args:
      monitor: after its latest units.
      path: NAME.prom; every sample has the label monitor="NAME", since one folder may hold the files of several.
    """
    write_text(path, prometheus_text(monitor, path.stem))


def prometheus_text(monitor: Monitor, name: str) -> str:
    """Return the latest figures of the monitor of a name in Prometheus' text format; what is not known is left out.

    Reference: https://prometheus.io/docs/instrumenting/exposition_formats/.
    """
    lines: list[str] = []

    def family(family_name: str, kind: str, help_text: str, samples: Mapping[tuple[str, str], Any]) -> None:
        known = {label: value for label, value in samples.items() if value != ''}
        if known:
            full = f'{_PREFIX}_{family_name}'
            lines.extend([f'# HELP {full} {help_text}', f'# TYPE {full} {kind}'])
            lines.extend(f'{full}{_labels(name, *label)} {value!r}' for label, value in known.items())

    row = monitor.latest
    family('units_total', 'counter', 'Units in complete windows.', {_ALONE: monitor.num_units})
    family('windows_total', 'counter', 'Complete windows.', {_ALONE: monitor.num_windows})
    family('left_out_total', 'counter', 'Rows without a confidence.', {_ALONE: monitor.num_left_out})
    family('waiting_units', 'gauge', 'Units whose window is not complete yet.', {_ALONE: monitor.num_waiting})
    alarms = {('alarm', alarm.name): alarm for alarm in monitor.armed}
    family('alarm', 'gauge', '1 once it has gone off.', {k: int(a.name in monitor.raised) for k, a in alarms.items()})
    evidence = {k: row.get(f'log10_e_{a.name}', '') for k, a in alarms.items()}
    family('log10_e', 'gauge', 'Evidence of the alarm, logarithm to base 10.', evidence)
    levels = {k: a.log_level / math.log(10) for k, a in alarms.items()}
    family('log10_e_threshold', 'gauge', 'At which the alarm goes off.', levels)
    for end, of in (('', ''), ('_low', ', lower end of 95 %'), ('_high', ', upper end of 95 %')):
        found = {('method', m): row.get(f'accuracy_{m}{end}', '') for m in METHODS}
        family(f'estimated_accuracy{end}', 'gauge', f'Of the latest window, without labels{of}.', found)
    shares = {('action', action): row.get(f'share_{action}', '') for action in monitor.actions}
    family('share', 'gauge', 'Of the latest window, by what the policy does.', shares)
    for single, help_text in _SINGLE.items():
        family(single, 'gauge', help_text, {_ALONE: row.get(single, '')})
    return '\n'.join(lines) + '\n'


def _labels(name: str, key: str, value: str) -> str:
    def quoted(text: str) -> str:
        return text.replace('\\', r'\\').replace('"', r'\"').replace('\n', r'\n')

    more = f',{key}="{quoted(value)}"' if key else ''
    return f'{{monitor="{quoted(name)}"{more}}}'
