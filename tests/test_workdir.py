"""Whose a WORKDIR is: that of the config that trained in it, and of one process at a time."""

import dataclasses
import json
import shutil

import pytest

from failpred_jax.config import Config
from failpred_jax.errors import UserError
from failpred_jax.workdir import Workdir

ONE = Config(seed=1)
OTHER = Config(seed=2)


def take(path, config=ONE, force=False):
    Workdir(path, config, force).close()


def saved(path, step):
    (path / 'baseline' / 'checkpoints' / f'{step:08d}').mkdir(parents=True)


def owner(path):
    return json.loads((path / 'config.json').read_text())['seed']


def test_it_belongs_to_what_has_trained_and_to_nobody_before(tmp_path):
    path = tmp_path / 'run'
    take(path)
    saved(path, 0)
    (path / 'split.npz').write_text('of the first config')
    # Step 0 is what every run begins with.
    take(path, OTHER)
    assert owner(path) == 2
    assert sorted(p.name for p in path.iterdir()) == ['.lock', 'config.json']
    saved(path, 15)
    with pytest.raises(UserError, match=r'config.seed: 2 there, 1 now'):
        take(path)
    take(path, OTHER)


def test_a_checkpoint_that_was_set_aside_counts_as_trained(tmp_path):
    take(tmp_path / 'run')
    (tmp_path / 'run' / 'baseline' / 'checkpoints' / '00000015.damaged').mkdir(parents=True)
    with pytest.raises(UserError, match='made by another config'):
        take(tmp_path / 'run', OTHER)


@pytest.mark.parametrize('existed', [False, True])
def test_undone_it_is_as_it_was(tmp_path, existed):
    path = tmp_path / 'run'
    if existed:
        path.mkdir()
    workdir = Workdir(path, ONE)
    (path / 'baseline' / 'tensorboard').mkdir(parents=True)
    (path / 'baseline' / 'metrics.csv').write_text('step')
    workdir.undo()
    assert path.exists() == existed
    assert not existed or not any(path.iterdir())


def test_undone_after_a_checkpoint_it_keeps_what_there_is(tmp_path):
    workdir = Workdir(tmp_path / 'run', ONE)
    saved(tmp_path / 'run', 0)
    workdir.undo()
    workdir.close()
    assert owner(tmp_path / 'run') == 1
    assert (tmp_path / 'run' / 'baseline' / 'checkpoints' / '00000000').is_dir()


def test_undone_it_keeps_what_others_put_there(tmp_path):
    workdir = Workdir(tmp_path / 'run', ONE)
    (tmp_path / 'run' / 'thesis.tex').write_text('years of work')
    workdir.undo()
    workdir.close()
    assert (tmp_path / 'run' / 'thesis.tex').read_text() == 'years of work'


def test_force_moves_what_a_link_leads_to_and_keeps_the_link(tmp_path):
    place, link = tmp_path / 'disk' / 'place', tmp_path / 'run'
    place.parent.mkdir()
    link.symlink_to(place)  # It need not exist yet.
    take(link)
    saved(link, 5)
    take(link, OTHER, force=True)
    assert link.is_symlink()
    assert owner(place) == 2
    (old,) = place.parent.glob('place.old-*')
    assert owner(old) == 1
    # An error after that undoes both.
    workdir = Workdir(link, ONE, force=True)
    workdir.undo()
    assert link.is_symlink()
    assert owner(place) == 2


def test_seeds_may_come_and_go_but_one_seed_is_another_kind_of_run(tmp_path):
    path = tmp_path / 'run'
    take(path, dataclasses.replace(ONE, seeds=(0, 1)))
    saved(path / 'seed_0', 5)
    for seeds in ((0, 1, 2), (1,)):
        take(path, dataclasses.replace(OTHER, seeds=seeds))
    with pytest.raises(UserError, match=r'holds a run of several seeds \(1\).*--workdir=DIR/seed_K'):
        take(path)
    shutil.rmtree(path)
    take(path)
    saved(path, 5)
    with pytest.raises(UserError, match="holds a run of one seed, 1; .*'seed_1'"):
        take(path, dataclasses.replace(ONE, seeds=(0, 1)))


def test_only_one_process_has_it(tmp_path):
    first = Workdir(tmp_path / 'run', ONE)
    with pytest.raises(UserError, match='another run is using the WORKDIR'):
        take(tmp_path / 'run')
    first.close()
    take(tmp_path / 'run')
