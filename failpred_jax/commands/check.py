"""A look at the data of an experiment before anything is trained."""

from pathlib import Path

from failpred_jax.commands.command import Command, Given
from failpred_jax.registry import COMMANDS


def _run(given: Given) -> None:
    from failpred_jax import looking, processes
    from failpred_jax.config import read_config

    config = read_config(given.config)
    processes.from_main(lambda: looking.check(config, Path(given.workdir)))


COMMANDS.register('check')(
    Command('look at the data: counts, what deserves attention, a contact sheet; trains nothing', _run, can_force=False)
)
