"""Any text for any option, as it is typed: it ends in a run that could begin, or in one message before it does.

`FAILPRED_FUZZ=5000 python -m pytest tests/test_config_fuzz.py` tries more than the suite has time for.
"""

import contextlib
import os

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from failpred_jax.command_line import parse
from failpred_jax.config import read_config, to_dict
from failpred_jax.config.sections import Config
from failpred_jax.data.prepare import make_prepare_fns
from failpred_jax.errors import UserError
from failpred_jax.models.network import make_network
from failpred_jax.stages import make_stages
from failpred_jax.types import DatasetInfo

EXAMPLES = int(os.environ.get('FAILPRED_FUZZ', '120'))
INFO = DatasetInfo('digits', 'classification', (8, 8, 1), tuple(map(str, range(10))))


def options(section, path='config'):
    for key, value in section.items():
        if isinstance(value, dict):
            yield from options(value, f'{path}.{key}')
        else:
            yield f'{path}.{key}'


OPTIONS = sorted(options(to_dict(Config())))
# What broke this program or others, and what is next to a limit.
HARD = (
    '', ' ', '0', '-0.0', '1e400', 'nan', 'NaN', '-inf', 'inf', '1e-320', '9223372036854775807', '9223372036854775808',
    '-9223372036854775809', '2147483647', '2147483648', '4294967296', '1' * 5000, 'None', 'True', 'false', '()', '(1,)',
    '((1,2),(3,))', '(1,(2,3))', '[1,2]', '{}', "{'a':1}", '1,2', '1,,2', ',', '²', '½', '٣', '１２', '0x10', '1_000',
    '1e3', '1.5', '"', "'", '\\', '%s', '{0}', '$HOME', '~', '/', '../..', '-', '--', 'é' * 300, 'a' * 100_000,
    '\ud800', '\u202e', '💥', '\x1b[31m', 'a\nb', 'lambda: 0', '__import__("os")', '1j', '1/0', '1e308,1e308',
    '-1', '1000001',
)  # fmt: skip
VALUES = st.sampled_from(HARD) | st.integers().map(str) | st.floats().map(repr) | st.text(max_size=12)


def begin(*words):
    """Do all that comes before the data are read and training begins."""
    _, found = parse(['failpred', '--config=digits', *words])
    config = read_config(found.config)
    make_network(config.model, INFO)
    make_prepare_fns(config.data, INFO)
    make_stages(config, 50_000)
    return config


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from(OPTIONS), value=VALUES)
@example('config.baseline.epochs', '9223372036854775807')
@example('config.model.mlp.hidden_units', '9223372036854775808')
@example('config.baseline.batch_size', '²')
@example('config.data.mean', '((1,2),(3,))')
@example('config.seeds', '1,,2')
def test_any_text_for_any_option_can_begin_or_is_one_message(path, value):
    with contextlib.suppress(UserError):
        begin(f'--{path}={value}')


@settings(max_examples=EXAMPLES // 3, deadline=None, suppress_health_check=list(HealthCheck))
@given(words=st.lists(st.sampled_from(OPTIONS), min_size=2, max_size=3, unique=True), data=st.data())
def test_any_few_options_together_can_begin_or_are_one_message(words, data):
    with contextlib.suppress(UserError):
        begin(*(f'--{path}={data.draw(VALUES)}' for path in words))


@pytest.mark.parametrize(
    ('word', 'said'),
    [
        ('--config.baseline.epochs=9223372036854775807', 'must be an integer'),
        ('--config.baseline.epochs=1000000', 'can be counted'),
        ('--config.baseline.batch_size=99999999999999999999', 'config.baseline.batch_size'),
        ('--config.model.mlp.hidden_units=9223372036854775808', 'config.model.mlp.hidden_units'),
        ('--config.baseline.learning_rate=nan', 'config.baseline.learning_rate must be a finite number'),
        ('--config.baseline.batch_size=²', 'batch_size'),
    ],
)
def test_numbers_that_no_run_can_have_are_named(word, said):
    begin()
    more = ['--config.baseline.batch_size=8'] if word.endswith('=1000000') else []
    with pytest.raises(UserError, match=said):
        begin(word, *more) and pytest.fail('it would begin')
