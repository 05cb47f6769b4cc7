"""Options: every default passes its own rule, every problem is named at once, and owners bring options of their own."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from config.making import OPTIONS, MixtureOptions, changed, of, plain, valid
from hypothesis import given, settings
from hypothesis import strategies as st

from failpred_jax.config import (
    DataConfig,
    ModelConfig,
    default_config,
    read_config,
    used_options,
)
from failpred_jax.errors import UserError
from failpred_jax.registry import MODELS, RECIPES

ROOT = Path(__file__).parents[2]


def test_defaults_are_allowed_but_for_the_data_set_that_nobody_can_guess():
    assert read_config(valid()).data.source == 'digits'
    with pytest.raises(UserError, match=r"config\.data\.tfds\.name is ''; source 'tfds' needs the name"):
        read_config(default_config())


@pytest.mark.parametrize('path', OPTIONS)
def test_every_option_says_what_it_does_and_what_it_may_be(path):
    metadata = OPTIONS[path].metadata
    assert metadata['help']
    assert metadata['rule'].words()
    # An owner's default has to pass too, chosen or not.
    assert metadata['rule'].holds(OPTIONS[path].default)


def test_empty_tuples_and_lists_in_any_order_are_read():
    made = default_config()
    made.data.source = 'digits'
    made.baseline.milestones = ()
    with made.unlocked():
        made.baseline.recipes = []
        made.evaluate.scores = ['mcp', 'tcp']
    found = read_config(made)
    assert (found.baseline.milestones, found.baseline.recipes, found.evaluate.scores) == ((), (), ('mcp', 'tcp'))


def test_all_problems_are_named_at_once():
    config = plain()
    config['seed'] = 'zero'
    config['baseline'] |= {'optimizer': 'sdg', 'epochz': 3}
    config['data']['mean'] = 'grey'
    config['data']['path'] = 'somewhere'
    config['model']['mlp']['hidden_unit'] = 3
    del config['model']['name']
    with pytest.raises(UserError) as error:
        read_config(config)
    text = str(error.value)
    assert "config.seed is 'zero', but it must be an integer" in text
    assert "config.baseline.optimizer is 'sdg'; did you mean 'sgd'" in text
    assert "unknown key config.baseline.epochz; did you mean 'epochs'" in text
    assert "config.data.mean is 'grey', but it must be a tuple of float" in text
    assert "config.data.path is 'somewhere', but the data source 'digits' has no path" in text
    assert "unknown key config.model.mlp.hidden_unit; did you mean 'hidden_units'" in text
    assert 'missing key config.model.name; start the config file from default_config()' in text


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'baseline.schedule': 'multi_step'}, 'needs the epochs of its steps'),
        ({'baseline.milestones': (9, 3)}, 'the epochs must increase'),
        ({'baseline.sgd.nesterov': True, 'baseline.momentum': 0.0}, 'set a momentum, or leave nesterov out'),
        ({'baseline.epochs': 0}, 'has nothing to predict'),
        ({'baseline.epochs': 0, 'baseline.init_from': 'x', 'confidence.targets': 'crossfit'}, 'needs its epochs'),
        ({'baseline.epochs': 0, 'baseline.init_from': 'x', 'baseline.recipes': ('sam',)}, 'a recipe changes'),
        (
            {'baseline.init_only': ('backbone',)},
            "config.baseline.init_only is set, but config.baseline.init_from is ''",
        ),
        ({'baseline.init_rename': ('(=x',)}, 'PATTERN a regular expression'),
        ({'baseline.epochs': 2_000_000}, 'allowed: from 0 to 1,000,000'),
        ({'baseline.batch_size': 2**63}, 'it must be an integer from -2,147,483,647 to 2,147,483,647'),
        ({'model.head_units': (5, 2**70)}, 'a tuple of int, such as 0,1,2, each an integer from'),
        ({'baseline.learning_rate': 10**400}, 'it must be a finite number'),
        ({'baseline.recipes': ('nonesuch',)}, "config.baseline.recipes is ('nonesuch',); allowed: (), or some of"),
        ({'confidence.epochs': 0}, 'fine-tuning starts there'),
        ({'confidence.loss': 'ranking', 'confidence.temperature': 2.0}, "the loss 'ranking' does not use it"),
        ({'seeds': (1, 1)}, 'each seed may be listed once'),
        ({'data.mean': (0.1, 0.2), 'data.std': (1.0, 1.0, 1.0)}, 'give one value, or one per channel'),
        ({'baseline.learning_rate': float('nan')}, 'it must be a finite number'),
        ({'evaluate.scores': ()}, 'allowed: all, or some of: '),
        ({'evaluate.interval': 1.0}, 'greater than 0 and less than 1'),
    ],
)
def test_what_cannot_work_is_refused(change, words):
    config = plain()
    for path, value in change.items():
        config = changed(config, path, value)
    with pytest.raises(UserError, match=re.escape(words)):
        read_config(config)


def test_names_from_the_command_line_come_as_one_string():
    config = valid()
    config.evaluate.scores = ('mcp, tcp',)
    assert read_config(config).evaluate.scores == ('mcp', 'tcp')


def test_survives_json():
    config = plain()
    assert json.loads(json.dumps(config)) == config


def test_a_registered_thing_brings_its_options(mixture):
    """Into every section that may name it: with defaults, checks, and a way to read them."""
    config = valid()
    assert config.baseline.mixture.strength == config.finetune.mixture.strength == 0.2
    config.baseline.recipes = ('mixture',)
    config.baseline.mixture.strength = 0.7
    read = read_config(config)
    assert read.baseline.options_of('mixture') == MixtureOptions(strength=0.7)
    assert read.confidence.options_of('mixture') == MixtureOptions()
    assert 'mixture' in read.baseline.chosen()
    config.baseline.mixture.strength = 1.5
    with pytest.raises(UserError, match=r'config\.baseline\.mixture\.strength is 1\.5; allowed: at least 0'):
        read_config(config)


def test_what_no_single_option_shows_is_asked_of_what_is_chosen_only(mixture):
    config = valid()
    config.baseline.mixture.strength = 0.5
    read_config(config)
    config.baseline.recipes = ('mixture',)
    with pytest.raises(UserError, match=r'config\.baseline\.mixture\.strength is 0\.5, and this test'):
        read_config(config)


@pytest.mark.parametrize('name', ['epochs', 'two words'])
def test_a_name_that_would_mean_two_things_is_refused(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES._options, name, MixtureOptions)
        with pytest.raises(ValueError, match=f"training recipe '{name}' owns options"):
            default_config()


@pytest.mark.parametrize('name', MODELS)
def test_options_are_read_back_whether_chosen_or_not(name):
    kind = MODELS.options().get(name)
    assert ModelConfig(name='mlp').options_of(name) == (None if kind is None else kind())


def test_used_options_leave_out_what_is_not_chosen():
    assert used_options(ModelConfig(name='mlp'))['mlp'] == {'hidden_units': 1000}
    assert 'mlp' not in used_options(ModelConfig(name='vgg16'))


def test_a_path_is_that_of_the_chosen_source_from_python_too():
    assert DataConfig(source='camvid', path='x').options_of('camvid').path == 'x'
    moved = dataclasses.replace(DataConfig(source='arrays', path='x'), num_train=3)
    assert moved.options_of('arrays').path == 'x'
    config = default_config()
    config.data.source, config.data.path = 'digits', 'x'
    with pytest.raises(UserError, match="the data source 'digits' has no path"):
        read_config(config)


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers(), max_size=3)
)


@settings(max_examples=200, deadline=None)
@given(path=st.sampled_from(sorted(OPTIONS)), value=LEAVES)
def test_any_value_is_either_read_or_refused_in_words(path, value):
    try:
        read_config(changed(plain(), path, value))
    except UserError as error:
        assert path in str(error) or 'config.data' in str(error) or 'epochs' in str(error) or 'loss' in str(error)


@pytest.mark.parametrize('file', sorted((ROOT / 'configs').glob('*.py')), ids=lambda p: p.stem)
def test_shipped_configs_are_valid_and_say_how_to_run_them(file):
    scope = {}
    source = file.read_text()
    exec(compile(source, file, 'exec'), scope)  # noqa: S102  (our own file)
    read_config(scope['get_config']())
    assert f'--config=configs/{file.name}' in scope['__doc__']


@settings(max_examples=100, deadline=None)
@given(
    section=st.sampled_from(['', 'data', 'data.augment', 'data.tfds', 'model', 'baseline', 'evaluate', 'run']),
    name=st.text(st.characters(categories=['L', 'N', 'P']), min_size=1, max_size=12),
    value=LEAVES | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
def test_any_key_anywhere_is_either_known_or_refused_by_its_name(section, name, value):
    config = plain()
    place = of(config, section)
    is_known = name in place
    place[name] = value
    path = '.'.join(filter(None, ['config', section, name]))
    try:
        read_config(config)
    except UserError as error:
        assert path in str(error)
    else:
        assert is_known


@pytest.mark.parametrize(
    ('option', 'value', 'said'),
    [
        ('shifts', ('blur:3', 'blur:0'), "('blur:3', 'blur:0'); '0' is no severity of 'blur'; allowed: "),
        ('shifts', ('blur:3', 'bluur:3'), "; did you mean 'blur'?; allowed: "),
        ('scores', ('mcp', 'confidnt'), "('mcp', 'confidnt'); did you mean 'confidnet'?; allowed: "),
    ],
)
def test_of_several_names_the_wrong_one_is_told_of(option, value, said):
    with pytest.raises(UserError, match=re.escape(said)):
        read_config(changed(plain(), f'evaluate.{option}', value))
