"""The default: everything, from training to decisions and the report. What is done is not done again."""

from failpred_jax.commands.command import Command, Given
from failpred_jax.registry import COMMANDS


def _run(given: Given) -> None:
    from failpred_jax import session

    with session.opened(given.config, given.workdir, force=given.flags['force']) as run:
        run.check_can_evaluate()
        run.train()
        is_new = run.evaluate()
        is_new |= session.decide(given.workdir, run.config.decide, again=is_new, is_asked=False)
        # After the decisions, which are judged on shifted sets too.
        is_new |= run.measure_shifts()
        session.build_report(given.workdir, again=is_new)


COMMANDS.register('run')(
    Command('train all stages, evaluate, decide, report (default); finished parts are not repeated', _run),
)
