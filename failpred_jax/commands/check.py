"""A look at the data of an experiment before anything is trained."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from failpred_jax.commands.command import Command, Given
from failpred_jax.registry import COMMANDS

if TYPE_CHECKING:
    from failpred_jax.data import Data


def _run(given: Given) -> None:
    from failpred_jax import looking, prepared, processes, shifting
    from failpred_jax.config import read_config
    from failpred_jax.errors import UserError

    config = read_config(given.config)

    def obstacles(data: 'Data') -> Iterator[str]:
        looks = (lambda: prepared.check_run(config, data, given.workdir), lambda: shifting.check_shifts(config, data))
        for look in looks:
            try:
                look()
            except UserError as error:
                yield str(error)

    processes.from_main(lambda: looking.check(config, Path(given.workdir), obstacles))


COMMANDS.register('check')(
    Command('look at the data: counts, what deserves attention, a contact sheet; trains nothing', _run, can_force=False)
)
