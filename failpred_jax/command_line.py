"""The command line: which flags there are, what was given for them, and the help. Nothing slow is imported for it.

absl parses it, into a set of flags of its own for each call; what is no flag's value becomes a UserError.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags

from failpred_jax.commands.command import Command, Flag, Given
from failpred_jax.errors import DeclarationError, UserError, nearest
from failpred_jax.registry import COMMANDS
from failpred_jax.values import converted

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


def parse(argv: Sequence[str]) -> tuple[Command, Given]:
    """Return the command that a command line names, and what is given to it.

    Args:
      argv: the program's name and its words.

    Raises:
      UserError: a flag, a value, the config file or a key of the config is not there or not allowed.
    """
    own = _own_flags()
    words = _joined(with_two_dashes(argv[1:]))
    argv = _with_plain_config([*argv[:1], *map(_with_example, words)])
    known = [flag.name for flag in (*SHARED, *own.values(), *JOB)] + ['help', 'version']
    _check_words(argv, known)
    path, colon, argument = _config_given(argv).partition(':')
    if path and not Path(path).is_file():
        raise UserError(_missing_file(Path(path)))
    rest, overrides = _overrides().split(argv[1:]) if path else (argv[1:], [])
    values = _parse_flags([*argv[:1], *rest], own)
    config = _config(path, argument if colon else None, overrides) if path else None
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
    given = Given(mode, values, config, Path(path).stem)
    command.check_given(given)
    return command, given


def _own_flags() -> dict[str, Flag]:
    """Return name -> flag of all commands' own flags."""
    found: dict[str, Flag] = {flag.name: flag for flag in (*SHARED, *JOB)}
    for mode in COMMANDS:
        for flag in COMMANDS[mode].flags:
            if found.setdefault(flag.name, flag) != flag:
                raise DeclarationError(
                    f"command '{mode}' declares --{flag.name}, which is another flag; choose another name"
                )
    return {name: flag for name, flag in found.items() if flag not in (*SHARED, *JOB)}


def with_two_dashes(words: Sequence[str]) -> list[str]:
    """Return the words with -name as --name, which mean the same."""
    return [re.sub(r'^-(?=[A-Za-z_])', '--', word) for word in words]


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
    path = _value(SHARED[0], path)
    word = f'--config={path}{colon}{argument}'
    name = re.fullmatch(r'(\w+)|configs/(\w+)\.py', path)
    if name is None or Path(path).is_file() or (name[2] and Path('configs').is_dir()):
        return word
    example = EXAMPLES / f'{name[1] or name[2]}.py'
    return f'--config={example}{colon}{argument}' if example.is_file() else word


def _check_words(argv: Sequence[str], known: Sequence[str]) -> None:
    """Raise a UserError for a flag that is none, before a config file is read for it."""
    for word in argv[1:]:
        match = re.match(r'--([A-Za-z_]\w*)', word)
        if match is None:
            continue
        name = match[1]
        if name not in known and name.removeprefix('no') not in known:
            raise UserError(f"unknown flag '--{name}'{nearest(name, known)} (flags: --{', --'.join(known)})")
        if re.match(r'--(?:no)?config\.', word) and not _config_given(argv):
            key = word.lstrip('-').split('=')[0]
            raise UserError(f'--{key} is set, but --config=FILE is missing; name the experiment')


def _parse_flags(argv: Sequence[str], own: Mapping[str, Flag]) -> dict[str, Any]:
    """Return flag -> value."""
    given = flags.FlagValues()
    known = {flag.name: flag for flag in (*SHARED, *own.values(), *JOB)}
    for flag in known.values():
        define = flags.DEFINE_bool if flag.kind is bool else flags.DEFINE_string
        define(flag.name, flag.default if flag.kind is bool else None, flag.help, flag_values=given)
    try:
        rest = given(argv)
    except flags.IllegalFlagValueError as error:
        # Of truths alone: all others are texts to absl.
        name, _, text = str(error).partition(': ')[0].removeprefix('flag --').partition('=')
        raise UserError(f'--{name} is {text!r}; write --{name}, --{name}=true or --{name}=false') from error
    except flags.Error as error:
        raise UserError(str(error)) from error
    if len(rest) > 1:
        raise UserError(f"unexpected argument '{rest[1]}'; options are written --name=value (see --help)")
    return {name: _value(flag, given[name].value) for name, flag in known.items()}


def _value(flag: Flag, text: Any) -> Any:
    """Return the value of a flag: its default, if it was not given."""
    if flag.kind is bool or text is None:
        return flag.default if text is None else text
    try:
        return converted(flag.kind, text, largest=math.inf)
    except TypeError as error:
        raise UserError(f"--{flag.name} is '{text}'; it must be {error}") from error


def _config(path: str, argument: str | None, overrides: list[Any]) -> Any:
    """Return the config of a file, with what the command line sets in it."""
    from failpred_jax.config.file import load_config

    config = load_config(path, argument)
    _overrides().set_options(config, overrides)
    _overrides().check_used(config, overrides)
    return config


def _overrides() -> ModuleType:
    """Return config/overrides.py, which imports all that owns options; a command line without a config needs none."""
    from failpred_jax.config import overrides

    return overrides


def _with_plain_config(argv: Sequence[str]) -> Sequence[str]:
    """Return the words, with a config if a file of predictions, or a finished run, is decided by options of one.

    None is named then: a run's own options of decisions are those of its WORKDIR.
    """
    options = [word for word in argv if re.match(r'--(?:no)?config\.', word)]
    decides = options and all(re.match(r'--(?:no)?config\.decide\.', word) for word in options)
    if not decides or _config_given(argv):
        return argv
    workdir = _typed('workdir', argv)
    if _typed('predictions', argv):
        return [*argv[:1], f'--config={PLAIN}', *argv[1:]]
    if _typed('mode', argv) != 'decide' or not workdir:
        return argv
    return [*argv[:1], f'--config={PLAIN}:{_value(SHARED[1], workdir)}', *argv[1:]]


def _typed(name: str, argv: Sequence[str]) -> str:
    """Return what is typed for a flag, as --name=value or --name value; '' for none."""
    found = ''
    for word, after in zip(argv, [*argv[1:], ''], strict=True):
        if word == f'--{name}' or word.startswith(f'--{name}='):
            found = after if word == f'--{name}' else word.partition('=')[2]
    return found


def _config_given(argv: Sequence[str]) -> str:
    """Return what --config names, with the `:argument` that a config file may take; '' for none."""
    return next((word.removeprefix('--config=') for word in argv if word.startswith('--config=')), '')


def _missing_file(path: Path) -> str:
    shipped = sorted(file.stem for file in EXAMPLES.glob('*.py'))
    if not path.suffix and (file := path.with_suffix('.py')).is_file():
        return f"there is no config file '{path}'; did you mean '{file}'?"
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
