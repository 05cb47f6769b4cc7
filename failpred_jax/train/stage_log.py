"""What a stage tells while it trains: a CSV, TensorBoard events through clu, a progress bar, plain sentences."""

import csv
import io
import math
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tqdm

from failpred_jax import processes
from failpred_jax.console import phase, say, say_once
from failpred_jax.errors import UserError
from failpred_jax.files import write_text

# Seconds between two lines on how far training is, where there is no bar: from the first, ever twice as long.
FIRST_WAIT, LONGEST_WAIT = 10.0, 300.0


def _make_summary_writer(folder: Path) -> Any:
    """Return clu's TensorBoard writer, or None where tensorflow or tensorboard cannot be imported."""
    # tensorflow prints about its CPU and missing GPUs as it loads; a reader of our output did not ask.
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            from clu import metric_writers

            return metric_writers.SummaryWriter(str(folder))
    except ImportError as error:
        say_once(
            f'TensorBoard events are not written ({error}); metrics.csv is. '
            'To have them: pip install tensorflow-cpu tensorboard'
        )
        return None


class StageLog:
    """The log of one stage. Every process may call it; only the main one writes."""

    def __init__(self, folder: Path, name: str, num_steps: int, first_step: int):
        self._path = folder / 'metrics.csv'
        self._writes = processes.is_main_process()
        self._rows = read_metrics(self._path) if self._writes else []
        with phase('loading TensorBoard'):
            self._writer = _make_summary_writer(folder / 'tensorboard') if self._writes else None
        self._name, self._num_steps = name, num_steps
        self._told, self._wait = time.monotonic(), FIRST_WAIT
        self._bar = tqdm.tqdm(
            total=num_steps,
            initial=first_step,
            desc=name,
            unit='step',
            disable=None if self._writes else True,  # None: a bar on a terminal, silence elsewhere
            dynamic_ncols=True,
        )

    def progress(self, step: int, loss: float, accuracy: float, examples_per_second: float) -> None:
        """Move the progress bar to `step`; where there is no terminal, say now and then how far it is."""
        self._bar.set_postfix_str(f'loss {loss:.4g}, accuracy {accuracy:.2%}, {examples_per_second:,.0f} examples/s')
        self._bar.update(step - self._bar.n)
        now = time.monotonic()
        if not self._bar.disable or step >= self._num_steps or now - self._told < self._wait:
            return
        say(f'{self._name}: step {step:,} of {self._num_steps:,}, loss {loss:.4g}, accuracy {accuracy:.2%}')
        self._told, self._wait = now, min(2 * self._wait, LONGEST_WAIT)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row to the CSV, which appears whole, and to TensorBoard. NaN is an undefined value."""
        if not self._writes:
            return
        # What was written of this step or later ones came before a kill, from which the run resumed further back.
        self._rows = [row for row in self._rows if int(row['step']) < step]
        self._rows.append({'step': str(step), **{name: repr(value) for name, value in values.items()}})
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        text = io.StringIO()
        table = csv.DictWriter(text, columns, lineterminator='\n')
        table.writeheader()
        table.writerows(self._rows)
        write_text(self._path, text.getvalue())
        if self._writer is not None:
            self._writer.write_scalars(step, values)

    def close(self) -> None:
        """Finish the bar and the event file."""
        self._bar.close()
        if self._writer is not None:
            self._writer.close()


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the rows of a stage's metrics.csv; none if there is no such file, a UserError if it is none of ours."""
    if not path.exists():
        return []
    try:
        with path.open(newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            int(row['step'])
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f'{path} cannot be read ({type(error).__name__}: {error}); restore it from a copy') from error
    return rows


def read_curves(path: Path) -> dict[str, list[float]]:
    """Return the columns of a stage's metrics.csv; a missing value is NaN."""
    rows = read_metrics(path)
    columns = dict.fromkeys(name for row in rows for name in row)
    return {name: [float(row.get(name) or math.nan) for row in rows] for name in columns}
