"""The command line: which flags there are, what was given for them, and the help. Nothing slow is imported for it.

absl and ml_collections parse it, into a set of flags of its own for each call; every way in which they fail becomes a
UserError.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from absl import flags
from ml_collections import config_flags

from failpred_jax.commands.command import Command, Flag, Given
from failpred_jax.errors import UserError, nearest
from failpred_jax.registry import COMMANDS

HELP = ('--help', '-h', '-help', '--helpfull', '--helpshort')
# Comes with the package: the checkout's configs/ under another name.
EXAMPLES = Path(__file__).parent / 'configs'
PLAIN = Path(__file__).parent / 'config' / 'plain.py'

SHARED = (
    Flag('config', str, '', 'FILE', 'the experiment, such as configs/digits.py; NAME finds an example of the package.\n'
         'Any key of it can be set on the command line, as in --config.baseline.epochs=20 or\n'
         '--config.evaluate.scores=mcp,confidnet; of several values for one key, the last counts'),
    Flag('workdir', str, '', 'DIR', 'where the run lives (default: runs/NAME for NAME.py); the same folder resumes it'),
    Flag('mode', str, 'run', 'MODE', ''),
    Flag('force', bool, False, '', 'move what WORKDIR holds aside and start afresh; nothing is deleted'),
)  # fmt: skip
JOB = (
    Flag('coordinator_address', str, '', 'HOST:PORT', 'where process 0 listens'),
    Flag('num_processes', int, None, 'N', 'how many processes the job has'),
    Flag('process_id', int, None, 'K', 'number of this process, from 0'),
    Flag('wait_seconds', float, 300.0, 'N', 'how long to wait for the others (default 300)'),
)
_DEFINE = {str: flags.DEFINE_string, int: flags.DEFINE_integer, float: flags.DEFINE_float, bool: flags.DEFINE_bool}


def parse(argv: Sequence[str]) -> tuple[Command, Given]:
    """Return the command that a command line names, and what is given to it.

    Args:
      argv: the program's name and its words.

    Raises:
      UserError: a flag, a value, the config file or a key of the config is not there or not allowed.
    """
    own = _own_flags()
    argv = _last_of_each_key(_with_plain_config([*argv[:1], *(_with_example(word) for word in _joined(argv[1:]))]))
    known = [flag.name for flag in (*SHARED, *own.values(), *JOB)] + ['help', 'version']
    _check_words(argv, known)
    # Looked for here: ml_collections puts a missing file off until the config is first used.
    path = _config_path(argv)
    if path and not Path(path).is_file():
        raise UserError(_missing_file(Path(path)))
    values = _parse_flags(_overrides().quoted(argv) if path else argv, path, own)
    mode = values['mode']
    if mode not in COMMANDS:
        raise UserError(f"--mode is '{mode}'{nearest(mode, COMMANDS)} (allowed: {', '.join(COMMANDS)})")
    command: Command = COMMANDS[mode]
    for name, flag in own.items():
        if flag not in command.flags and values[name] != flag.default:
            owners = ' or '.join(f'--mode={m}' for m in COMMANDS if flag in COMMANDS[m].flags)
            hint = command.instead.get(name, '')
            raise UserError(f'--{name} is for {owners}, but --mode is {mode}{"; " if hint else ""}{hint}')
    if values['wait_seconds'] <= 0:
        raise UserError(f'--wait_seconds is {values["wait_seconds"]:g}; it must be greater than 0')
    given = Given(mode, values, values['config'] if path else None, Path(path).stem)
    command.check_given(given)
    return command, given


def _own_flags() -> dict[str, Flag]:
    """Return name -> flag of all commands' own flags."""
    found: dict[str, Flag] = {flag.name: flag for flag in (*SHARED, *JOB)}
    for mode in COMMANDS:
        for flag in COMMANDS[mode].flags:
            if found.setdefault(flag.name, flag) != flag:
                raise ValueError(f"command '{mode}' declares --{flag.name}, which is another flag; choose another name")
    return {name: flag for name, flag in found.items() if flag not in (*SHARED, *JOB)}


def _joined(words: Sequence[str]) -> list[str]:
    """Return the words with '--config FILE' as '--config=FILE'."""
    words = list(words)
    if '--config' in words[:-1]:
        place = words.index('--config')
        words[place : place + 2] = [f'--config={words[place + 1]}']
    return words


def _with_example(word: str) -> str:
    """Return --config=NAME, or --config=configs/NAME.py where there is no such file, with the package's own example."""
    if not word.startswith('--config='):
        return word
    path, colon, argument = word.removeprefix('--config=').partition(':')
    name = re.fullmatch(r'(\w+)|configs/(\w+)\.py', path)
    if name is None or Path(path).is_file() or (name[2] and Path('configs').is_dir()):
        return word
    example = EXAMPLES / f'{name[1] or name[2]}.py'
    return f'--config={example}{colon}{argument}' if example.is_file() else word


def _last_of_each_key(argv: Sequence[str]) -> list[str]:
    """Return the words with the last --config.a.b=value of each key alone; ml_collections would add tuples up."""
    matches = [re.match(r'(--config\.[^=]+)=', word) for word in argv]
    keys = [match[1] if match else None for match in matches]
    last = {key: place for place, key in enumerate(keys)}
    return [word for place, (word, key) in enumerate(zip(argv, keys, strict=True)) if key is None or last[key] == place]


def _check_words(argv: Sequence[str], known: Sequence[str]) -> None:
    """Raise a UserError for a flag that is none, before a config file is read for it."""
    for word in argv[1:]:
        match = re.match(r'--?([A-Za-z_]\w*)', word)
        if match is None:
            continue
        name = match[1]
        if name not in known and name.removeprefix('no') not in known:
            raise UserError(f"unknown flag '--{name}'{nearest(name, known)} (flags: --{', --'.join(known)})")
        if re.match(r'--?(?:no)?config\.', word) and not _config_path(argv):
            key = word.lstrip('-').split('=')[0]
            raise UserError(f'--{key} is set, but --config=FILE is missing; name the experiment')


def _parse_flags(argv: Sequence[str], path: str, own: Mapping[str, Flag]) -> dict:
    """Return flag -> value."""
    given = flags.FlagValues()
    for flag in (*SHARED, *own.values(), *JOB):
        if flag.name != 'config':
            _DEFINE[flag.kind](flag.name, flag.default, flag.help, flag_values=given)
    config_flags.DEFINE_config_file('config', None, '', flag_values=given, sys_argv=list(argv))
    try:
        rest = given(argv)
    except (UserError, flags.Error) as error:
        raise UserError(_no_number(str(error))) from error
    # ml_collections raises a ValueError where an override goes on below a value.
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(_overrides().override_problem(argv, error, path)) from error
    except Exception as error:  # whatever a user's own config file raises as it is read
        raise UserError(_overrides().config_file_problem(error, path)) from error
    if path:
        _overrides().check_used(given['config'].value, argv)
    if len(rest) > 1:
        raise UserError(f"unexpected argument '{rest[1]}'; options are written --name=value (see --help)")
    return {name: given[name].value for name in given if not name.startswith('config.')}


def _no_number(problem: str) -> str:
    """Return a problem of a flag in words that say what it must be, where it is no number; others as they are."""
    found = re.fullmatch(r'flag --(\w+)=(.*): could not convert string to float: .*', problem, re.DOTALL)
    if found is None:
        return problem
    name, value = found.groups()
    percent = re.fullmatch(r'\s*(\d+(?:\.\d*)?)\s*%\s*', value)
    if percent is None:
        return f"--{name} is '{value}'; it must be a number, such as 0.05"
    return f"--{name} is '{value}'; it must be a share, such as {float(percent[1]) / 100:g}"


def _overrides() -> ModuleType:
    """Return config/overrides.py, which imports all that owns options; a command line without a config needs none."""
    from failpred_jax.config import overrides

    return overrides


def _with_plain_config(argv: Sequence[str]) -> Sequence[str]:
    """Return the words, with a config if a file of predictions is decided by options of one and none is named."""
    is_of_file = any(word.startswith('--predictions=') for word in argv)
    decides = any(re.match(r'--?(?:no)?config\.decide\.', word) for word in argv)
    if not (is_of_file and decides) or _config_path(argv):
        return argv
    return [*argv[:1], f'--config={PLAIN}', *argv[1:]]


def _config_path(argv: Sequence[str]) -> str:
    """Return the path that --config names, without the `:argument` that a config file may take; '' for none."""
    for word in argv:
        if word.startswith('--config='):
            return word.removeprefix('--config=').split(':')[0]
    return ''


def _missing_file(path: Path) -> str:
    shipped = sorted(file.stem for file in EXAMPLES.glob('*.py'))
    if path.name == str(path) and not path.suffix:
        return (
            f"there is no config file '{path}', and no example of that name in the package"
            f'{nearest(path.name, shipped)} (examples: {", ".join(shipped)})'
        )
    hint = f'the package has examples, --config=NAME: {", ".join(shipped)}'
    there = sorted(p.name for p in path.parent.glob('*.py')) if path.parent.is_dir() else []
    if not there:
        return f"there is no config file '{path}', and its folder '{path.parent}' has no config files at all; {hint}"
    return f"there is no config file '{path}'{nearest(path.name, there)} (in {path.parent}: {', '.join(there)}; {hint})"


def help_text() -> str:
    """Return the help: every flag and command."""
    lines = [
        'Train a classifier or segmenter, learn when it is wrong, and compare every confidence score on it.',
        '',
        '  failpred --config=FILE [--workdir=DIR] [--mode=MODE] [--force] [--config.any.key=value]',
        '  failpred --mode=score --predictions=FILE [--workdir=DIR]',
        '',
        '`python -m failpred_jax` and `python -m failpred_jax.main` are the same program as `failpred`.',
        '',
    ]
    for flag in SHARED:
        lines += _modes_help() if flag.name == 'mode' else _flag_help(flag)
    for mode in COMMANDS:
        for flag in COMMANDS[mode].flags:
            lines += _flag_help(flag, f'{mode}: ')
    lines += [
        f'  {"--version":<22} print the version',
        '',
        'Several hosts (docs/scaling.md): the same command on each, as launch/ has it. SLURM, Cloud TPU and the JAX_*',
        'variables of launch/k8s_jobset.yaml are understood; elsewhere, tell each process its place in the job:',
    ]
    for flag in JOB:
        lines += _flag_help(flag)
    return '\n'.join([*lines, '', _EXIT_CODES])


_EXIT_CODES = """\
Exit codes: 0 done; 2 something given is wrong, a disk cannot be written, or memory ran out (one message says what);
3 done, and an alarm of --mode=monitor has gone off;
75 stopped by SIGTERM or SIGINT with everything saved: the same command continues, as it does after any other end
(1: a bug of ours, or another process of the job was lost; 130: a second SIGINT; 141: the reader of a pipe left)."""


def _flag_help(flag: Flag, prefix: str = '') -> list[str]:
    name = f'--{flag.name}' + (f'={flag.value}' if flag.value else '')
    first, *rest = f'{prefix}{flag.help}'.split('\n')
    lines = [f'  {name:<22} {first}'] if len(name) <= 22 else [f'  {name}', f'{"":25}{first}']
    return lines + [f'{"":25}{line}' for line in rest]


def _modes_help() -> list[str]:
    width = max(map(len, COMMANDS))
    default = next(flag.default for flag in SHARED if flag.name == 'mode')
    modes = sorted(COMMANDS, key=lambda mode: mode != default)
    rows = [f'{mode:<{width}}  {COMMANDS[mode].summary}' for mode in modes]
    return [f'  {"--mode=MODE":<22} {rows[0]}', *(f'{"":25}{row}' for row in rows[1:])]
