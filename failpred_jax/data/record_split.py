"""One split of a set of tfds as examples: in memory, or read from its records when they are needed."""

import functools
import io
from typing import Any, cast

import numpy as np

from failpred_jax.data.decoding import BLOCK, decode, in_threads
from failpred_jax.data.label_maps import MapRule
from failpred_jax.data.lazy import LazyRows, Seen, Stored, lazy_pictures, rows_by
from failpred_jax.data.lazy_maps import lazy_maps
from failpred_jax.data.parts import some
from failpred_jax.data.records import Records
from failpred_jax.data.resize import resize_labels
from failpred_jax.errors import UserError
from failpred_jax.types import DatasetInfo, Examples


class RecordSplit:
    """The images and labels of a split.

    Args:
      records: of the split.
      features: of the set, as tfds has them.
      keys: the names of the features that hold the images and the labels.
      info: of the set; its task says whether labels are classes or label maps.
      map_rule: what the numbers of label maps mean.
      what: what this is, for messages and progress.
    """

    def __init__(
        self, records: Records, features: Any, keys: tuple[str, str], info: DatasetInfo, map_rule: MapRule, what: str
    ):
        self._records, self._features, self._keys, self._what = records, features, keys, what
        self._shape, self._map_rule = info.image_shape, map_rule
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

            return Examples(decode(count, both, self._shape, True, self._what, names), labels)
        images = lazy_pictures(count, self._image, self._shape, True, self._what, names)
        if self._is_map:
            return Examples(images, lazy_maps(count, self._label_map, size, dtype, maps, names))
        stored = Stored((count,), rows_by(self._class, (), np.int32), self._all_classes, np.dtype(np.int32))
        return Examples(images, cast(np.ndarray, LazyRows(stored)))

    def _name(self, i: int) -> str:
        return f'{self._what}, number {i}'

    def _image(self, i: int) -> np.ndarray:
        """Return an image as it is stored; its class is kept on the way."""
        if self._is_map:
            return self._read(i, self._keys[:1])[0]
        image, self._classes[i] = self._read(i, self._keys)
        self._is_known[i] = True
        return image

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
        encoded, label = self._read(i, self._keys, is_header=True)
        if encoded != label.shape[:2]:
            raise UserError(f'{self._name(i)}: the image is {_by(encoded)}, its label map {_by(label.shape)}')
        return resize_labels(self._map_rule.applied(label[..., 0], self._name(i))[None], self._shape[:2])[0]

    def _read(self, i: int, keys: tuple[str, ...], is_header: bool = False) -> list[Any]:
        """Return some features of an example, decoded; with `is_header`, of the image no more than (height, width).

        Raises:
          UserError: the record is damaged, or its file or the example in it cannot be read.
        """
        try:
            record = self._records.read(i)
            if not record:
                raise ValueError('the record is empty')
            found = self._parse(keys, is_header)(record)
            values = [found[key] for key in keys]
            lacking = [key for key, value in zip(keys, values, strict=True) if value is None]
            if lacking:
                raise ValueError(f'the example lacks {some(lacking)}')
            if is_header:
                values[0] = _size_of(values[0])
            return values
        except Exception as error:  # Each format, and each kind of damage, has errors of its own.
            is_no_image = type(error).__name__ == 'UnidentifiedImageError'  # Its words are the address of a buffer.
            lines = ['there is no image in it'] if is_no_image else str(error).strip().splitlines()
            reason = next(iter(lines), type(error).__name__)
            file, number = self._records.place_of(i)
            raise UserError(
                f"{self._name(i)}, record {number:,} of '{file}', cannot be read ({reason[:200]}); restore the file "
                'from a copy, or prepare the set again elsewhere: --config.data.tfds.data_dir=DIR'
            ) from error

    @functools.cache  # noqa: B019  (a split lives as long as the run)
    def _parse(self, keys: tuple[str, ...], is_header: bool) -> Any:
        """Return (a record) -> the features of these names, and no others."""
        import tensorflow_datasets as tfds

        wanted = tfds.features.FeaturesDict({key: self._features[key] for key in keys})
        decoders = {self._keys[0]: tfds.decode.SkipDecoding()} if is_header else None
        return functools.partial(wanted.deserialize_example_np, decoders=decoders)


def _size_of(encoded: bytes) -> tuple[int, int]:
    """Return (height, width) of an encoded image, by its header."""
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as image:
        return image.height, image.width


def _by(shape: tuple[int, ...]) -> str:
    return f'{shape[0]} x {shape[1]}'
