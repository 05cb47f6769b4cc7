"""Every command of the documentation is one that the program, the benchmarks or the launchers take, flag for flag."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from failpred_jax import catalog, command_line
from failpred_jax.config import read_config

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md')),
    *sorted((ROOT / 'configs').glob('*.py')), *sorted((ROOT / 'benchmarks').glob('*.py')),
]  # fmt: skip
PROGRAM = ('python -m failpred_jax.main ', 'python -m failpred_jax ', 'failpred ', 'bash launch/run.sh ')
# How a line or a span of code begins that is a command, and one of ours.
OURS = re.compile(r'(python(3)? (-m )?(failpred_jax|benchmarks|examples)|failpred --|bash launch/|(\w+=\S+ )*sbatch )')
FENCED = re.compile(r'^```(\w*)\n(.*?)^```', re.DOTALL | re.MULTILINE)
# Words that stand for what the reader puts there.
PLACEHOLDERS = {'--config=FILE': '--config=configs/digits.py', '--mode=MODE': '--mode=run'}
EXAMPLE = '--config.any.key=value'
# The flags of the tests' own program.
OF_TESTS = {'--long', '-k', 'metrics'}


def commands_in(page: Path) -> list[str]:
    """Return the commands of a page, or of the first docstring of a file, each in one line."""
    text = page.read_text()
    if page.suffix == '.py':
        spans = (ast.get_docstring(ast.parse(text)) or '').replace('\\\n', ' ').splitlines()
    else:
        blocks = [block for language, block in FENCED.findall(text) if language in ('', 'bash', 'sh')]
        spans = [line for block in blocks for line in block.replace('\\\n', ' ').splitlines()]
        spans += re.findall(r'`([^`]+)`', FENCED.sub('', text))
    # A comment at a line's end, and a number that stands for a range, are no words of a command.
    found = (' '.join(re.sub(r'\s#.*', '', span).split()) for span in spans)
    return [command for command in found if OURS.match(command)]


FOUND = {(page.name, command): None for page in PAGES for command in commands_in(page)}


def words_of(command: str) -> list[str]:
    """Return the words, with what is optional, without what only stands for others."""
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(command.replace('[', '').replace(']', ''))]
    return [word for word in words if word != EXAMPLE]


def test_there_are_commands_of_every_kind():
    commands = [command for _, command in FOUND]
    for start in (*PROGRAM[::2][:1], 'bash launch/', 'python benchmarks/', 'python -m benchmarks.', 'sbatch '):
        assert any(command.startswith(start) for command in commands), start
    assert len(commands) > 50


@pytest.mark.parametrize('place', FOUND, ids=lambda place: f'{place[0]}: {place[1][:70]}')
def test_command(place, monkeypatch):
    monkeypatch.chdir(ROOT)
    _, command = place
    words = words_of(command)
    start = next((start for start in PROGRAM if f'{command} '.startswith(start)), None)
    if start is not None:
        check_program(words[len(start.split()) :])
    elif 'failpred_jax.catalog' in words:
        assert set(words[3:]) <= {*catalog.KINDS}
    else:
        check_script(words)


def check_program(words: list[str]) -> None:
    """Parse a command line of the program as it does, and check the config that comes of it."""
    if words:
        _, given = command_line.parse(['failpred', *words])
        if given.config is not None:
            read_config(given.config)


def check_script(words: list[str]) -> None:
    """Check that a script is there and knows the flags."""
    place = next(i for i, word in enumerate(words) if '/' in word or word.startswith('benchmarks.') or word == 'sbatch')
    name = words[place + 1] if words[place] == 'sbatch' else words[place]
    script = ROOT / (name if '/' in name else f'{name.replace(".", "/")}.py')
    assert script.is_file(), f'there is no {name}'
    rest = words[place + 1 :]
    if script.name == 'test.sh':
        assert set(rest) <= OF_TESTS
    elif script.suffix == '.py':
        # Benchmarks may share a command line.
        shared = re.findall(r'^from benchmarks\.(\w+) import', script.read_text(), re.MULTILINE)
        files = [script, *(ROOT / 'benchmarks' / f'{module}.py' for module in shared)]
        text = '\n'.join(file.read_text() for file in files)
        if 'parse_known_args' in text:
            # What a script does not know goes to the program.
            options = [word for word in rest if word.startswith('--config.')]
            check_program([word for word in rest if word.startswith('--config')])
            rest = [word for word in rest if word not in options]
        known = re.findall(r"add_argument\(\s*'(--[\w-]+)'", text)
        assert {word.split('=')[0] for word in rest if word.startswith('--')} <= set(known)
