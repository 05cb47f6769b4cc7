"""Any image classification set of tfds, read without tensorflow; here a tiny one, prepared by the test."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from failpred_jax.config import DataConfig
from failpred_jax.data.tfds import TfdsOptions, load
from failpred_jax.errors import UserError
from failpred_jax.shift.images import Form, load_shift
from failpred_jax.types import DatasetInfo

# Preparing a set imports tfds's builders, which warn in ways that are not ours: it gets a process of its own.
PREPARE = """
import io, sys
import tensorflow_datasets as tfds
from PIL import Image

class Tiny(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
        shape = (None, None, 1) if sys.argv[2] == 'sizes' else (4, 5, 1)
        image = tfds.features.Image(shape=shape, encoding_format='png')
        label = tfds.features.ClassLabel(names=['cat', 'dog', '<b>'])
        features = {'image': image, 'label': label} if sys.argv[2] != 'labels' else {'label': label}
        if sys.argv[2] == 'sizes':
            features['mask'] = tfds.features.Image(shape=(None, None, 1), encoding_format='png')
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, download):
        return {'train': self._generate_examples(30), 'test': self._generate_examples(12)}

    def _generate_examples(self, count):
        for i in range(count):
            file = io.BytesIO()
            size = (5 + i % 3, 4 + i % 2) if sys.argv[2] == 'sizes' else (5, 4)
            Image.new('L', size, i).save(file, 'png')
            file.seek(0)
            mask = io.BytesIO()
            Image.new('L', size, i % 3 + 1).save(mask, 'png')
            mask.seek(0)
            example = {'image': file, 'label': i % 3, 'mask': mask}
            yield i, {k: v for k, v in example.items() if k in self.info.features}

Tiny(data_dir=sys.argv[1], file_format='array_record').download_and_prepare()
"""
NO_TENSORFLOW = Path(__file__).parents[1] / 'e2e' / 'no_tensorflow'


def prepare(folder, kind):
    script = folder / 'prepare.py'
    script.write_text(PREPARE)
    sys_path = f'import sys; sys.path.insert(0, {str(NO_TENSORFLOW)!r}); import runpy; runpy.run_path({str(script)!r})'
    done = subprocess.run([sys.executable, '-c', sys_path, str(folder / 'tfds'), kind], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(folder / 'tfds')


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp('tfds'), 'images')


def test_classes_shapes_and_splits_come_from_tfds(prepared):
    raw = load(DataConfig(), TfdsOptions(name='tiny', data_dir=prepared))
    assert raw.info.image_shape == (4, 5, 1)
    assert raw.info.class_names == ('cat', 'dog', '<b>')
    assert raw.train.images.shape == (30, 4, 5, 1)
    assert sorted(raw.train.images[:, 0, 0, 0]) == list(range(30))
    assert np.array_equal(raw.test.labels, raw.test.images[:, 0, 0, 0] % 3)


def test_part_of_a_split_can_be_named(prepared):
    splits = {'train_split': 'train[:20]', 'validation_split': 'train[20:]'}
    raw = load(DataConfig(), TfdsOptions(name='tiny', data_dir=prepared, **splits))
    assert (len(raw.train.images), len(raw.validation.images)) == (20, 10)
    together = np.concatenate([raw.train.images, raw.validation.images])[:, 0, 0, 0]
    assert sorted(together) == list(range(30))


def test_a_shifted_set_is_a_whole_split_in_tfds_own_language(prepared):
    options = TfdsOptions(name='digits', data_dir=prepared)
    form = Form(DatasetInfo('digits', 'classification', (4, 5, 1), ('0', '1')), DataConfig(owned={'tfds': options}))
    raw = load(DataConfig(), TfdsOptions(name='tiny', data_dir=prepared))
    for split, expected in (
        ('', raw.test.images),
        ('@train', raw.train.images),
        ('@train[:20]', raw.train.images[:20]),
    ):
        found = load_shift(f'tfds:tiny{split}', form)
        assert found.labels is None
        np.testing.assert_array_equal(found.images, expected)
    with pytest.raises(UserError, match="the split is 'tests'; 'tiny' has the splits: "):
        load_shift('tfds:tiny@tests', form)


@pytest.mark.parametrize(
    ('splits', 'words'),
    [
        ({'train_split': 'test'}, "train_split 'test' and config.data.tfds.test_split 'test' share"),
        (
            {'train_split': 'train[:80%]', 'validation_split': 'train[70%:]'},
            r"'train\[:80%\]' and config.data.tfds.validation_split 'train\[70%:\]' share 3 examples of 'train'",
        ),
        ({'validation_split': 'train[5:6]+test[:1]'}, "share 1 examples of 'train'"),
    ],
)
def test_splits_that_overlap_are_refused(prepared, splits, words):
    with pytest.raises(UserError, match=words):
        load(DataConfig(), TfdsOptions(name='tiny', data_dir=prepared, **splits))


def test_an_unknown_split_is_named(prepared):
    with pytest.raises(UserError, match=r"config\.data\.tfds\.test_split is 'tset'; 'tiny' has the splits: t"):
        load(DataConfig(), TfdsOptions(name='tiny', data_dir=prepared, test_split='tset'))


def test_a_set_without_images_is_refused(tmp_path):
    folder = prepare(tmp_path, 'labels')
    with pytest.raises(UserError, match="'tiny' is not an image classification data set: it needs the features"):
        load(DataConfig(), TfdsOptions(name='tiny', data_dir=folder))


def test_images_of_many_sizes_are_brought_to_one_as_they_are_read(tmp_path):
    folder = prepare(tmp_path, 'sizes')
    with pytest.raises(UserError, match=r'different sizes .*--config\.data\.image_size'):
        load(DataConfig(), TfdsOptions(name='tiny', data_dir=folder))
    raw = load(DataConfig(image_size=(6, 6)), TfdsOptions(name='tiny', data_dir=folder))
    assert raw.info.image_shape == (6, 6, 1)
    # Every image is of one gray, which resizing keeps.
    assert sorted(raw.train.images[:, 5, 5, 0]) == list(range(30))
    # The same set by its label maps, whose numbers run from 1.
    masks = {'label_key': 'mask', 'mask_values': (1, 2, 3), 'class_names': ('a', 'b', 'c')}
    raw = load(DataConfig(image_size=(6, 6)), TfdsOptions(name='tiny', data_dir=folder, **masks))
    assert (raw.info.task, raw.info.class_names) == ('segmentation', ('a', 'b', 'c'))
    assert np.array_equal(raw.train.labels[:, 2, 3], raw.train.images[:, 2, 3, 0] % 3)
    with pytest.raises(UserError, match=r"label_key is 'labels', but 'tiny' has the features: .*mask \(image\)"):
        load(DataConfig(image_size=(6, 6)), TfdsOptions(name='tiny', data_dir=folder, label_key='labels'))
