"""What systems leave in folders is no data; what people put there is."""

import pytest
from PIL import Image

from failpred_jax.data.listing import by_stem, list_below, list_folder, readable
from failpred_jax.errors import UserError


def test_what_systems_leave_is_skipped_and_what_people_put_there_is_named(tmp_path):
    for name in ('b.PNG', 'ä a.jpg', '._b.png', '.DS_Store', 'Thumbs.db', 'desktop.ini', 'list.txt', 'x.heic'):
        (tmp_path / name).touch()
    for name in ('cats', '.ipynb_checkpoints', '__MACOSX', '@eaDir'):
        (tmp_path / name).mkdir()
    Image.new('L', (2, 2)).save(tmp_path / 'cats' / 'c.webp')
    (tmp_path / 'cats' / 'round').symlink_to(tmp_path)
    found = list_folder(tmp_path)
    assert [p.name for p in found.pictures] == ['b.PNG', 'ä a.jpg']
    assert [p.name for p in found.folders] == ['cats']
    assert [p.name for p in found.others] == ['list.txt', 'x.heic']
    assert [p.name for p in list_below(tmp_path).pictures] == ['b.PNG', 'ä a.jpg', 'c.webp']


def test_folders_that_are_none_are_told(tmp_path):
    with pytest.raises(UserError, match='there is no folder'):
        list_folder(tmp_path / 'gone')
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='is a file, not a folder'):
        list_folder(tmp_path / 'file')


def test_one_base_name_twice_is_named(tmp_path):
    with pytest.raises(UserError, match=r'two pictures of one base name, a.jpg and a.png'):
        by_stem([tmp_path / 'a.jpg', tmp_path / 'a.png'])


def test_names_are_readable_whatever_their_bytes():
    assert readable('bl\udcc3\udcbc') == 'blü'
    assert readable('gr\udcfcn') == 'gr\ufffdn'
