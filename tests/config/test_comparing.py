"""What two configs train differently, and configs of older versions."""

import copy
import json
import re
import runpy
from pathlib import Path

import pytest
from config.making import OPTIONS, changed, of, plain, valid

from failpred_jax.config import (
    Config,
    differences,
    read_config,
    to_dict,
)
from failpred_jax.config.owners import chosen_in, entries
from failpred_jax.config.renamed import RENAMED
from failpred_jax.registry import SOURCES

ROOT = Path(__file__).parents[2]


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


def test_the_config_that_an_older_version_wrote_is_todays():
    """old_config.json is configs/digits.py's as the version before options had owners wrote it."""
    old = json.loads(Path(__file__).with_name('old_config.json').read_text())
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
