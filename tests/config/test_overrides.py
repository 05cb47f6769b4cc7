"""What is wrong with an override or a config file is said in words."""

import pytest
from config.making import valid

from failpred_jax.config.overrides import check_used, config_file_problem, override_problem
from failpred_jax.errors import UserError


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--config.model.mlp.hiden_units=5'], "unknown key config.model.mlp.hiden_units; did you mean 'hidden_units'"),
        (['--config.seed.x=5'], '--config.seed.x=5: config.seed is a value, not a section'),
        (['--noconfig.model.dropuot'], "unknown key config.model.dropuot; did you mean 'dropout'"),
        (['--config.seed=1'], "the config file 'mine.py' failed: KeyError: 'what it said'"),
    ],
)
def test_what_is_wrong_with_an_override_is_said_in_words(words, message):
    assert override_problem(['main', *words], KeyError('what it said'), 'mine.py').startswith(message)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('config.model.hiden = 3', 'failed in line 4: AttributeError: '),
        ('raise ValueError("no")', 'failed in line 4: ValueError: no'),
    ],
)
def test_a_config_file_that_fails_is_told_its_line(tmp_path, line, message):
    file = tmp_path / 'mine.py'
    file.write_text(f'from failpred_jax.config import default_config\n\nconfig = default_config()\n{line}\n')
    with pytest.raises((AttributeError, ValueError)) as error:
        exec(compile(file.read_text(), str(file), 'exec'), {})  # noqa: S102  (our own file)
    assert message in config_file_problem(error.value, str(file))


def test_an_override_of_what_is_not_chosen_is_refused(mixture):
    config = valid()
    config.model.name = 'vgg16'
    check_used(config, ['main', '--config.seed=3', '--config.model.dropout=False', '--config.nonesuch.a=1'])
    with pytest.raises(UserError) as error:
        check_used(config, ['--config.model.mlp.hidden_units=3', '--config.baseline.mixture.strength=0.1'])
    assert str(error.value).splitlines() == [
        "--config.model.mlp.hidden_units=3 has no effect: config.model.name is 'vgg16', and 'mlp' is not used; "
        'choose it, or leave this out',
        "--config.baseline.mixture.strength=0.1 has no effect: config.baseline.recipes is (), and 'mixture' is not "
        'used; choose it, or leave this out',
    ]
    config.model.name, config.baseline.recipes = 'mlp', ('mixture,another',)
    check_used(config, ['--config.model.mlp.hidden_units=3', '--config.baseline.mixture.strength=0.1'])
    # A misspelled choice has a message of its own, which names the nearest.
    config.model.name = 'mpl'
    check_used(config, ['--config.model.mlp.hidden_units=3'])
