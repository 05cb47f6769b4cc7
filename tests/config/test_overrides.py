"""What is wrong with an override or a config file is said in words."""

import copy
import re

import numpy as np
import pytest
from config.making import valid

from failpred_jax.config import default_config, read_config
from failpred_jax.config.file import load_config
from failpred_jax.config.overrides import check_used, set_options, split
from failpred_jax.errors import UserError


def overrides(*words):
    return split(words)[1]


@pytest.mark.parametrize(
    ('word', 'message'),
    [
        ('--config.model.mlp.hiden_units=5', "unknown key config.model.mlp.hiden_units; did you mean 'hidden_units'"),
        ('--config.model.resnet18.width=3', "config.model.resnet18: model 'resnet18' has no options of its own"),
        ('--config.seed.x=5', '--config.seed.x=5: config.seed is a value, not a section'),
        ('--noconfig.model.dropuot', "unknown key config.model.dropuot; did you mean 'dropout'"),
        ('--noconfig.seed', '--noconfig.seed: config.seed must be an integer (seed of parameters'),
        ('--config.seed', '--config.seed: give it a value, as in --config.seed=VALUE'),
        ('--config.data={}', 'config.data is a section with keys of its own, such as --config.data.source'),
        ('--config.baseline.epochs=3.5', '--config.baseline.epochs=3.5: config.baseline.epochs must be an integer'),
        ('--config.data.augment.flip=yes', 'config.data.augment.flip must be True or False (mirror left'),
        ('--config.seeds=0-2', 'config.seeds must be a tuple of int, such as 0,1,2, each an integer'),
    ],
)
def test_what_is_wrong_with_an_override_is_said_in_words(word, message):
    with pytest.raises(UserError, match=re.escape(message)):
        set_options(default_config(), overrides(word))


def test_all_wrong_overrides_are_named_at_once():
    with pytest.raises(UserError) as error:
        set_options(default_config(), overrides('--config.seed=x', '--config.sed=3', '--config.baseline.epochs=2'))
    assert len(str(error.value).splitlines()) == 2


def test_an_option_is_set_in_any_spelling_and_the_last_counts():
    words = ['--config.seeds=0,1', '--config.baseline.epochs', '3', '--config.data.augment.flip', '--workdir=x']
    rest, found = split([*words, '--noconfig.model.dropout', '--config.seeds=5', '--config.data.path=a'])
    config = default_config()
    set_options(config, found)
    assert rest == ['--workdir=x']
    assert (config.seeds, config.baseline.epochs, config.data.path) == ((5,), 3, 'a')
    assert (config.data.augment.flip, config.model.dropout) == (True, False)


def written(tmp_path, body, head='from failpred_jax.config import default_config'):
    file = tmp_path / 'mine.py'
    file.write_text(f'{head}\n\ndef get_config():\n    config = default_config()\n    {body}\n    return config\n')
    return str(file)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('config.model.hiden = 3', 'unknown key config.model.hiden (keys of config.model: name, '),
        ('config.baseline.epoch = 3', "unknown key config.baseline.epoch; did you mean 'epochs'?"),
        ('config.foo.bar = 3', 'unknown key config.foo (keys of config: seed, '),
        ('config.model.resnet18.width = 3', "unknown key config.model.resnet18: model 'resnet18' has no options of"),
        ('config.data.mean = "grey"', "config.data.mean is 'grey', but it must be a tuple of float, such as 0.5,0.25"),
        ('config.update({"data": {"num_train": 2.5}})', 'config.data.num_train is 2.5, but it must be an integer'),
        ('config.data = 5', 'config.data is set to 5, but it is a section with keys of its own'),
        ('raise ValueError("no")', 'ValueError: no'),
        ('raise TypeError("no")', 'TypeError: no'),
        ('open("/nonesuch/file")', "FileNotFoundError: [Errno 2] No such file or directory: '/nonesuch/file'"),
    ],
)
def test_a_config_file_that_fails_is_told_its_line(tmp_path, line, message):
    file = written(tmp_path, line)
    with pytest.raises(UserError) as error:
        load_config(file, None)
    assert str(error.value).startswith(f"the config file '{file}' failed in line 5: {message}")
    assert '\n' not in str(error.value)


def test_a_config_file_that_python_cannot_read_is_told_its_line(tmp_path):
    file = written(tmp_path, 'config.seed = (')
    with pytest.raises(UserError, match="mine.py' failed in line 5: SyntaxError: '\\(' was never closed"):
        load_config(file, None)


def test_a_config_file_is_called_as_it_wants(tmp_path):
    plain = written(tmp_path, 'pass')
    with pytest.raises(UserError, match=r"':fast' is given, but get_config.* takes no argument: it has no recipes"):
        load_config(plain, 'fast')
    named = tmp_path / 'named.py'
    named.write_text('def get_config(name):\n    return {"name": name}\n')
    with pytest.raises(UserError, match=r'get_config.* needs an argument; write --config=.*named.py:ARGUMENT'):
        load_config(str(named), None)
    assert load_config(str(named), 'fast').name == 'fast'
    named.write_text('def get_confg():\n    pass\n')
    with pytest.raises(UserError, match='has no function get_config'):
        load_config(str(named), None)


def test_a_config_file_has_recipes_by_name(tmp_path):
    file = tmp_path / 'mine.py'
    file.write_text(
        'from failpred_jax.config import default_config, with_recipe\n'
        "def get_config(name='slow'):\n"
        "    recipes = {'slow': lambda c: None, 'fast': lambda c: setattr(c.baseline, 'epochs', 2)}\n"
        '    return with_recipe(default_config(), name, recipes)\n'
    )
    assert load_config(str(file), 'fast').baseline.epochs == 2
    assert load_config(str(file), None).baseline.epochs == load_config(str(file), 'slow').baseline.epochs != 2
    with pytest.raises(UserError, match=r"in line 4: there is no recipe 'fats'; did you mean 'fast'\? \(it has: "):
        load_config(str(file), 'fats')


def test_options_of_a_config_are_copied_and_linked_as_those_of_any_other():
    config = valid()
    config.confidence.epochs = config.baseline.get_ref('epochs')
    config.baseline.epochs = np.int64(7)
    config.data.path = None
    resolved = config.copy_and_resolve_references()
    resolved.data.mean = 0.5
    for one in (config, copy.deepcopy(config), resolved):
        assert read_config(one).confidence.epochs == 7
    assert (resolved.data.mean, config.data.mean) == ((0.5,), (0.0,))
    assert not hasattr(config, 'foo')
    assert 'foo' not in config
    assert config.get('foo', 3) == 3
    config['data'] = {'num_train': '5'}
    assert (config.data.num_train, config.data.source) == (5, 'digits')


def test_an_override_of_what_is_not_chosen_is_refused(mixture):
    config = valid()
    config.model.name = 'vgg16'
    check_used(config, overrides('--config.seed=3', '--config.model.dropout=False', '--config.nonesuch.a=1'))
    with pytest.raises(UserError) as error:
        check_used(config, overrides('--config.model.mlp.hidden_units=3', '--config.baseline.mixture.strength=0.1'))
    assert str(error.value).splitlines() == [
        "--config.model.mlp.hidden_units=3 has no effect: config.model.name is 'vgg16', and 'mlp' is not used; "
        'choose it, or leave this out',
        "--config.baseline.mixture.strength=0.1 has no effect: config.baseline.recipes is (), and 'mixture' is not "
        'used; choose it, or leave this out',
    ]
    config.model.name, config.baseline.recipes = 'mlp', ('mixture,another',)
    check_used(config, overrides('--config.model.mlp.hidden_units=3', '--config.baseline.mixture.strength=0.1'))
    # A misspelled choice has a message of its own, which names the nearest.
    config.model.name = 'mpl'
    check_used(config, overrides('--config.model.mlp.hidden_units=3'))
