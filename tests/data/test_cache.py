"""Decoded sets are kept for the next start, found by their files, and never believed without a look."""

import shutil

import numpy as np
import pytest
from data.pictures_on_disk import picture, save

from failpred_jax.config import DataConfig
from failpred_jax.data import cache, decoding, load_data


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Return the folder of pictures and that of the cache, which keeps everything however quick it was."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache ü'))
    monkeypatch.setattr(cache, 'WORTH_SECONDS', -1.0)
    for i in range(12):
        save(tmp_path / 'set' / f'class {i % 2}' / f'{i}.png', picture(i))
    return tmp_path / 'set', tmp_path / 'cache ü' / 'failpred_jax' / 'data'


def decoded(monkeypatch):
    """Return a list that grows with every array of pictures that is decoded."""
    calls = []
    whole = decoding.decode_files
    monkeypatch.setattr('failpred_jax.data.labeled_files.decode_files', lambda *args: calls.append(1) or whole(*args))
    return calls


def same(a, b):
    pairs = [(getattr(a, part), getattr(b, part)) for part in ('train', 'val', 'test')]
    return all(np.array_equal(x.images, y.images) and np.array_equal(x.labels, y.labels) for x, y in pairs)


def test_the_second_start_decodes_nothing_and_a_change_or_damage_decodes_anew(kept, monkeypatch, capsys):
    folder, entries = kept
    calls = decoded(monkeypatch)
    config = DataConfig(source='folder', path=str(folder))
    first = load_data(config)
    second = load_data(config)
    assert (len(calls), same(first, second), first.info == second.info) == (1, True, True)
    assert 'config.data.cache_mb=0 does without' in capsys.readouterr().out

    # One bit of what was kept.
    (entry,) = entries.iterdir()
    content = bytearray((entry / 'train_images.npy').read_bytes())
    content[-1] ^= 1
    (entry / 'train_images.npy').write_bytes(content)
    assert same(first, load_data(config))
    assert len(calls) == 2
    assert 'is not what was written' in capsys.readouterr().out

    # A picture with other content in as many bytes is another set, and so is one more folder, without a picture.
    save(folder / 'class 0' / '0.png', picture(200))
    assert not same(first, load_data(config))
    (folder / 'class 2').mkdir()
    assert load_data(config).info.num_classes == 3
    assert len(calls) == 4
    assert load_data(DataConfig(source='folder', path=str(folder), image_size=(4, 4))).info.image_shape == (4, 4, 3)
    assert len(calls) == 5
    load_data(DataConfig(source='folder', path=str(folder), cache_mb=0))
    assert len(calls) == 6


def test_a_cache_that_cannot_be_written_or_found_is_done_without(kept, monkeypatch, capsys):
    folder, entries = kept
    calls = decoded(monkeypatch)
    config = DataConfig(source='folder', path=str(folder))
    entries.parent.parent.mkdir()
    entries.parent.write_text('a file where the folder should be')
    for _ in range(2):
        load_data(config)
    assert len(calls) == 2
    assert 'note: decoded images are not kept in' in capsys.readouterr().out
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setattr('pathlib.Path.home', lambda: (_ for _ in ()).throw(RuntimeError('no home')))
    load_data(config)


def test_old_entries_make_room(kept):
    _, entries = kept
    for i in range(4):
        (entries / f'e{i}').mkdir(parents=True)
        (entries / f'e{i}' / 'x.npy').write_bytes(bytes(100))
    cache._make_room(entries, entries / 'e3', 250)
    assert len(list(entries.iterdir())) == 2
    assert (entries / 'e3').exists()
    shutil.rmtree(entries)
