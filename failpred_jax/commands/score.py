"""The evaluation and report of anybody's predictions, without a model or a config."""

from pathlib import Path

from failpred_jax.commands.command import Command, Flag, Given
from failpred_jax.errors import UserError
from failpred_jax.registry import COMMANDS

PREDICTIONS = Flag(
    'predictions', str, '', 'FILE', 'an .npz or .csv with labels, logits or probs, and more (docs/predictions.md)'
)


def _check(given: Given) -> None:
    if not given.flags['predictions']:
        raise UserError('--mode=score needs --predictions=FILE, an .npz or .csv of predictions')


def _run(given: Given) -> None:
    from failpred_jax import scored_file

    workdir = given.flags['workdir']
    scored_file.score(Path(given.flags['predictions']), Path(workdir) if workdir else None, given.flags['force'])


COMMANDS.register('score')(
    Command(
        "evaluate a file of anybody's predictions and build its report; needs no config",
        _run,
        (PREDICTIONS,),
        _check,
        needs_config=False,
    )
)
