"""What systems leave in folders is no data; what people put there is."""

import pytest
from data.pictures_on_disk import picture, save
from PIL import Image

from failpred_jax.data.cache import everything_below
from failpred_jax.data.listing import by_stem, holds_runs, list_below, list_folder, readable
from failpred_jax.errors import UserError


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{}')


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


@pytest.mark.parametrize(
    'files',
    [
        ['tiny/check/check.md', 'tiny/check/contact_sheet.png'],
        ['tiny/.lock', 'tiny/config.json', 'tiny/report/figures/a.png'],
        ['.lock', 'config.json', 'seed_1/config.json', 'seed_1/environment.json', 'seed_1/report/a.png'],
        ['scored/.lock', 'scored/evaluation/scores.json', 'scored/labelling/sheet.png', 'notes/readme.txt'],
    ],
)
def test_a_workdir_among_pictures_is_left_out(tmp_path, files, capsys):
    """Whether --mode=check made it, a run, several seeds or a file of predictions: it holds no pictures of the data."""
    for file in ['cat/a.png', 'train/dog/b.png', *(f'runs/{file}' for file in files)]:
        save(tmp_path / file, picture(0)) if file.endswith('png') else write(tmp_path / file)
    assert [p.name for p in list_folder(tmp_path).folders] == ['cat', 'train']
    assert [p.name for p in list_below(tmp_path).pictures] == ['a.png', 'b.png']
    assert "runs' holds runs of this program, and is not taken" in capsys.readouterr().out
    before = everything_below(tmp_path)
    assert tmp_path / 'train' / 'dog' / 'b.png' in before
    write(tmp_path / 'runs' / 'later.json')
    assert everything_below(tmp_path) == before
    # Where somebody keeps pictures beside runs, they are pictures.
    save(tmp_path / 'runs' / 'mine' / 'c.png', picture(1))
    assert holds_runs(tmp_path / 'runs') == (files[0] == '.lock')


def test_a_file_that_runs_have_too_makes_no_run(tmp_path):
    for name in ('config.json', 'check.md', 'environment.yml'):
        write(tmp_path / 'cat' / name)
    assert [p.name for p in list_folder(tmp_path).folders] == ['cat']


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
