"""Imports point one way, and no file or function needs a tour; see docs/architecture.md."""

import ast
import functools
from pathlib import Path

import pytest

import failpred_jax

ROOT = Path(failpred_jax.__file__).parent
# A module may import from lower levels, and from its own room.
LEVELS = [
    {
        'apply', 'blocks', 'compiler', 'errors', 'types', 'registry', 'options', 'files', 'locking', 'launcher',
        'endings', 'indexes', 'stopping', 'terminal', 'threads', 'values',
    },
    {'processes'},
    {'console', 'results', 'outcomes', 'readers'},
    {'prediction_file'},
    {'config', 'monitor'},
    {'devices'},
    {'data', 'models', 'losses', 'metrics'},
    {'calibrate', 'shift', 'overlaps'},
    {'scores'},
    {'decide'},
    {'label', 'slicing'},
    {'train', 'workdir'},
    {'weights'},
    {
        'stages',
        'evaluate',
        'report',
    },
    {'finished_run', 'predicted', 'taken_images'},
    {'prepared', 'scored_parts', 'shared_parts', 'predictor', 'catalog', 'looking', 'decided'},
    {'predictions'},
    {'run_evaluation', 'scored_file', 'predicting', 'exporting', 'combined', 'shifting'},
    {'pools', 'streamed'},
    {'labelled'},
    {'doubted', 'sliced'},
    {'experiment'},
    {'several_seeds'},
    {'session'},
    {'commands'},
    {'command_line'},
    {'main'},
    {'__main__'},
]  # fmt: skip
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
# Modules of the lowest level may use one another; there are no rooms there.
ONE_ROOM = LEVELS[0]
FILES = sorted(ROOT.rglob('*.py'))
TESTS = sorted(Path(__file__).parent.rglob('*.py'))
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 350, 60


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix('.py')


@functools.cache
def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}:{node.lineno} imports relatively'
            found |= {f'{node.module}.{alias.name}' for alias in node.names} | {node.module}
    return found


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    if path == ROOT / '__init__.py':
        return
    room = room_of(path)
    for module in imported_modules(path):
        parts = module.split('.')
        if parts[0] != 'failpred_jax' or len(parts) == 1 or parts[1] == '__version__':
            continue
        other = parts[1]
        allowed = other == room or {room, other} <= ONE_ROOM or LEVEL[other] < LEVEL[room]
        assert allowed or other not in LEVEL, f'{path.relative_to(ROOT)} imports {module}, which is not below it'


def test_every_module_has_a_level():
    rooms = {room_of(path) for path in FILES} - {'__init__'}
    assert rooms <= set(LEVEL), f'say in LEVELS where these stand: {rooms - set(LEVEL)}'


@pytest.mark.parametrize(
    ('package', 'home'),
    [
        ('flax.linen', 'models'),
        ('tensorflow', 'train/stage_log.py'),
        ('clu', 'train/stage_log.py'),
        ('plotly', 'report'),
        ('htpy', 'report'),
        ('markupsafe', 'report'),
        ('torch', 'readers/tensors.py'),
        ('safetensors', 'readers/tensors.py'),
        ('ml_collections', 'config'),
    ],
)
def test_package_is_imported_in_its_home_only(package, home):
    homes = home.split()
    for path in FILES:
        where = path.relative_to(ROOT).as_posix()
        uses = any(m == package or m.startswith(package + '.') for m in imported_modules(path))
        assert not uses or any(where == h or where.startswith(h + '/') for h in homes), f'{where} imports {package}'


def test_functions_are_mapped_over_devices_in_one_file_only():
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and node.attr in ('pmap', 'shard_map'):
                assert path.name == 'devices.py', f'{path}:{node.lineno} calls {node.attr}'


def test_no_flag_is_read_below_the_command_line_and_no_config_defaults_silently():
    for path in FILES:
        if path.name == 'command_line.py':
            continue
        source = path.read_text()
        assert 'FLAGS' not in source, f'{path} reads flags'
        assert 'config.get(' not in source, f'{path} reads a config with a silent default'


def test_no_file_is_too_long():
    lengths = {path: len(path.read_text().splitlines()) for path in (*FILES, *TESTS)}
    assert not {str(path): length for path, length in lengths.items() if length > MOST_LINES}
    assert lengths[ROOT / 'main.py'] <= 80


def test_no_function_is_too_long():
    lengths = {
        f'{path}:{node.lineno} {node.name}': (node.end_lineno or 0) - node.lineno + 1
        for path in (*FILES, *TESTS)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {name: length for name, length in lengths.items() if length > MOST_LINES_OF_A_FUNCTION}
