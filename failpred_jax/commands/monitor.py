"""A deployed model watched by its confidences; needs no JAX but for its page."""

import importlib.util
from pathlib import Path

from failpred_jax.commands.command import Command, Flag, Given
from failpred_jax.commands.predict import INPUTS
from failpred_jax.errors import AlarmRaised, UserError
from failpred_jax.registry import COMMANDS

POLICY = Flag('policy', str, '', 'FILE', 'policy.json of a decisions folder, with its reference.npz beside it')
STREAM = Flag(
    'stream', str, '', 'FILE', "what the model says of units as they come, in any format of predictions; '-': a pipe"
)
STATE = Flag(
    'state', str, '', 'FILE', 'NAME.json, which remembers what has passed; NAME.csv, .prom and .html go beside it'
)
WINDOW = Flag('window', int, None, 'N', 'units of a window (500 if nothing says otherwise)')
ALPHA = Flag('alpha', float, None, 'A', 'probability of any false alarm in the whole stream (0.05)')
RUN_LENGTH = Flag('run_length', int, None, 'N', 'instead of that, the mean number of units between false alarms')
TOLERANCE = Flag('tolerance', float, None, 'T', 'rise of the error rate that raises no alarm (0.01)')
ALARMS = Flag(
    'alarms', str, '', 'NAMES', 'estimated_error, confidence_ranks, realized_error, accepted_error (default: all)'
)
PAGE = Flag('without_page', bool, False, '', 'leave NAME.html as it is, for a call every minute')
_OPTIONS = (WINDOW, ALPHA, RUN_LENGTH, TOLERANCE)


def _check(given: Given) -> None:
    for flag, example in (
        (POLICY, 'runs/digits/decisions/policy.json'),
        (STREAM, 'predicted.csv'),
        (STATE, 'monitor.json'),
    ):
        if not given.flags[flag.name]:
            raise UserError(f'--mode=monitor needs --{flag.name}={flag.value}, such as {example} (docs/monitoring.md)')


def _run(given: Given) -> None:
    from failpred_jax.monitor import words
    from failpred_jax.monitor.running import run_monitor

    flags = given.flags
    asked = {flag.name: flags[flag.name] for flag in _OPTIONS if flags[flag.name] is not None}
    if flags['alarms']:
        asked['alarms'] = tuple(name.strip() for name in flags['alarms'].split(','))
    state = Path(flags['state'])
    ended = run_monitor(Path(flags['policy']), Path(flags['stream']), state, asked)
    monitor, num_new = ended.monitor, ended.num_new
    if said_of_rows := words.of_rows(ended.num_rows, ended.num_repeated):
        print(said_of_rows)
    if ended.left:
        print(words.of_left(ended.left, flags['stream']))
    of_groups = words.of_groups(ended.unknown, str(monitor.policy.content.get('by')))
    for said in filter(None, (words.of_late(ended.num_late), words.of_columns(ended.columns), of_groups)):
        print(said)
    print('\n'.join(words.summary(monitor, num_new)), flush=True)
    if not flags['without_page'] and importlib.util.find_spec('jax') and importlib.util.find_spec('plotly'):
        from failpred_jax.report.monitoring import build_page

        page = build_page(monitor, state, Path(flags['inputs']) if flags['inputs'] else None)
        print(f'page: {page}', flush=True)
    if monitor.raised:
        said = [
            words.of_alarm(alarm, monitor.raised[alarm.name]) for alarm in monitor.armed if alarm.name in monitor.raised
        ]
        raise AlarmRaised('\n'.join(said))


COMMANDS.register('monitor')(
    Command(
        'watch a deployed model by its confidences: estimated accuracy, live coverage, alarms (exit code 3)',
        _run,
        (POLICY, STREAM, STATE, WINDOW, ALPHA, RUN_LENGTH, TOLERANCE, ALARMS, PAGE, INPUTS),
        _check,
        needs_config=False,
        can_force=False,
        needs_jax=False,
        instead={'predictions': 'name the file with --stream=FILE'},
    )
)
