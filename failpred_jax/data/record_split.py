"""One split of a set of tfds as examples: in memory, or read from its records when they are needed."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from failpred_jax.data.decoding import BLOCK, decode, in_threads
from failpred_jax.data.label_maps import MapRule
from failpred_jax.data.lazy import LazyRows, Seen, Stored, lazy_pictures, rows_by
from failpred_jax.data.lazy_maps import lazy_maps
from failpred_jax.data.parts import some
from failpred_jax.data.pictures import read_label_map, read_picture, size_of
from failpred_jax.data.records import Records
from failpred_jax.data.resize import resize_labels
from failpred_jax.errors import UserError
from failpred_jax.types import DatasetInfo, Examples


class RecordSplit:
    """The images and labels of a split.

    Args:
      records: of the split.
      features: name -> feature of the set as tfds has it, 'a/b' for a feature b in a set of features a.
      keys: the names of those that hold the images and the labels.
      info: of the set; its task says whether labels are classes or label maps.
      map_rule: what the numbers of label maps mean.
      resize: whether images of another size than `info` says are brought to it; else they are an error.
      what: what this is, for messages and progress.
    """

    def __init__(
        self,
        records: Records,
        features: Mapping[str, Any],
        keys: tuple[str, str],
        info: DatasetInfo,
        map_rule: MapRule,
        resize: bool,
        what: str,
    ):
        self._records, self._features, self._keys, self._what = records, features, keys, what
        self._shape, self._map_rule, self._resize = info.image_shape, map_rule, resize
        self._is_map = info.task == 'segmentation'
        self._classes = np.zeros(records.count, np.int32)
        self._is_known = np.zeros(records.count, bool)

    def examples(self, is_lazy: bool) -> Examples:
        """Return the examples: images [N, H, W, channels] uint8, and classes [N] int32 or label maps [N, H, W].

        Args:
          is_lazy: whether they stay in their files. Classes do until the images have been looked through.

        Raises:
          UserError: records cannot be read.
        """
        count, size, dtype = self._records.count, self._shape[:2], self._map_rule.dtype
        names, maps = self._name, f'the label maps of {self._what}'
        if not is_lazy:
            labels = np.empty((count, *size), dtype) if self._is_map else self._classes

            def both(i: int) -> np.ndarray:
                if self._is_map:
                    labels[i] = self._label_map(i)
                return self._image(i)

            return Examples(decode(count, both, self._shape, self._resize, self._what, names), labels)
        images = lazy_pictures(count, self._image, self._shape, self._resize, self._what, names)
        if self._is_map:
            return Examples(images, lazy_maps(count, self._label_map, size, dtype, maps, names))
        stored = Stored((count,), rows_by(self._class, (), np.int32), self._all_classes, np.dtype(np.int32))
        return Examples(images, cast(np.ndarray, LazyRows(stored)))

    def _name(self, i: int) -> str:
        return f'{self._what}, number {i}'

    def _image(self, i: int) -> np.ndarray:
        """Return an image as it is stored; its class is kept on the way."""
        if self._is_map:
            encoded = self._read(i, self._keys[:1])[0]
        else:
            encoded, self._classes[i] = self._read(i, self._keys)
            self._is_known[i] = True
        # As tensorflow does, orientations of EXIF are left alone.
        return read_picture(encoded, self._shape[-1], self._picture(i), turn=False)

    def _class(self, i: int) -> Any:
        if not self._is_known[i]:
            self._classes[i] = self._read(i, self._keys[1:])[0]
            self._is_known[i] = True
        return self._classes[i]

    def _all_classes(self) -> Seen:
        """Return the classes of all examples, for which no image is decoded."""
        missing = np.flatnonzero(~self._is_known)

        def fill(start: int) -> None:
            for i in missing[start : start + BLOCK]:
                self._class(int(i))

        for _ in in_threads(fill, range(0, len(missing), BLOCK), len(missing), BLOCK, f'the classes of {self._what}'):
            pass
        return Seen(classes=self._classes.copy())

    def _label_map(self, i: int) -> np.ndarray:
        """Return a label map [H, W] of classes, brought to its size. Of the image only the header is looked at."""
        encoded, label = self._read(i, self._keys)
        of_image, label = size_of(encoded, self._picture(i), turn=False), read_label_map(label, self._picture(i))
        if of_image[:2] != label.shape:
            raise UserError(f'{self._name(i)}: the image is {_by(of_image)}, its label map {_by(label.shape)}')
        return resize_labels(self._map_rule.applied(label, self._name(i))[None], self._shape[:2])[0]

    def _picture(self, i: int) -> str:
        file, number = self._records.place_of(i)
        return f'number {i} of {self._what}, record {number:,} of {file}'.replace("'", '')

    def _read(self, i: int, keys: tuple[str, ...]) -> list[Any]:
        """Return some features of an example, images as they are encoded.

        Raises:
          UserError: the record is damaged, or its file or the example in it cannot be read.
        """
        try:
            record = self._records.read(i)
            if not record:
                raise ValueError('the record is empty')
            found = self._parse(keys)(record)
            values = [functools.reduce(lambda inside, name: inside[name], key.split('/'), found) for key in keys]
            lacking = [key for key, value in zip(keys, values, strict=True) if value is None]
            if lacking:
                raise ValueError(f'the example lacks {some(lacking)}')
            return values
        except Exception as error:  # Each format, and each kind of damage, has errors of its own.
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            file, number = self._records.place_of(i)
            raise UserError(
                f"{self._name(i)}, record {number:,} of '{file}', cannot be read ({reason[:200]}); restore the file "
                'from a copy, or prepare the set again elsewhere: --config.data.tfds.data_dir=DIR'
            ) from error

    @functools.cache  # noqa: B019  (a split lives as long as the run)
    def _parse(self, keys: tuple[str, ...]) -> Any:
        """Return (a record) -> the features of these names, and no others; images are left encoded.

        tfds would decode a palette's numbers as grays, and with OpenCV where that is installed.
        """
        import tensorflow_datasets as tfds

        decoders = {key: tfds.decode.SkipDecoding() for key in keys if key == self._keys[0] or self._is_map}
        wanted = _nested({key: self._features[key] for key in keys}, tfds.features.FeaturesDict)
        return functools.partial(wanted.deserialize_example_np, decoders=_nested(decoders, dict) or None)


def _nested(values: Mapping[str, Any], made: Callable[[dict[str, Any]], Any]) -> Any:
    """Return values by name as nested sets, each `made` of a dict: 'a/b' is b in a."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(key.partition('/')[0] for key in values):
        below = {key.partition('/')[2]: value for key, value in values.items() if key.startswith(f'{name}/')}
        found[name] = _nested(below, made) if below else values[name]
    return made(found)


def _by(shape: Sequence[int]) -> str:
    return f'{shape[0]} x {shape[1]}'
