"""Options: every default passes its own rule, and every problem is named at once."""

import dataclasses
import json
import re
from pathlib import Path

import ml_collections
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failpred_jax.config import Config, default_config, differences, read_config, to_dict
from failpred_jax.errors import UserError


def valid() -> ml_collections.ConfigDict:
    config = default_config()
    config.data.source = 'digits'
    return config


def options(kind=Config, prefix='config'):
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.default_factory):
            yield from options(field.default_factory, f'{prefix}.{field.name}')
        else:
            yield f'{prefix}.{field.name}', field


OPTIONS = dict(options())


def test_defaults_are_allowed_but_for_the_data_set_that_nobody_can_guess():
    assert read_config(valid()).data.source == 'digits'
    with pytest.raises(UserError, match=r"config\.data\.name is ''; source 'tfds' needs the name"):
        read_config(default_config())


@pytest.mark.parametrize('path', OPTIONS)
def test_every_option_says_what_it_does_and_what_it_may_be(path):
    metadata = OPTIONS[path].metadata
    assert metadata['help']
    assert metadata['rule'].words()


def test_all_problems_are_named_at_once():
    config = to_dict(read_config(valid()))
    config['seed'] = 'zero'
    config['baseline'] |= {'optimizer': 'sdg', 'epochz': 3}
    config['data']['mean'] = 0.5
    del config['model']['name']
    with pytest.raises(UserError) as error:
        read_config(config)
    text = str(error.value)
    assert "config.seed is 'zero', but it must be an integer" in text
    assert "config.baseline.optimizer is 'sdg'; did you mean 'sgd'" in text
    assert "unknown key config.baseline.epochz; did you mean 'epochs'" in text
    assert 'config.data.mean is 0.5, but it must be a tuple of float' in text
    assert 'missing key config.model.name; start the config file from default_config()' in text


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'baseline.schedule': 'multi_step'}, 'needs the epochs of its steps'),
        ({'baseline.milestones': (9, 3)}, 'the epochs must rise'),
        ({'baseline.epochs': 0}, 'has nothing to predict'),
        ({'confidence.epochs': 0}, 'fine-tuning starts there'),
        ({'seeds': (1, 1)}, 'a seed may stand in it once'),
        ({'data.mean': (0.1, 0.2), 'data.std': (1.0, 1.0, 1.0)}, 'give one value, or one a channel'),
        ({'baseline.learning_rate': float('nan')}, 'it must be a finite number'),
        ({'evaluate.scores': ()}, 'allowed: all, or some of: '),
        ({'evaluate.interval': 1.0}, 'greater than 0 and less than 1'),
    ],
)
def test_what_cannot_work_is_refused(change, words):
    config = valid()
    with config.unlocked():
        config.update_from_flattened_dict(change)
    with pytest.raises(UserError, match=re.escape(words)):
        read_config(config)


def test_names_from_the_command_line_come_as_one_string():
    config = valid()
    config.evaluate.scores = ('mcp, tcp',)
    assert read_config(config).evaluate.scores == ('mcp', 'tcp')


def test_survives_json():
    config = to_dict(read_config(valid()))
    assert json.loads(json.dumps(config)) == config


def test_differences_name_both_values():
    old, new = (to_dict(read_config(valid())) for _ in range(2))
    assert differences(old, new) == []
    new['baseline']['epochs'] = 7
    del old['seed']
    assert sorted(differences(old, new)) == [
        'config.baseline.epochs: 1 there, 7 now',
        'config.seed: absent there, 0 now',
    ]


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers(), max_size=3)
)


@settings(max_examples=200, deadline=None)
@given(path=st.sampled_from(sorted(OPTIONS)), value=LEAVES)
def test_any_value_is_either_read_or_refused_in_words(path, value):
    config = to_dict(read_config(valid()))
    section = config
    *sections, name = path.removeprefix('config.').split('.')
    for key in sections:
        section = section[key]
    section[name] = value
    try:
        read_config(config)
    except UserError as error:
        assert path in str(error) or 'config.data' in str(error) or 'epochs' in str(error)


@pytest.mark.parametrize('file', sorted((Path(__file__).parents[1] / 'configs').glob('*.py')), ids=lambda p: p.stem)
def test_shipped_configs_are_valid_and_say_how_to_run_them(file):
    scope = {}
    source = file.read_text()
    exec(compile(source, file, 'exec'), scope)  # noqa: S102  (our own file)
    read_config(scope['get_config']())
    assert f'--config=configs/{file.name}' in scope['__doc__']


@settings(max_examples=100, deadline=None)
@given(
    section=st.sampled_from(['', 'data', 'data.augment', 'model', 'baseline', 'evaluate', 'run']),
    name=st.text(st.characters(categories=['L', 'N', 'P']), min_size=1, max_size=12),
    value=LEAVES | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
def test_any_key_anywhere_is_either_known_or_refused_by_its_name(section, name, value):
    config = to_dict(read_config(valid()))
    place = config
    for key in filter(None, section.split('.')):
        place = place[key]
    is_known = name in place
    place[name] = value
    path = '.'.join(filter(None, ['config', section, name]))
    try:
        read_config(config)
    except UserError as error:
        assert path in str(error)
    else:
        assert is_known
