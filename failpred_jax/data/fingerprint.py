"""What data are, by content: digests of images and of labels, whatever the files are called and wherever they lie."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from failpred_jax.data.lazy import is_lazy, row_digests
from failpred_jax.data.sources import images_of
from failpred_jax.types import DatasetInfo, Examples

# Hashed at a time: a set that is mapped from disk is never held whole.
_BLOCK_BYTES = 2**26
# Begins digests that are made of the digests of rows.
_BY_ROWS = 'rows:'


def fingerprint(
    parts: Mapping[str, Examples], info: DatasetInfo, there: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return {'class_names', 'parts': part -> {'count', 'images', 'labels'}}, the last two hexadecimal digests.

    Args:
      parts: of the data set.
      info: of it.
      there: another fingerprint to compare it with. A set that is larger than memory has another kind of digest, which
        is then made of one in memory too, and the other way round.
    """
    before = there['parts'] if there else {}
    described = {
        name: {
            'count': len(examples.labels),
            'images': digest_of_images(images_of(examples), before.get(name, {}).get('images', '')),
            'labels': digest_of_labels(examples.labels, before.get(name, {}).get('labels', '')),
        }
        for name, examples in parts.items()
    }
    return {'class_names': list(info.class_names), 'parts': described}


def digest_of_images(images: np.ndarray, like: str = '') -> str:
    """Return a digest of images: of their bytes, or of their rows' digests where `like` is one or they are not here."""
    if like.startswith(_BY_ROWS) or (not like and is_lazy(images)):
        rows = row_digests(images)
        return _BY_ROWS + hashlib.blake2b(f'{images.shape}'.encode() + rows.tobytes(), digest_size=16).hexdigest()
    return digest(images)


def digest_of_labels(labels: np.ndarray, like: str = '') -> str:
    """Return a digest of labels [N] or label maps [N, H, W], of the same two kinds."""
    return digest_of_images(labels, like) if labels.ndim == 3 else digest(labels)


def add_rows(found: Any, rows: np.ndarray) -> None:
    """Add images or labels to a digest of hashlib; of those that are larger than memory their digest."""
    if is_lazy(rows):
        found.update(digest_of_images(rows).encode())
    else:
        found.update(np.ascontiguousarray(rows).data)


def digest(array: np.ndarray) -> str:
    """Return a digest of an array's shape, type and values."""
    found = hashlib.blake2b(f'{array.shape} {array.dtype.str}'.encode(), digest_size=16)
    rows = max(1, _BLOCK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        found.update(np.ascontiguousarray(array[start : start + rows]).data)
    return found.hexdigest()


def what_differs(there: Mapping[str, Any], now: Mapping[str, Any], ignoring: str = 'test') -> list[str]:
    """Return one sentence for each part, besides the one to ignore, in which two fingerprints differ."""
    lines = []
    for name in dict.fromkeys([*there['parts'], *now['parts']]):
        before, after = there['parts'].get(name), now['parts'].get(name)
        if name == ignoring or before == after:
            continue
        if before is None or after is None:
            lines.append(f'there was {"no" if before is None else "a"} {name} part')
        elif before['count'] != after['count']:
            lines.append(f'the {name} part had {before["count"]:,} examples and has {after["count"]:,}')
        elif before['images'] == after['images']:
            lines.append(f'the {name} part has the same images with other labels')
        else:
            same = 'the same labels' if before['labels'] == after['labels'] else 'other labels'
            lines.append(f'the {name} part has other images, or in another order, and {same}')
    if there['class_names'] != now['class_names']:
        lines.append(f'the classes were {_few(there["class_names"])} and are {_few(now["class_names"])}')
    return lines


def _few(names: list[str]) -> str:
    return ', '.join(names[:6]) + (', ...' if len(names) > 6 else '')
