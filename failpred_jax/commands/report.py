"""The report of an evaluated run, or of a scored file, from its evaluation folder alone."""

from failpred_jax.commands.command import Command, Given
from failpred_jax.errors import UserError
from failpred_jax.registry import COMMANDS


def _check(given: Given) -> None:
    if not given.flags['workdir'] and not given.config_name:
        raise UserError('--mode=report needs --workdir=DIR, the WORKDIR of an evaluated run or of a scored file')


def _run(given: Given) -> None:
    from failpred_jax import processes, session

    folder = given.workdir / 'evaluation'
    if not processes.from_main(lambda: (folder / 'metrics.json').exists()):
        session.check_holds_run(given.workdir, given.mode)
        raise UserError(f"'{folder}' holds no evaluation; --mode=evaluate makes one")
    session.build_report(given.workdir)


COMMANDS.register('report')(
    Command('rebuild the report of an evaluated run', _run, check=_check, needs_config=False, can_force=False)
)
