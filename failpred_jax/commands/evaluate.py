"""Measuring what is trained, with all stages or up to one of them."""

from failpred_jax.commands.command import Command, Flag, Given
from failpred_jax.errors import UserError
from failpred_jax.registry import COMMANDS

STAGE = Flag('stage', str, '', 'STAGE', "use this stage's weights and those before it (baseline, confidence, finetune)")
STEP = Flag('step', int, None, 'STEP', "use the checkpoint of this step instead of that stage's best (needs --stage)")


def _check(given: Given) -> None:
    if given.flags['step'] is not None and not given.flags['stage']:
        raise UserError('--step is set without --stage; say which stage it is a step of')


def _run(given: Given) -> None:
    from failpred_jax import session

    session.check_holds_run(given.workdir, given.mode)
    stage = given.flags['stage'] or None
    with session.opened(given.config, given.workdir, one_seed_for='--stage' if stage else '') as run:
        run.evaluate(stage, given.flags['step'], again=True)
        run.measure_shifts()


COMMANDS.register('evaluate')(
    Command('measure a trained run on its test split', _run, (STAGE, STEP), _check, can_force=False)
)
