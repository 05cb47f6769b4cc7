"""A checkpoint of the paper's own code as finished stages of a run."""

from failpred_jax.commands.command import Command, Flag, Given
from failpred_jax.errors import UserError
from failpred_jax.registry import COMMANDS

CHECKPOINT = Flag('torch_checkpoint', str, '', 'FILE', 'the file (reading it needs the extra failpred_jax[torch])')


def _check(given: Given) -> None:
    if not given.flags['torch_checkpoint']:
        raise UserError('--mode=import_torch needs --torch_checkpoint=FILE, a checkpoint of the reference')


def _run(given: Given) -> None:
    from failpred_jax import session

    with session.opened(
        given.config, given.workdir, force=given.flags['force'], one_seed_for='--mode=import_torch'
    ) as run:
        run.import_torch(given.flags['torch_checkpoint'])


COMMANDS.register('import_torch')(
    Command("turn a checkpoint of the paper's own code into finished stages of this run", _run, (CHECKPOINT,), _check)
)
