"""From a file of predictions to an evaluation and a report: which WORKDIR it gets, and what it already holds.

A WORKDIR belongs to the content of one file, which `predictions.json` remembers from before anything is written. So an
the same command continues an interrupted scoring, and the result of another file is never overwritten.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from failpred_jax import compiler, files, processes
from failpred_jax.config import DecideConfig
from failpred_jax.console import say
from failpred_jax.decided import FOLDER as DECISIONS
from failpred_jax.decided import check_parts, decide_run, has_units, make, write_made
from failpred_jax.errors import UserError
from failpred_jax.evaluate.shift_table import to_table
from failpred_jax.files import read_json, write_json
from failpred_jax.locking import LOCK, InUse, LockedFolder
from failpred_jax.predictions import evaluate_file
from failpred_jax.readers.reading import PIPE, spooled_input
from failpred_jax.results import write_evaluation
from failpred_jax.results.beside import FOLDERS, SHIFTED, with_beside
from failpred_jax.results.shifted import write_shifted

MARK = 'predictions.json'
# All that a scoring writes.
OURS = (MARK, 'evaluation', 'report', *FOLDERS)


def score(
    predictions: Path,
    workdir: Path | None,
    force: bool = False,
    ignore_label: int | str | None = None,
    resamples: int | None = None,
    right_at: float | None = None,
    slice_by: Sequence[str] = (),
    decisions: DecideConfig | None = None,
    must_decide: bool = False,
) -> None:
    """Evaluate a file of predictions into a WORKDIR and build the report there; see prediction_file.py.

    Args:
      predictions: the file; '-' is standard input.
      workdir: the WORKDIR; None for a folder below runs/ that is named after the file and free, or its own.
      force: move what the WORKDIR holds aside first.
      ignore_label: units of this label are left out.
      resamples: behind the intervals; 0 for none, None for the usual number.
      right_at: grades of at least this are right, lower ones wrong; None measures the grades.
      slice_by: names of columns, whose values are reported for themselves.
      decisions: their options, which are made where the file has units for them; None for the defaults.
      must_decide: whether a file that has none is an error.

    Raises:
      UserError: the file has problems, or the WORKDIR holds something else.
    """
    compiler.keep_compilations()
    # There is nothing to divide; the other processes of a job wait.
    asked = {'right_at': right_at, 'slice_by': slice_by or None, 'resamples': resamples}
    options = {name: value for name, value in asked.items() if value is not None}
    how = _How(force, ignore_label, options, decisions or DecideConfig(), must_decide)
    processes.from_main(lambda: _score(predictions, workdir, how))


class _How(NamedTuple):
    force: bool
    ignore_label: int | str | None
    options: Mapping[str, Any]
    decisions: DecideConfig
    must_decide: bool


def _score(predictions: Path, workdir: Path | None, how: _How, name: str = '') -> None:
    if str(predictions) == PIPE:
        with spooled_input() as file:
            _score(file, workdir or Path('runs') / 'standard_input', how, 'standard input')
        return
    digest = _digest(predictions)
    with _opened(predictions, digest, workdir, how.force) as folder:
        asked: dict[str, Any] = {}
        if how.must_decide:
            asked = {'must_have': how.decisions.score, 'check': lambda parts: check_parts(parts, how.decisions)}
        table = evaluate_file(predictions, how.ignore_label, name, **asked, **how.options)
        # Before anything is written.
        made = make(table.evaluation, how.decisions) if how.must_decide else None
        write_evaluation(table.evaluation, table.text, folder / 'evaluation')
        say(str(table))
        if (shifted := table.shifted) is not None:
            write_shifted(shifted, to_table(shifted, table.evaluation.run.dataset.name), folder / SHIFTED)
        if made is not None:
            write_made(made, folder / DECISIONS)
        elif has_units(folder / 'evaluation', how.decisions):
            try:
                decide_run(folder, how.decisions, is_asked=False)
            except UserError as error:
                # Nobody asked for them; the evaluation is whole.
                say(f'no decisions (--mode=decide makes them): {error}')
        # plotly takes a second to import.
        from failpred_jax import report

        evaluation = with_beside(table.evaluation, folder)
        say(f'report: {report.build(evaluation, folder / "report")}')


@contextlib.contextmanager
def workdir_of(predictions: Path, workdir: Path | None) -> Iterator[Path]:
    """Yield the WORKDIR of a file of predictions, locked: the one that is named, or else as `score` would choose it.

    Raises:
      UserError: it holds something else than what belongs to this file.
    """
    if str(predictions) == PIPE:
        raise UserError('standard input can be read but once; give a file, --predictions=FILE')
    if not predictions.exists():
        raise UserError(f"there is no file '{predictions}'")
    with _opened(predictions, _digest(predictions), workdir, force=False) as folder:
        yield folder


def scored(
    predictions: Path, workdir: Path | None, ignore_label: int | str | None = None, right_at: float | None = None
) -> None:
    """Evaluate a file of predictions as `score` does, unless its WORKDIR has that already."""
    with workdir_of(predictions, workdir) as folder:
        is_there = (folder / 'evaluation' / 'metrics.json').exists()
    if not is_there:
        score(predictions, workdir, ignore_label=ignore_label, right_at=right_at)


def _digest(file: Path) -> str:
    """Return a digest of a file's content; '' for what is no file, which reading it will refuse."""
    try:
        with file.open('rb') as stream:
            return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return ''


@contextlib.contextmanager
def _opened(predictions: Path, digest: str, workdir: Path | None, force: bool) -> Iterator[Path]:
    """Yield the WORKDIR, locked and marked; it is given back as it was if an error ends the block without a result."""
    locked = LockedFolder(workdir) if workdir else _free_folder(predictions, digest)
    folder = locked.path
    has_mark = (folder / MARK).exists()
    try:
        contents = _contents(folder)
        if contents and force:
            locked.move_aside()
            has_mark = False
        elif problem := _not_for(folder, digest):
            raise UserError(f'{problem}; choose another with --workdir=DIR, or move it aside with --force')
        files.sweep(folder)
        write_json(folder / MARK, {'file': str(predictions), 'digest': digest})
        yield folder
    except BaseException:
        if not (folder / 'evaluation' / 'metrics.json').exists() and not has_mark:
            with contextlib.suppress(OSError):
                _clear(folder)
                locked.undo()
        raise
    finally:
        locked.close()


def _clear(folder: Path) -> None:
    files.sweep(folder)
    (folder / MARK).unlink(missing_ok=True)
    for name in ('evaluation', 'report'):
        if (folder / name).is_dir() and not any((folder / name).iterdir()):
            (folder / name).rmdir()


def _free_folder(predictions: Path, digest: str) -> LockedFolder:
    """Return a folder below runs/ that is the file's own or free, named after the file, with a number if need be."""
    name = _default_name(predictions)
    number = 1
    while True:
        folder = Path('runs') / (name if number == 1 else f'{name}-{number}')
        number += 1
        if _not_for(folder, digest):
            continue
        try:
            locked = LockedFolder(folder)
        except InUse:
            if _mark(folder) == digest:
                raise
            continue
        if not _not_for(folder, digest):
            return locked
        # Another process was faster.
        locked.undo()


def _default_name(predictions: Path) -> str:
    """Return the file's name, with those of the folders that tell one run's predictions.npz from another's."""
    path = predictions.absolute()
    if path.stem != 'predictions':
        return path.stem
    folders = [part for part in path.parts[1:-1] if part != 'evaluation']
    own = [folders[-1]] if folders else []
    if own and own[0].startswith('seed_') and len(folders) > 1:
        own = folders[-2:]
    return '-'.join([*own, path.stem])


def _not_for(folder: Path, digest: str) -> str:
    """Return why a folder cannot take the evaluation of the file with this digest; '' if it can."""
    contents = _contents(folder)
    strange = [name for name in contents if name not in OURS and not name.startswith(f'{DECISIONS}-')]
    if strange:
        return (
            f"the WORKDIR '{folder}' holds something else than an evaluation of predictions ({', '.join(strange[:5])})"
        )
    mark = _mark(folder)
    if mark == digest or not (folder / 'evaluation' / 'metrics.json').exists():
        return ''
    return f"the WORKDIR '{folder}' holds the evaluation of another file, or of this one before its content changed"


def _mark(folder: Path) -> str:
    """Return the digest of the file that a folder belongs to; '' for none."""
    try:
        return str(read_json(folder / MARK)['digest'])
    except (OSError, ValueError, LookupError, TypeError):
        return ''


def _contents(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if p.name != LOCK and not files.is_unfinished(p))
