"""The report of an evaluated run, from its evaluation folder alone."""

from failpred_jax.commands.command import Command, Given
from failpred_jax.registry import COMMANDS


def _run(given: Given) -> None:
    from failpred_jax import session

    session.check_holds_run(given.workdir, given.mode)
    session.build_report(given.workdir)


COMMANDS.register('report')(Command('rebuild the report of an evaluated run', _run, can_force=False))
