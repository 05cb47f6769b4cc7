"""Files that appear whole or not at all."""

import json

import numpy as np
import pytest

from failpred_jax import files


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*'))


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / 'a.txt'
    files.write_text(path, 'old')
    with pytest.raises(RuntimeError), files.whole_file(path) as file:
        file.write(b'half of the n')
        raise RuntimeError
    assert path.read_text() == 'old'
    assert names(tmp_path) == ['a.txt']


def test_until_it_is_whole_a_file_has_another_name(tmp_path):
    path = tmp_path / 'a.txt'
    with files.whole_file(path) as file:
        file.write(b'new')
        (other,) = tmp_path.iterdir()
        assert files.is_unfinished(other)
    assert names(tmp_path) == ['a.txt']
    assert not files.is_unfinished(path)


def test_several_files_replace_the_old_ones_together_or_not_at_all(tmp_path):
    for name in ('a', 'last', 'other'):
        files.write_text(tmp_path / name, 'old')
    with pytest.raises(OSError, match='full'), files.whole_files(tmp_path, last='last') as aside:
        files.write_text(aside / 'last', 'new')
        raise OSError('full')
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {'a': 'old', 'last': 'old', 'other': 'old'}
    with files.whole_files(tmp_path, last='last') as aside:
        files.write_text(aside / 'last', 'new')
        files.write_text(aside / 'a', 'new')
        assert (tmp_path / 'a').read_text() == 'old'
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {'a': 'new', 'last': 'new', 'other': 'old'}


def test_sweeping_takes_only_what_was_left_unfinished(tmp_path):
    (tmp_path / 'stage').mkdir()
    (tmp_path / 'stage' / f'.metrics.csv.x1{files.UNFINISHED}').write_text('half')
    (tmp_path / f'.y2{files.UNFINISHED}').mkdir()
    (tmp_path / f'.y2{files.UNFINISHED}' / 'a').write_text('half')
    for name in ('.hidden', 'notes.unfinished', 'stage/metrics.csv'):
        (tmp_path / name).write_text('mine')
    files.sweep(tmp_path)
    assert names(tmp_path) == ['.hidden', 'notes.unfinished', 'stage', 'stage/metrics.csv']


def test_numbers_that_other_readers_refuse_are_not_written(tmp_path):
    with pytest.raises(ValueError, match='JSON'):
        files.write_json(tmp_path / 'a.json', {'x': float('nan')})
    with pytest.raises(ValueError, match='Python objects'):
        files.write_npz(tmp_path / 'a.npz', {'x': np.array([{}], dtype=object)})
    assert names(tmp_path) == []
    files.write_json(tmp_path / 'a.json', {'x': [1, None]})
    assert json.loads((tmp_path / 'a.json').read_text()) == {'x': [1, None]}


def test_names_whose_bytes_are_no_text_can_be_written(tmp_path):
    # What Python makes of an umlaut in UTF-8 where the locale is ASCII, and of one in Latin-1.
    files.write_text(tmp_path / 'x.txt', 'bl\udcc3\udcbc gr\udcfcn ü')
    assert (tmp_path / 'x.txt').read_text(encoding='utf-8') == 'blü gr\ufffdn ü'
