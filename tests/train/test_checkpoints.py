"""Checkpoints: exact, checked, and never overwritten when all are bad."""

import errno
import os
import shutil
from dataclasses import asdict

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from failpred_jax.errors import UserError
from failpred_jax.train.checkpoints import Checkpoints, Damaged, Progress, _digest
from failpred_jax.train.stage import TrainState

# When a read fails, tensorstore's other reads call back into an event loop that orbax has closed; Python reports that
# from a thread of its own, at a time of its own.
pytestmark = pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')


def state(step, seed=0):
    rng = np.random.default_rng(seed)
    trained = {'head': {'kernel': rng.normal(size=(30, 40)).astype(np.float32)}}
    return TrainState(
        step=np.int32(step),
        key=jax.random.key(seed),
        trained=trained,
        frozen={'backbone': {'bias': rng.normal(size=3).astype(np.float32)}},
        batch_stats={},
        opt_state=optax.adam(1e-3).init(trained),
    )


def same(a, b):
    a, b = (s.replace(key=jax.random.key_data(s.key)) for s in (a, b))
    assert jax.tree.structure(a) == jax.tree.structure(b)
    assert all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.fixture
def saved(tmp_path):
    checkpoints = Checkpoints(tmp_path / 'checkpoints', num_latest=2)
    for step in (10, 20, 30, 40):
        checkpoints.save(state(step, seed=step), Progress(best_step=10, best_value=0.5, count=step))
    yield checkpoints
    checkpoints.close()


def damage(checkpoints, step):
    folder = checkpoints.folder / f'{step:08d}' / 'state'
    victim = max((f for f in folder.rglob('*') if f.is_file()), key=lambda f: f.stat().st_size)
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])


def nobody(text):
    raise AssertionError(text)


def test_what_is_restored_is_what_was_saved(saved):
    restored, progress = saved.restore_latest(state(0), nobody)
    same(restored, state(40, seed=40))
    assert progress == Progress(best_step=10, best_value=0.5, count=40)


def test_the_latest_and_the_best_are_kept(saved):
    assert saved.steps() == [10, 30, 40]


def test_a_truncated_checkpoint_is_named_set_aside_and_passed_over(saved):
    damage(saved, 40)
    with pytest.raises(Damaged, match='checkpoint 40 in .* cannot be used'):
        saved.restore(40, state(0))
    told = []
    restored, _ = saved.restore_latest(state(0), told.append)
    same(restored, state(30, seed=30))
    assert len(told) == 1
    assert 'checkpoint 40' in told[0]
    assert 'goes on from step 30' in told[0]
    assert (saved.folder / '00000040.damaged').is_dir()
    assert saved.steps() == [10, 30]
    saved.save(state(40, seed=40), Progress())
    assert saved.steps() == [30, 40]


def files_of(checkpoint):
    return sorted(f for f in checkpoint.rglob('*') if f.is_file())


def flip_bits(checkpoint):
    # In every file of the arrays, all along: a single one may lie where orbax keeps what nobody reads.
    for victim in (f for f in files_of(checkpoint) if 'state' in f.parts):
        content = np.frombuffer(victim.read_bytes(), np.uint8).copy()
        content[::16] ^= 1
        victim.write_bytes(content.tobytes())


def delete_half(checkpoint):
    for file in files_of(checkpoint)[::2]:
        file.unlink()


@pytest.mark.parametrize(
    'harm',
    [
        flip_bits,
        delete_half,
        lambda checkpoint: shutil.rmtree(checkpoint / 'state'),
        lambda checkpoint: (checkpoint / 'progress' / 'metadata').unlink(),
        lambda checkpoint: (checkpoint / 'progress' / 'metadata').write_text('{"best_step": 1'),
        lambda checkpoint: [file.write_bytes(b'') for file in files_of(checkpoint)],
        lambda checkpoint: [shutil.rmtree(path) if path.is_dir() else path.unlink() for path in checkpoint.iterdir()],
    ],
    ids=['bit flipped', 'half deleted', 'no state', 'no progress', 'half a progress', 'all files empty', 'empty'],
)
def test_a_damaged_checkpoint_is_passed_over(saved, harm):
    harm(saved.folder / '00000040')
    saved.close()
    told = []
    again = Checkpoints(saved.folder)
    restored, progress = again.restore_latest(state(0), told.append)
    again.close()
    same(restored, state(30, seed=30))
    assert progress.count == 30
    assert [text.split(' in ')[0] for text in told] == ['checkpoint 40']
    assert (saved.folder / '00000040.damaged').is_dir()


def test_a_disk_that_fills_up_stops_and_leaves_the_earlier_ones(saved, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(saved._manager, 'save', full)
        with pytest.raises(UserError, match='checkpoint 50 could not be written to .*No space left on device'):
            saved.save(state(50, seed=50), Progress())
    assert saved.steps() == [10, 30, 40]
    same(saved.restore_latest(state(0), nobody)[0], state(40, seed=40))


def test_no_usable_checkpoint_stops_and_touches_nothing(saved):
    for step in saved.steps():
        damage(saved, step)
    before = sorted(p.name for p in saved.folder.iterdir())
    with pytest.raises(UserError, match='no checkpoint in .* is usable and nothing was changed'):
        saved.restore_latest(state(0), nobody)
    assert sorted(p.name for p in saved.folder.iterdir()) == before


def test_an_empty_folder_has_nothing_to_resume(tmp_path):
    checkpoints = Checkpoints(tmp_path / 'none')
    assert checkpoints.restore_latest(state(0), nobody) is None
    checkpoints.close()


def with_first_names(tree):
    """Return nested dicts with the sub-trees of parameters under the names that they first had."""
    names = {'backbone': 'trunk', 'classifier': 'top'}
    if isinstance(tree, dict):
        return {names.get(name, name): with_first_names(value) for name, value in tree.items()}
    if hasattr(tree, '_fields'):
        return type(tree)(*(with_first_names(value) for value in tree))
    return tuple(with_first_names(value) for value in tree) if isinstance(tree, tuple) else tree


def test_a_checkpoint_of_the_first_layout_is_read(tmp_path):
    rng = np.random.default_rng(3)
    trained = {
        name: {'bias': rng.normal(size=k).astype(np.float32)} for name, k in (('backbone', 2), ('classifier', 3))
    }
    frozen = {'head': {'bias': np.ones(4, np.float32)}}
    now = TrainState(np.int32(5), jax.random.key(1), trained, frozen, {}, optax.adam(1e-3).init(trained))
    then = {
        name: with_first_names(jax.tree.map(np.asarray, getattr(now, name)))
        for name in ('step', 'trained', 'frozen', 'batch_stats', 'opt_state')
    }
    then['key'] = np.asarray(jax.random.key_data(now.key))
    checkpoints = Checkpoints(tmp_path / 'checkpoints')
    progress = {**asdict(Progress(best_step=5)), 'digest': _digest(then)}
    items = ocp.args.Composite(state=ocp.args.StandardSave(then), progress=ocp.args.JsonSave(progress))
    checkpoints._manager.save(5, args=items, force=True)
    restored, found = checkpoints.restore_latest(now.replace(step=np.int32(0)), nobody)
    same(restored, now)
    assert found.best_step == 5
    # It goes on in the layout of today, beside it.
    checkpoints.save(now.replace(step=np.int32(6)), Progress(best_step=5))
    same(checkpoints.restore(6, now)[0], now.replace(step=np.int32(6)))
    same(checkpoints.restore(5, now)[0], now)
    checkpoints.close()


def test_what_a_recipe_chose_is_evaluated_and_the_trained_weights_go_on(tmp_path):
    chosen = {'trained': state(7, seed=1).trained, 'batch_stats': {}}
    saved = state(7).replace(recipe_states={'average': {'count': np.int32(3)}}, evaluated=chosen)
    checkpoints = Checkpoints(tmp_path / 'checkpoints')
    checkpoints.save(saved, Progress())
    same(checkpoints.restore_latest(saved, nobody)[0], saved)
    same(checkpoints.restore(7, saved)[0], saved.replace(**chosen))
    checkpoints.close()
