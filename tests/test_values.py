"""What is given for an option means the same on the command line, in a config file, in Python and in JSON."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from config.making import OPTIONS, of
from hypothesis import given, settings
from hypothesis import strategies as st

from failpred_jax.config import default_config
from failpred_jax.config.overrides import set_options, split
from failpred_jax.errors import UserError
from failpred_jax.values import converted, from_home

INTEGERS = st.integers(-(2**31) + 1, 2**31 - 1)
NUMBERS = st.floats(-1e30, 1e30)
WORDS = st.text('abcxyz_0123456789:', min_size=1, max_size=8)
ITEMS = {int: INTEGERS, float: NUMBERS, str: WORDS}


@pytest.mark.parametrize('path', OPTIONS)
def test_every_default_survives_the_command_line(path):
    value = OPTIONS[path].default
    listed = ','.join(map(str, value)) if isinstance(value, tuple) else str(value)
    for text in {listed, str(value)}:
        config = default_config()
        rest, overrides = split([f'--{path}={text}', 'other'])
        set_options(config, overrides)
        assert rest == ['other']
        assert of(config, path) == value
        assert type(of(config, path)) is type(value)


@pytest.mark.parametrize('kind', [int, float, str])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_all_ways_to_write_a_tuple_are_one(kind, data):
    values = tuple(data.draw(st.lists(ITEMS[kind], min_size=1, max_size=4)))
    listed = ','.join(map(str, values))
    ways = [values, list(values), listed, f'{listed},', f' {listed} ', f'({listed})', repr(values), repr(list(values))]
    ways += [np.array(values)] if kind is not str else [tuple(map(np.str_, values))]
    ways += [values[0], str(values[0])] if len(values) == 1 else []
    for way in ways:
        found = converted(tuple[kind, ...], way)
        assert found == values
        assert all(type(one) is kind for one in found)


def test_numbers_with_exponents_are_numbers():
    for text, number in {'1e-5': 1e-5, '1E-5': 1e-5, '-3.5e-2': -0.035, '2e3': 2000.0}.items():
        assert converted(float, text) == number
        assert converted(tuple[float, ...], f'{text},1') == (number, 1.0)


@settings(max_examples=60, deadline=None)
@given(number=INTEGERS, real=NUMBERS)
def test_all_ways_to_write_a_number_are_one(number, real):
    for way in (number, float(number), str(number), f'{number}.0', np.int64(number), np.float64(number)):
        assert type(converted(int, way)) is int
        assert converted(int, way) == number
        assert converted(float, way) == float(number)
    for way in (real, str(real), np.float64(real), np.array(real)):
        assert type(converted(float, way)) is float
        assert converted(float, way) == real


@pytest.mark.parametrize('truth', [True, False])
def test_all_ways_to_write_a_truth_are_one(truth):
    for way in (truth, str(truth), str(truth).lower(), int(truth), str(int(truth)), np.bool_(truth)):
        assert converted(bool, way) is truth


REFUSED = {
    int: (2.5, '2.5', '', 'many', True, None, 'nan', 'inf', [1], b'1', '0-2', 2**40, 1j),
    float: ('', 'low', '0,05', '5%', True, None, float('nan'), float('inf'), (0.5,), 10**400),
    str: (3, 0.5, True, None, b'mlp', ('mlp',)),
    bool: ('yes', '', 2, 1.0, None, ()),
    tuple[int, ...]: (2.5, '0-2', '1,,2', {1, 2}, {1: 2}, ((1, 2), (3,)), None, b'12', True),
    tuple[float, ...]: ('0.5;0.5', None, 'a', {0.5}, np.ones((2, 2))),
    tuple[str, ...]: (0.5, None, (True,), b'ab', {'mcp'}),
}


@pytest.mark.parametrize(('kind', 'value'), [(kind, value) for kind, values in REFUSED.items() for value in values])
def test_what_could_mean_something_else_is_refused(kind, value):
    with pytest.raises(TypeError, match=r'^(an integer|a finite number|a number|a share|a string|True or|a tuple of)'):
        converted(kind, value)


@pytest.mark.parametrize(
    ('text', 'words'), [('5%', 'a share, such as 0.05'), ('0,05', 'a number, such as 0.05'), (',5', 'such as 0.5')]
)
def test_a_number_that_is_written_otherwise_is_shown(text, words):
    with pytest.raises(TypeError, match=words):
        converted(float, text)


def test_a_path_may_begin_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert converted(str, '~/runs') == converted(str, Path('~/runs')) == from_home('~/runs') == f'{tmp_path}/runs'
    found = converted(tuple[str, ...], 'blur:3,folder:~/x,~top')
    assert found == ('blur:3', f'folder:{tmp_path}/x', '~top')
    with pytest.raises(
        TypeError, match=re.escape("there is no home folder '~nobody.at.all'; write './~nobody.at.all'")
    ):
        from_home('~nobody.at.all')
    for path in ('a/~', './~', '', 'x~'):
        assert from_home(path) == path


def test_a_config_file_takes_what_the_command_line_takes():
    """Whatever the text, for an option of each type: the same value, or refused by both."""
    kinds = {entry.kind: path for path, entry in OPTIONS.items()}
    texts = ('1', '0', '2.0', '0.5', '1e2', 'a,b', '1,2', '(1,)', '(0.5, 2)', "['a']", '', 'true', 'yes', '~/x', '-1')
    for path in kinds.values():
        for text in texts:
            section, name = path.rsplit('.', 1)
            typed, written = default_config(), default_config()
            try:
                set_options(typed, split([f'--{path}={text}'])[1])
            except UserError:
                with pytest.raises(UserError, match=f'^{re.escape(path)} is .*, but it must be '):
                    of(written, section)[name] = text
                continue
            of(written, section)[name] = text
            assert of(typed, path) == of(written, path)
            assert ast.literal_eval(repr(of(typed, path))) == of(typed, path)
