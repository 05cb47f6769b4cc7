"""Decisions: certified thresholds and a policy, for a finished run or for anybody's predictions."""

from pathlib import Path

from failpred_jax.commands.command import Command, Flag, Given
from failpred_jax.commands.predict import OUTPUT
from failpred_jax.commands.score import IGNORE_LABEL, PREDICTIONS, RESAMPLES, RIGHT_AT, ignored
from failpred_jax.errors import UserError, share_of_percent
from failpred_jax.registry import COMMANDS

RISK = Flag('risk', float, None, 'R', 'promise that at most this share of what is accepted is wrong, such as 0.02')
DELTA = Flag('delta', float, None, 'D', 'the promise may fail with this probability (0.05 if nothing says otherwise)')
SCORE = Flag(
    'score', str, '', 'NAME', 'the score to go by, named beforehand (else: decide, the best on validation units;\n'
    'label, the learned one)'
)  # fmt: skip


def _check(given: Given) -> None:
    if not given.flags['predictions'] and given.config is None and not given.flags['workdir']:
        raise UserError(
            '--mode=decide needs a finished run (--config=FILE or --workdir=DIR), or --predictions=FILE with cal_... '
            '(docs/decisions.md)'
        )
    for flag in (RISK, DELTA):
        share = given.flags[flag.name]
        if share is not None and not 0 < share < 1:
            raise UserError(
                f'--{flag.name} is {share:g}{share_of_percent(share)}; it must be greater than 0 and less than 1'
            )
    if given.flags['output'] and given.flags['predictions']:
        raise UserError('--output tries decisions of a finished run elsewhere; of a file, name another --workdir=DIR')
    if given.flags['force'] and not given.flags['predictions']:
        raise UserError('--force starts a run afresh, but --mode=decide works on a finished one; leave it out')


def _run(given: Given) -> None:
    from failpred_jax import scored_file, session

    flags = given.flags
    own = {'risks': (flags['risk'],)} if flags['risk'] is not None else {}
    own |= {name: flags[name] for name in ('delta', 'score') if flags[name] not in (None, '')}
    if flags['predictions']:
        scored_file.score(
            Path(flags['predictions']),
            Path(flags['workdir']) if flags['workdir'] else None,
            flags['force'],
            ignore_label=ignored(flags),
            right_at=flags['right_at'],
            resamples=flags['resamples'],
            decisions=session.decide_options(given.config, None, own),
            must_decide=True,
        )
        return
    session.check_holds_run(given.workdir, given.mode)
    if flags['output']:
        options = session.decide_options(given.config, given.workdir, own)
        session.try_decisions(given.workdir, options, Path(flags['output']))
        return
    session.decide(given.workdir, session.decide_options(given.config, given.workdir, own))
    session.build_report(given.workdir)


COMMANDS.register('decide')(
    Command(
        'certify thresholds and write a policy: of a finished run, or with --predictions=FILE',
        _run,
        (PREDICTIONS, IGNORE_LABEL, RIGHT_AT, RESAMPLES, RISK, DELTA, SCORE, OUTPUT),
        _check,
        needs_config=False,
    )
)
