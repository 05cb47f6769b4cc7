"""Shifted sets from elsewhere: brought to the form of a run, or refused in one message."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from failpred_jax.config import Config, DataConfig, EvaluateConfig, default_config, read_config
from failpred_jax.data.excluding import without_classes
from failpred_jax.data.sources import RawData
from failpred_jax.errors import UserError
from failpred_jax.registry import CORRUPTIONS, SHIFTS
from failpred_jax.shift.images import Form, draw, expand, in_form, load_shift
from failpred_jax.shift.sources.glyphs import DIGITS, LETTERS, render
from failpred_jax.shifting import slug
from failpred_jax.types import DatasetInfo, Examples

GRAY = DatasetInfo('digits', 'classification', (8, 8, 1), tuple(DIGITS))
COLOR = DatasetInfo('pets', 'classification', (16, 16, 3), ('cat', 'dog'))


def form(info):
    return Form(info, DataConfig())


def test_color_becomes_gray_by_luma_and_gray_becomes_color(rng):
    color = rng.integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
    gray = in_form(color, GRAY)
    expected = [np.asarray(Image.fromarray(picture).convert('L')) for picture in color]
    np.testing.assert_allclose(gray[..., 0].astype(int), expected, atol=1)
    back = in_form(gray.repeat(2, axis=1).repeat(2, axis=2), COLOR)
    assert back.shape == (5, 16, 16, 3)
    assert (back == back[..., :1]).all()
    with_opacity = np.concatenate([color, np.full((5, 8, 8, 1), 7, np.uint8)], axis=-1)
    np.testing.assert_array_equal(in_form(with_opacity, GRAY), gray)
    assert in_form(gray[..., 0], GRAY).shape == (5, 8, 8, 1)


def test_glyphs_are_the_same_every_time_and_differ_among_themselves():
    first, labels = render(LETTERS, 0, 40)
    np.testing.assert_array_equal(render(LETTERS, 0, 20)[0], first[:20])
    assert (labels[:10] == np.arange(10)).all()
    assert len(np.unique(first, axis=0)) == 40
    ink = (first > 128).mean(axis=(1, 2, 3))
    assert ink.min() > 0.01 and ink.max() < 0.5
    strangers, digits = load_shift('glyphs', form(GRAY)), load_shift('glyph_digits', form(GRAY))
    assert strangers.labels is None
    assert strangers.images.shape == (2000, 8, 8, 1)
    assert np.bincount(digits.labels).tolist() == [200] * 10


def test_a_folder_holds_strangers_or_classes(tmp_path, rng):
    for name, size in (('cat', (20, 30)), ('dog', (16, 16))):
        (tmp_path / name).mkdir()
        Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).save(tmp_path / name / 'a.png')
    of_classes = load_shift(f'folder:{tmp_path}', form(COLOR))
    assert of_classes.labels.tolist() == [0, 1]
    assert of_classes.images.shape == (2, 16, 16, 3)
    assert load_shift(f'folder:{tmp_path}', form(GRAY)).labels is None


def test_pictures_of_a_kind_that_is_not_read_are_told(tmp_path, rng, capsys):
    Image.fromarray(rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)).save(tmp_path / 'a.png')
    for name in ('b.heic', 'notes.txt'):
        (tmp_path / name).write_bytes(b'x')
    assert len(load_shift(f'folder:{tmp_path}', form(COLOR)).images) == 1
    out = capsys.readouterr().out
    assert f"note: 1 picture below '{tmp_path}' cannot be used: '{tmp_path}/b.heic' is a picture of a kind" in out


def test_a_file_of_arrays(tmp_path, rng):
    images = rng.integers(0, 256, (6, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / 'a.npz', images=images)
    np.savez(tmp_path / 'b.npz', images=images, labels=np.arange(6))
    assert load_shift(f'arrays:{tmp_path}/a.npz', form(GRAY)).labels is None
    assert load_shift(f'arrays:{tmp_path}/b.npz', form(GRAY)).labels.tolist() == list(range(6))


def bad_files(folder):
    (folder / 'empty').mkdir()
    small = np.zeros((3, 8, 8), np.uint8)
    np.savez(folder / 'two.npz', images=np.zeros((3, 8, 8, 2), np.uint8))
    np.savez(folder / 'floats.npz', images=np.zeros((3, 8, 8)))
    np.savez(folder / 'none.npz', images=small[:0])
    np.savez(folder / 'labels.npz', images=small, labels=np.full(3, 10))
    np.savez(folder / 'names.npz', pictures=small)


@pytest.mark.parametrize(
    ('asked', 'info', 'message'),
    [
        ('folder:{}/empty', GRAY, "empty' holds no pictures of a kind that is read here"),
        ('folder:{}/missing', GRAY, 'there is no folder'),
        ('arrays:{}/two.npz', GRAY, 'its images have 2 channels and those of digits 1'),
        ('arrays:{}/floats.npz', GRAY, 'they must be uint8'),
        ('arrays:{}/none.npz', GRAY, 'it holds no images'),
        ('arrays:{}/labels.npz', GRAY, "'labels' must be (3,) integers from 0 to 9"),
        ('arrays:{}/names.npz', GRAY, "it must hold 'images' and perhaps 'labels'; it holds: pictures"),
        ('glyph_digits', COLOR, 'the classes of pets are not the digits 0 to 9'),
        ('glyphs', dataclasses.replace(GRAY, class_names=('A', 'B')), 'letters are no strangers'),
    ],
)
def test_what_cannot_be_had_is_said_in_one_message(tmp_path, asked, info, message):
    bad_files(tmp_path)
    asked = asked.format(tmp_path)
    with pytest.raises(UserError) as error:
        load_shift(asked, form(info))
    assert str(error.value).startswith(f"config.evaluate.shifts, '{asked}': ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    'bad', ['blurr', 'blur:6', 'blur:0', 'blur:', 'tfds', 'tfds:', 'glyphs:x', 'all_corruptions:2']
)
def test_the_config_refuses_what_is_no_shift(bad):
    given = default_config()
    given.evaluate.shifts = ('contrast:2', bad)
    with pytest.raises(UserError) as error:
        read_config(given)
    assert 'config.evaluate.shifts is ' in str(error.value)
    assert 'each perhaps with a severity from :1 to :5' in str(error.value)


def test_the_config_takes_every_kind():
    given = default_config()
    given.data.source = 'digits'
    given.evaluate.shifts = ('all_corruptions', 'blur:3', 'tfds:cifar10', 'folder:a:b', 'glyphs')
    assert read_config(given).evaluate.shifts == given.evaluate.shifts
    names = dict(expand(given.evaluate.shifts))
    assert set(CORRUPTIONS) < set(names)
    assert names['blur:3'] == (3,)
    assert names['contrast'] == (1, 2, 3, 4, 5)
    assert names['glyphs'] == ()
    assert EvaluateConfig().shifts == Config().evaluate.shifts == ()
    assert {'tfds', 'folder', 'arrays', 'glyphs', 'glyph_digits'} <= set(SHIFTS)


def test_draws_are_rising_distinct_and_the_same_every_time():
    rows = draw(100, 30, 0)
    assert (np.diff(rows) > 0).all() and len(rows) == 30
    np.testing.assert_array_equal(rows, draw(100, 30, 0))
    assert len(draw(20, 30, 0)) == len(draw(20, 0, 0)) == 20


def test_names_of_files_are_distinct():
    names = ['blur', 'blur:3', 'blur_3', 'folder:a/b', 'folder:a_b', 'folder:' + 'x' * 200]
    assert len({slug(name) for name in names}) == len(names)
    assert all(len(slug(name)) < 60 and '/' not in slug(name) for name in names)


def raw(test=True):
    labels = np.arange(12) % 4
    examples = Examples(np.arange(12 * 4).reshape(12, 2, 2, 1).astype(np.uint8), labels.astype(np.int32))
    info = DatasetInfo('four', 'classification', (2, 2, 1), ('a', 'b', 'c', 'd'))
    held_out = {'test': np.arange(12)} if test else {}
    return RawData(info, examples, None, examples if test else None, groups=np.arange(12), held_out_groups=held_out)


@pytest.mark.parametrize('has_test', [True, False])
def test_excluded_classes_are_nowhere_but_among_the_strangers(has_test):
    left, strangers = without_classes(raw(has_test), ('b', 'd'))
    assert (left.info.name, left.info.class_names) == ('four without b, d', ('a', 'c'))
    assert left.train.labels.tolist() == [0, 1] * 3
    assert left.groups.tolist() == [0, 2, 4, 6, 8, 10]
    assert [groups.tolist() for groups in left.held_out_groups.values()] == [[0, 2, 4, 6, 8, 10]] * has_test
    assert strangers.labels.tolist() == [1, 3] * 3
    shown = np.concatenate([left.train.images, strangers.images]).reshape(12, -1)
    assert sorted(shown.tolist()) == raw().train.images.reshape(12, -1).tolist()
    assert (left.test is None) == (not has_test)
    assert without_classes(raw(), ())[1] is None


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (('e',), "names 'e'.*no class of four .a, b, c, d."),
        (('a', 'a'), "names 'a' twice"),
        (('a', 'b', 'c'), 'leaves 1 of the 4 classes'),
        (('a', 'b', 'c', 'd'), 'leaves 0 of the 4 classes'),
    ],
)
def test_classes_that_cannot_be_left_out(names, message):
    with pytest.raises(UserError, match=message):
        without_classes(raw(), names)
