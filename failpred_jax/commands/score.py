"""The evaluation and report of anybody's predictions, without a model or a config."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from failpred_jax.commands.command import Command, Flag, Given
from failpred_jax.errors import UserError
from failpred_jax.registry import COMMANDS

PREDICTIONS = Flag(
    'predictions', str, '', 'FILE', 'labels, logits or probs, and more, as npz, csv, parquet, ... (docs/predictions.md)'
)
IGNORE_LABEL = Flag(
    'ignore_label',
    str,
    None,
    'LABEL',
    'leave out the units of this label, such as -1 or unknown; nothing after the =: those without a label',
)
RESAMPLES = Flag(
    'resamples', int, None, 'N', 'bootstrap resamples behind the intervals (default 1000); 0 for no intervals'
)
SLICE_BY = Flag(
    'slice_by', str, '', 'COLUMNS', 'report the units of each value of these columns too, as in site,scanner'
)
RIGHT_AT = Flag(
    'right_at', float, None, 'GRADE', 'where correct holds grades from 0 to 1: take those of at least GRADE as right'
)


def ignored(flags: Mapping[str, Any]) -> int | str | None:
    """Return what --ignore_label says: a number, a word, '' for a missing label, or None for nothing."""
    label = flags['ignore_label']
    return int(label) if label is not None and re.fullmatch(r'-?[0-9]{1,18}', label.strip()) else label


def _check(given: Given) -> None:
    if (given.flags['resamples'] or 0) < 0:
        raise UserError(f'--resamples is {given.flags["resamples"]}; it must be a whole number, 0 for no intervals')
    if not given.flags['predictions']:
        raise UserError('--mode=score needs --predictions=FILE, a file of predictions (docs/predictions.md)')


def _run(given: Given) -> None:
    from failpred_jax import scored_file

    flags = given.flags
    workdir = Path(flags['workdir']) if flags['workdir'] else None
    columns = [name.strip() for name in flags['slice_by'].split(',') if name.strip()]
    options = {'ignore_label': ignored(flags), 'right_at': flags['right_at'], 'slice_by': columns}
    if flags['resamples'] is not None:
        options['resamples'] = flags['resamples']
    scored_file.score(Path(flags['predictions']), workdir, flags['force'], **options)


COMMANDS.register('score')(
    Command(
        "evaluate a file of anybody's predictions and build its report; needs no config",
        _run,
        (PREDICTIONS, IGNORE_LABEL, RIGHT_AT, SLICE_BY, RESAMPLES),
        _check,
        needs_config=False,
    )
)
