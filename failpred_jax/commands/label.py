"""What to label next, what labels that came back say, and which labels are doubtful."""

from pathlib import Path

from failpred_jax.commands.command import Command, Flag, Given
from failpred_jax.commands.decide import SCORE
from failpred_jax.commands.monitor import POLICY
from failpred_jax.commands.predict import INPUTS
from failpred_jax.commands.score import IGNORE_LABEL, PREDICTIONS, ignored
from failpred_jax.errors import UserError
from failpred_jax.registry import COMMANDS

STRATEGY = Flag(
    'strategy', str, '', 'NAME', 'how to choose: margin, confidence, entropy, badge, coreset, cluster_margin, or '
    'audit,\nwhose labels give an accuracy (docs/labelling.md)'
)  # fmt: skip
BUDGET = Flag('budget', int, None, 'N', 'how many to label')
SEED = Flag('seed', int, 0, 'N', 'of what is drawn at random: the same units for the same seed')
AUDIT = Flag('audit', str, '', 'FILE', "an audit's to_label.csv with its labels filled in: what accuracy they show")
ISSUES = Flag(
    'issues', bool, False, '', 'find labels that look wrong, from predictions of models that have not seen them'
)
TRAIN_ORIGIN = Flag(
    'train_origin', str, '', 'ORIGIN', "where a file's train_... predictions are from: crossfit, or insample (refused)"
)


def _check(given: Given) -> None:
    flags = given.flags
    asked = {
        '--strategy': bool(flags['strategy']), '--audit': bool(flags['audit']), '--issues': flags['issues'],
    }  # fmt: skip
    if sum(asked.values()) != 1:
        there = ' and '.join(name for name, is_set in asked.items() if is_set) or 'none of them'
        raise UserError(
            '--mode=label needs one of --strategy=NAME (what to label next), --audit=FILE (labels that came back) and '
            f'--issues (labels that look wrong); there is {there}'
        )
    has_run = bool(flags['workdir'] or given.config_name)
    if not flags['predictions'] and not has_run:
        raise UserError('--mode=label needs --predictions=FILE, or --workdir=DIR, the WORKDIR of a finished run')
    if flags['strategy']:
        if not flags['predictions'] and not flags['inputs']:
            raise UserError(
                '--strategy chooses among inputs without labels: give --inputs=FOLDER (images for the run), or '
                '--predictions=FILE'
            )
        if flags['predictions'] and flags['inputs']:
            raise UserError('--predictions and --inputs are both there; give one of them')
        if flags['budget'] is None:
            raise UserError('--strategy needs --budget=N, how many to label')
    elif flags['inputs'] or flags['budget'] is not None:
        alone = next((name for name in ('audit', 'issues') if flags[name]), '')
        leave = f'; leave them out with --{alone}' if alone else ''
        raise UserError(f'--inputs and --budget go with --strategy=NAME{leave}')
    if flags['seed'] < 0:
        raise UserError(f'--seed is {flags["seed"]}; it must be 0 or greater')


def _run(given: Given) -> None:
    from failpred_jax import processes

    if processes.is_one_of_several():
        raise UserError('--mode=label is for one process; start it without a job')
    if given.flags['predictions']:
        _of_file(given)
    else:
        _of_run(given)


def _of_file(given: Given) -> None:
    from failpred_jax import doubted, labelled, pools, scored_file, session

    flags = given.flags
    file, workdir = Path(flags['predictions']), Path(flags['workdir']) if flags['workdir'] else None
    if flags['issues']:
        # Before the file is evaluated, which takes longer.
        doubted.check_origin(flags['train_origin'])
        scored_file.scored(file, workdir, ignored(flags))
    with scored_file.workdir_of(file, workdir) as folder:
        if flags['issues']:
            doubted.issues_of_file(file, folder, flags['train_origin'], ignored(flags))
        elif flags['audit']:
            labelled.estimate(Path(flags['audit']), folder)
        else:
            policy = Path(flags['policy']) if flags['policy'] else None
            labelled.select(pools.pool_of_file(file, policy), _asked(given), folder)
        if (folder / 'evaluation' / 'metrics.json').exists():
            session.build_report(folder)


def _of_run(given: Given) -> None:
    from failpred_jax import compiler, doubted, labelled, pools, session

    flags = given.flags
    session.check_holds_run(given.workdir, given.mode)
    compiler.keep_compilations()
    if flags['issues']:
        doubted.issues_of_run(given.workdir)
    elif flags['audit']:
        labelled.estimate(Path(flags['audit']), given.workdir)
    else:
        asked = _asked(given)
        source = pools.pool_of_run(given.workdir, Path(flags['inputs']), labelled.reads_features(asked.strategy))
        labelled.select(source, asked, given.workdir)
    session.build_report(given.workdir)


def _asked(given: Given):
    from failpred_jax.labelled import Asked

    flags = given.flags
    return Asked(flags['strategy'], flags['budget'], flags['score'], flags['seed'])


COMMANDS.register('label')(
    Command(
        'what to label next, an accuracy from few labels, and labels that look wrong (docs/labelling.md)',
        _run,
        (PREDICTIONS, INPUTS, STRATEGY, BUDGET, SCORE, SEED, AUDIT, POLICY, ISSUES, TRAIN_ORIGIN, IGNORE_LABEL),
        _check,
        needs_config=False,
        can_force=False,
        instead={'output': 'results go to WORKDIR/labelling (--workdir=DIR)'},
    )
)
