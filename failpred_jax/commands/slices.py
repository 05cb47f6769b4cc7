"""Where a model fails, and which kinds of low confidence grew."""

from pathlib import Path

from failpred_jax.commands.command import Command, Flag, Given
from failpred_jax.commands.label import SEED
from failpred_jax.commands.score import IGNORE_LABEL, PREDICTIONS, RIGHT_AT, ignored
from failpred_jax.errors import UserError
from failpred_jax.registry import COMMANDS

COLUMNS = Flag('columns', str, '', 'NAMES', 'search these columns, as in site,age (default: all)')
EARLIER = Flag(
    'earlier',
    str,
    '',
    'FILE',
    'predictions of an earlier time, without labels: which kinds of low confidence grew since',
)


def _check(given: Given) -> None:
    flags = given.flags
    if not flags['predictions'] and not flags['workdir'] and not given.config_name:
        raise UserError('--mode=slices needs --predictions=FILE, or --workdir=DIR, the WORKDIR of a finished run')
    if flags['earlier'] and not flags['predictions']:
        raise UserError('--earlier compares two files of predictions: give the later one, --predictions=FILE')
    if flags['seed'] < 0:
        raise UserError(f'--seed is {flags["seed"]}; it must be 0 or greater')


def _run(given: Given) -> None:
    from failpred_jax import compiler, processes, scored_file, session, sliced

    if processes.is_one_of_several():
        raise UserError('--mode=slices is for one process; start it without a job')
    flags = given.flags
    names = [name.strip() for name in flags['columns'].split(',') if name.strip()]
    asked = sliced.Asked(names or None, flags['seed'])
    if not flags['predictions']:
        session.check_holds_run(given.workdir, given.mode)
        compiler.keep_compilations()
        sliced.slices_of_run(given.workdir, asked)
        session.build_report(given.workdir)
        return
    file, workdir = Path(flags['predictions']), Path(flags['workdir']) if flags['workdir'] else None
    if not flags['earlier']:
        if names and file.exists():
            sliced.check_columns_of_file(file, names, ignored(flags), flags['right_at'])
        scored_file.scored(file, workdir, ignored(flags), flags['right_at'])
    with scored_file.workdir_of(file, workdir) as folder:
        if flags['earlier']:
            sliced.grown_of_files(Path(flags['earlier']), file, folder, asked)
        else:
            sliced.slices_of_file(file, folder, asked, ignored(flags), flags['right_at'])
        if (folder / 'evaluation' / 'metrics.json').exists():
            session.build_report(folder)


COMMANDS.register('slices')(
    Command(
        'where it fails: slices found on one half and confirmed on the other (docs/slices.md)',
        _run,
        (PREDICTIONS, COLUMNS, EARLIER, SEED, IGNORE_LABEL, RIGHT_AT),
        _check,
        needs_config=False,
        can_force=False,
        instead={
            'slice_by': '--columns=NAMES names what to search',
            'output': 'results go to WORKDIR/slices (--workdir=DIR)',
        },
    )
)
