"""Training alone."""

from failpred_jax.commands.command import Command, Given
from failpred_jax.registry import COMMANDS


def _run(given: Given) -> None:
    from failpred_jax import session

    with session.opened(given.config, given.workdir, force=given.flags['force']) as run:
        run.train()


COMMANDS.register('train')(Command('train all stages', _run))
