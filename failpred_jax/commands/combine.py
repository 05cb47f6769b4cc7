"""Several components' confidences as one: fitted, compared and written, for --mode=decide to certify."""

from pathlib import Path

from failpred_jax.commands.command import Command, Flag, Given
from failpred_jax.commands.predict import OUTPUT
from failpred_jax.commands.score import PREDICTIONS, RIGHT_AT
from failpred_jax.errors import UserError
from failpred_jax.registry import COMMANDS

COMPONENTS = Flag('components', str, '', 'NAMES', 'scores of the file to combine, such as detector,classifier')
RULES = Flag(
    'rules', str, 'product,minimum,mean,noisy_or,logistic', 'NAMES', 'how to combine them (default: all that there are)'
)


def _check(given: Given) -> None:
    for flag, example in (
        (PREDICTIONS, 'a file with confidence_... of each component, and val_... of held-out units'),
        (COMPONENTS, 'such as detector,classifier'),
        (OUTPUT, 'such as combined.npz'),
    ):
        if not given.flags[flag.name]:
            raise UserError(f'--mode=combine needs --{flag.name}={flag.value}, {example} (docs/decisions.md)')


def _run(given: Given) -> None:
    from failpred_jax.combined import combine_file

    flags = given.flags
    components, rules = (
        [name.strip() for name in flags[flag.name].split(',') if name.strip()] for flag in (COMPONENTS, RULES)
    )
    combine_file(Path(flags['predictions']), components, rules, Path(flags['output']), flags['right_at'])


COMMANDS.register('combine')(
    Command(
        "several components' confidences as one, compared; of a file (docs/decisions.md)",
        _run,
        (PREDICTIONS, COMPONENTS, RULES, OUTPUT, RIGHT_AT),
        _check,
        needs_config=False,
        can_force=False,
    )
)
