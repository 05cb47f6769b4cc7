"""Several confidences as one: fitted, compared and written, for --mode=decide to certify.

Components by a rule, or, with a stream of units without labels, a ranker of errors and a score that tells strangers.
"""

from pathlib import Path

from failpred_jax.commands.command import Command, Flag, Given
from failpred_jax.commands.monitor import STREAM
from failpred_jax.commands.predict import OUTPUT
from failpred_jax.commands.score import PREDICTIONS, RIGHT_AT
from failpred_jax.errors import UserError, share_of_percent
from failpred_jax.registry import COMMANDS

COMPONENTS = Flag('components', str, '', 'NAMES', 'scores of the file to combine, such as detector,classifier')
_ALL_RULES = 'product,minimum,mean,noisy_or,logistic'
RULES = Flag('rules', str, '', 'NAMES', 'how to combine them (default: all that there are)')
COVERAGE = Flag(
    'coverage', float, None, 'C', 'with --stream: accept over the threshold that accepts this share of the validation\n'
    'units (0.95)'
)  # fmt: skip


def _check(given: Given) -> None:
    flags = given.flags
    if flags['stream']:
        _check_stream(given)
    for flag, example in (
        (PREDICTIONS, 'a file with confidence_... of each component, and val_... of held-out units'),
        (COMPONENTS, 'such as mcp,knn_distance' if flags['stream'] else 'such as detector,classifier'),
        (OUTPUT, 'such as combined.npz'),
    ):
        if not flags[flag.name] and not (flag is PREDICTIONS and flags['stream']):
            page = 'docs/shift.md' if flags['stream'] else 'docs/decisions.md'
            raise UserError(f'--mode=combine needs --{flag.name}={flag.value}, {example} ({page})')
    if flags['coverage'] is not None and not flags['stream']:
        raise UserError('--coverage says what of a stream is accepted; name the stream, --stream=FILE, or leave it out')


def _check_stream(given: Given) -> None:
    flags, has_run = given.flags, bool(given.flags['workdir'] or given.config_name)
    if bool(flags['predictions']) == has_run:
        raise UserError(
            '--mode=combine --stream=FILE needs labeled units: --predictions=FILE with val_..., or --workdir=DIR of a '
            'finished run, one of the two (docs/shift.md)'
        )
    if flags['rules']:
        raise UserError('--rules combines components; with --stream two scores are fitted to it: leave one of them out')
    if flags['coverage'] is not None and not 0 < flags['coverage'] <= 1:
        percent = share_of_percent(flags['coverage'])
        raise UserError(f'--coverage is {flags["coverage"]}{percent}; it must be over 0 and at most 1, such as 0.95')


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(',') if name.strip()]


def _run(given: Given) -> None:
    flags = given.flags
    components, output, right_at = _names(flags['components']), Path(flags['output']), flags['right_at']
    if not flags['stream']:
        from failpred_jax.combined import combine_file

        rules = _names(flags['rules'] or _ALL_RULES)
        combine_file(Path(flags['predictions']), components, rules, output, right_at)
        return
    from failpred_jax import session
    from failpred_jax.streamed import fit_to_stream

    if not flags['predictions']:
        session.check_holds_run(given.workdir, given.mode)
    labeled = Path(flags['predictions']) if flags['predictions'] else given.workdir
    coverage = 0.95 if flags['coverage'] is None else flags['coverage']
    fit_to_stream(labeled, components, Path(flags['stream']), output, coverage, right_at)


COMMANDS.register('combine')(
    Command(
        "several components' confidences as one, compared; or two scores, fitted to a stream without labels",
        _run,
        (PREDICTIONS, COMPONENTS, RULES, STREAM, COVERAGE, OUTPUT, RIGHT_AT),
        _check,
        needs_config=False,
        can_force=False,
    )
)
