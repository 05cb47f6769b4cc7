"""Whether parts of a data set share examples, found by looking at what they hold."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from failpred_jax.data.lazy import is_lazy, row_digests
from failpred_jax.errors import UserError


def row_hashes(rows: np.ndarray) -> np.ndarray:
    """Return a hash of the content of each row, [N, ...] of any type -> [N] int64, which holds in this process only."""
    if is_lazy(rows):
        return np.ascontiguousarray(row_digests(rows)[:, :8]).view(np.int64)[:, 0]
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1)
    return np.fromiter((hash(row.tobytes()) for row in flat), np.int64, len(rows))


def shared_rows(first: np.ndarray, second: np.ndarray, hashes: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return which rows of the first array [N, ...] stand in the second [M, ...] too: [K, 2] indices into both.

    Args:
      first, second: rows of one shape and type.
      hashes: of both, from `row_hashes`. What they find is compared again by content.
    """
    order = np.argsort(hashes[1], kind='stable')
    in_order = hashes[1][order]
    at = np.minimum(np.searchsorted(in_order, hashes[0]), len(order) - 1)
    maybe = np.flatnonzero(in_order[at] == hashes[0])
    is_same = [np.array_equal(first[i], second[order[at[i]]]) for i in maybe]
    found = maybe[np.array(is_same, bool)]
    return np.stack([found, order[at[found]]], axis=1)


def check_disjoint(
    parts: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], class_names: Sequence[str] = ()
) -> tuple[str, ...]:
    """Look for images that stand in several parts.

    Args:
      parts: name -> images [N, H, W, channels] uint8.
      labels: name -> what these are labeled with: class numbers [N], or label maps [N, H, W].
      class_names: of the class numbers, for messages; () where pixels have classes.

    Returns:
      A sentence for each two parts that share some images.

    Raises:
      UserError: all images of a part stand in another one.
    """
    hashes = {name: row_hashes(images) for name, images in parts.items()}
    warnings = []
    for a, b in itertools.combinations(parts, 2):
        smaller, larger = sorted((a, b), key=lambda name: len(parts[name]))
        if parts[a].shape[1:] != parts[b].shape[1:]:
            continue
        shared = shared_rows(parts[smaller], parts[larger], (hashes[smaller], hashes[larger]))
        if len(shared) == len(parts[smaller]):
            raise UserError(
                f'all {len(shared):,} images of the {smaller} part also stand in the {larger} part; training, '
                'selection, certificates and test need different images: give parts that share none'
            )
        if len(shared):
            some = ', '.join(map(str, shared[:3, 0])) + (', ...' if len(shared) > 3 else '')
            warnings.append(
                f'{len(shared):,} of the {len(parts[smaller]):,} images of the {smaller} part (numbers {some}) also '
                f'stand in the {larger} part, pixel by pixel; what is measured there may be too good'
                f'{_contradicting(shared, labels[smaller], labels[larger], class_names)}'
            )
    return tuple(warnings)


def _contradicting(shared: np.ndarray, first: np.ndarray, second: np.ndarray, class_names: Sequence[str]) -> str:
    """Return how many of the images that stand in two parts have other labels there, for the end of a sentence."""
    wrong = [(i, j) for i, j in shared.tolist() if not np.array_equal(first[i], second[j])]
    if not wrong:
        return ''
    i, j = wrong[0]
    such_as = (
        f'{class_names[int(first[i])]!r} here and {class_names[int(second[j])]!r} there'
        if class_names
        else 'another map'
    )
    return f'. {len(wrong):,} of them have other labels there (number {i}: {such_as}), of which one is wrong'
