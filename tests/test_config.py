"""Options: every default passes its own rule, every problem is named at once, and owners bring options of their own."""

import copy
import dataclasses
import json
import re
import runpy
from dataclasses import dataclass
from pathlib import Path

import ml_collections
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failpred_jax.config import (
    Config,
    DataConfig,
    ModelConfig,
    default_config,
    differences,
    read_config,
    to_dict,
    used_options,
)
from failpred_jax.config.overrides import check_used, config_file_problem, override_problem
from failpred_jax.config.owners import chosen_in, entries, walk
from failpred_jax.config.renamed import RENAMED
from failpred_jax.errors import UserError
from failpred_jax.options import FRACTION, option
from failpred_jax.registry import MODELS, RECIPES, SOURCES

ROOT = Path(__file__).parents[1]


def valid() -> ml_collections.ConfigDict:
    config = default_config()
    config.data.source = 'digits'
    return config


def plain(**changes) -> dict:
    """Return a valid config as JSON would hold it, with changes by dotted key."""
    config = valid()
    config.update_from_flattened_dict({key.replace('__', '.'): value for key, value in changes.items()})
    return to_dict(read_config(config))


def of(config: dict, path: str):
    for key in filter(None, path.removeprefix('config.').split('.')):
        config = config[key]
    return config


def changed(config: dict, path: str, value) -> dict:
    """Return a copy of a config with one option changed."""
    config = copy.deepcopy(config)
    *sections, name = path.removeprefix('config.').split('.')
    of(config, '.'.join(sections))[name] = value
    return config


OPTIONS = dict(walk(Config))


@dataclass(frozen=True)
class MixtureOptions:
    strength: float = option(0.2, 'how much', FRACTION)
    folder: str = option('', 'where', changes_training=False)

    def problems(self, path):
        if self.strength == 0.5:
            yield f'{path}.strength is 0.5, and this test does not like it'


@pytest.fixture
def mixture():
    """A training recipe with options, registered for one test."""
    RECIPES.options()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES._entries, 'mixture', object())
        patch.setitem(RECIPES._options, 'mixture', MixtureOptions)
        yield 'mixture'


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
    config['data']['mean'] = 0.5
    config['data']['path'] = 'somewhere'
    config['model']['mlp']['hidden_unit'] = 3
    del config['model']['name']
    with pytest.raises(UserError) as error:
        read_config(config)
    text = str(error.value)
    assert "config.seed is 'zero', but it must be an integer" in text
    assert "config.baseline.optimizer is 'sdg'; did you mean 'sgd'" in text
    assert "unknown key config.baseline.epochz; did you mean 'epochs'" in text
    assert 'config.data.mean is 0.5, but it must be a tuple of float' in text
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
        ({'model.head_units': (5, 2**70)}, 'a tuple of int, each an integer from'),
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


def test_differences_name_both_values():
    old, new = plain(), plain(baseline__epochs=7)
    assert differences(old, old) == []
    assert differences(old, new) == ['config.baseline.epochs: 1 there, 7 now']


def test_a_key_that_the_older_version_did_not_know_has_its_default():
    old = plain()
    del old['seed'], old['model'], old['baseline']['recipes']
    assert differences(old, plain()) == []
    assert differences(old, plain(model__mlp__hidden_units=7)) == [
        'config.model.mlp.hidden_units: 1000 there, which is the default, 7 now'
    ]


def test_what_this_version_does_not_know_counts_unless_it_belongs_to_something_that_is_gone():
    assert differences(changed(plain(), 'baseline.warmth', 3), plain()) == [
        'config.baseline.warmth: 3 there, which this version does not know'
    ]
    assert differences(changed(plain(), 'baseline.a_recipe_of_old', {'rho': 3}), plain()) == []


@pytest.mark.parametrize('there', [None, [], {'data': 3}, {'data': {'augment': 'none'}}])
def test_what_is_no_config_is_a_difference(there):
    assert differences(there, plain())


@pytest.mark.parametrize('path', OPTIONS)
def test_every_option_counts_if_it_changes_training_and_only_then(path):
    """With its owner chosen; without, it never counts."""
    kind, prefix, counts, owner = Config, 'config', True, None
    for key in path.split('.')[1:]:
        entry = entries(kind)[key]
        counts = counts and entry.metadata.get('changes_training', True)
        if entry.is_owned:
            owner = (kind, prefix, key)
        kind, prefix = entry.kind, f'{prefix}.{key}'
    old = plain()
    if owner:
        section, where, name = owner
        chooser = next(o for o, registry in section.NAMED_BY.items() if name in registry)
        is_one = isinstance(of(old, f'{where}.{chooser}'), str)
        assert name in chosen_in(section, of(old, where)) or not differences(old, changed(old, path, 'other'))
        old = changed(old, f'{where}.{chooser}', name if is_one else [name])
    assert bool(differences(old, changed(old, path, 'other'))) == counts


@pytest.mark.parametrize(
    'path',
    [
        'config.data.arrays.path', 'config.data.camvid.path', 'config.data.tfds.data_dir', 'config.seeds',
        'config.data.device_budget_mb', 'config.evaluate.scores', 'config.run.chunk_seconds',
    ],
)  # fmt: skip
def test_what_never_trained_anything_else_does_not_count(path):
    source = path.split('.')[-2]
    old = changed(plain(), 'data.source', source) if source in SOURCES else plain()
    assert differences(old, changed(old, path, 'elsewhere')) == []


@pytest.mark.parametrize('old_name', RENAMED)
def test_old_names_are_followed_in_an_old_workdir(old_name):
    """The successors exist, the old name does not, and an old config with it equals the new one."""
    new = plain()
    value = None
    for successor in RENAMED[old_name]:
        path = f'config.{successor}'
        assert path in OPTIONS
        value = 'another'
        new = changed(new, path, value)
        if path.startswith('config.data.'):
            new = changed(new, 'data.source', successor.split('.')[1])
    assert f'config.{old_name}' not in OPTIONS
    old = copy.deepcopy(new)
    for successor in RENAMED[old_name]:
        *sections, name = successor.split('.')
        del of(old, '.'.join(sections))[name]
    assert differences(changed(old, old_name, value), new) == []


@pytest.mark.parametrize('old_name', RENAMED)
def test_old_names_keep_working(old_name):
    """What is set under the old name is what would be set under the new one, whatever the config file says."""
    for successor in RENAMED[old_name]:
        by_old, by_new = valid(), valid()
        if old_name.startswith('data.'):
            by_old.data.source = by_new.data.source = successor.split('.')[1]
            by_old.data.tfds.name = by_new.data.tfds.name = 'mnist'
            by_old.data.arrays.path = by_new.data.arrays.path = 'a.npz'
        value = {str: 'adam', bool: False, int: 7}[type(of_config(by_new, successor))]
        *sections, name = old_name.split('.')
        of_config(by_old, '.'.join(sections))[name] = value
        *sections, name = successor.split('.')
        of_config(by_new, '.'.join(sections))[name] = value
        if successor == 'data.camvid.score_unlabeled':
            by_old.data.camvid.path = by_new.data.camvid.path = 'x'
        assert to_dict(read_config(by_old)) == to_dict(read_config(by_new))


def of_config(config, path):
    for key in path.split('.'):
        config = config[key]
    return config


def test_a_path_is_that_of_the_chosen_source_from_python_too():
    assert DataConfig(source='camvid', path='x').options_of('camvid').path == 'x'
    moved = dataclasses.replace(DataConfig(source='arrays', path='x'), num_train=3)
    assert moved.options_of('arrays').path == 'x'
    config = default_config()
    config.data.source, config.data.path = 'digits', 'x'
    with pytest.raises(UserError, match="the data source 'digits' has no path"):
        read_config(config)


def test_the_config_that_an_older_version_wrote_is_todays():
    """tests/old_config.json is configs/digits.py's as the version before options had owners wrote it."""
    old = json.loads((ROOT / 'tests' / 'old_config.json').read_text())
    config = runpy.run_path(str(ROOT / 'configs' / 'digits.py'))['get_config']()
    # It keeps units for certificates since, out of those that validated.
    config.data.validation_fraction, config.data.calibration_fraction = 0.5, 0.0
    assert differences(old, to_dict(read_config(config))) == []
    config.model.mlp.hidden_units += 1
    config.confidence.backbone_dropout = False
    assert differences(old, to_dict(read_config(config))) == [
        'config.model.mlp.hidden_units: 64 there, 65 now',
        'config.confidence.backbone_dropout: True there, False now',
    ]


def test_the_page_of_options_has_every_old_name():
    page = (ROOT / 'docs' / 'options.md').read_text()
    rows = dict(re.findall(r'^\| `config\.([\w.]+)` \| (`config\..*`) \|$', page, re.MULTILINE))
    assert rows == {old: ' or '.join(f'`config.{new}`' for new in names) for old, names in RENAMED.items()}


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
