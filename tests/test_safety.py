"""No data become code: nothing is unpickled, nothing evaluated, and nothing unpacked to disk."""

import ast
from pathlib import Path

import pytest

import failpred_jax

FILES = sorted(Path(failpred_jax.__file__).parent.rglob('*.py'))
# Modules that run what they read, and functions that do.
MODULES = {'pickle', 'cPickle', 'dill', 'cloudpickle', 'joblib', 'shelve', 'marshal'}
CALLS = {'eval', 'exec', 'compile', '__import__', 'extractall', 'extract', 'unpack_archive', 'system', 'popen'}


def calls_in(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, getattr(node.func, 'attr', getattr(node.func, 'id', ''))


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.name)
def test_what_is_read_is_never_run(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not {alias.name.split('.')[0] for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or '').split('.')[0] not in MODULES
    for node, name in calls_in(tree):
        # re.compile turns no data into code.
        is_regular_expression = name == 'compile' and isinstance(node.func, ast.Attribute)
        assert name not in CALLS or is_regular_expression, f'{path.name}:{node.lineno} calls {name}'
        given = {word.arg: getattr(word.value, 'value', None) for word in node.keywords}
        assert given.get('shell') is not True, f'{path.name}:{node.lineno} starts a shell'
        if name == 'load' and ast.unparse(node.func) in ('np.load', 'torch.load'):
            safe = given.get('allow_pickle') is False or given.get('weights_only') is True
            assert safe, f'{path.name}:{node.lineno} may unpickle'
