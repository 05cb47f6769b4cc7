"""Many pictures as one array: decoded on all cores, brought to one size if asked, all that is wrong told at once."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import tqdm

from failpred_jax.console import say
from failpred_jax.data.pictures import is_stored_as_gray, read_picture
from failpred_jax.data.resize import resize_picture
from failpred_jax.errors import UserError

T = TypeVar('T')

# After so many pictures that cannot be read, the rest will not be better.
_MOST_BROKEN = 50
_NAMED = 5
# Looked at to find out whether a set is gray, and to tell which sizes there are.
_LOOKED_AT = 500
# A thread is given this many pictures at a time: handing over one costs as much as decoding a small one.
BLOCK = 16
_SILENT_SECONDS = 2.0


class WrongSizeError(UserError):
    """A picture whose size is not that of the others."""


def num_threads() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def decode_files(files: Sequence[Path], shape: tuple[int, int, int], resize: bool, what: str) -> np.ndarray:
    """Return picture files as one array [N, H, W, channels] uint8; see `decode`."""

    def read(i: int) -> np.ndarray:
        return read_picture(files[i], channels=shape[-1])

    return decode(len(files), read, shape, resize, what, lambda i: files[i])


def decode(
    count: int,
    read: Callable[[int], np.ndarray],
    shape: tuple[int, int, int],
    resize: bool,
    what: str,
    str_of: Callable[[int], object] = lambda i: f'number {i}',
    dtype: type = np.uint8,
) -> np.ndarray:
    """Return pictures as one array, each read by a worker thread (Pillow and PNG's zlib let the others run meanwhile).

    Args:
      count: N of them.
      read: number -> [h, w, channels] uint8. Raises a UserError for a picture that cannot be read.
      shape: (H, W, channels) of the result.
      resize: whether pictures of another size are brought to it; else they are an error.
      what: what they are, for messages and progress, such as 'the train part'.
      str_of: number -> what a picture is called in messages.
      dtype: of the result; of pictures uint8, of label maps perhaps another.

    Returns:
      [N, H, W, channels] of that type, in order.

    Raises:
      UserError: pictures cannot be read, which are then named together, or differ in size or channels.
    """
    images = np.empty((count, *shape), dtype)

    def keep(i: int, picture: np.ndarray) -> None:
        images[i] = picture

    each_picture(count, read, shape, resize, what, str_of, keep)
    return images


def each_picture(
    count: int,
    read: Callable[[int], np.ndarray],
    shape: tuple[int, int, int],
    resize: bool,
    what: str,
    str_of: Callable[[int], object],
    keep: Callable[[int, np.ndarray], None],
) -> None:
    """Call `keep(i, picture [H, W, channels])` of every picture, from worker threads; the others are as in `decode`."""

    def fill(start: int) -> list[tuple[int, UserError]]:
        broken = []
        for i in range(start, min(start + BLOCK, count)):
            try:
                picture = read(i)
            except UserError as error:
                broken.append((i, error))
                continue
            keep(i, as_one_size(picture, shape, resize, str_of(i)))
        return broken

    broken: list[tuple[int, UserError]] = []
    try:
        for found in in_threads(fill, range(0, count, BLOCK), count, BLOCK, what):
            broken += found
            if len(broken) >= _MOST_BROKEN:
                break
    except WrongSizeError:
        raise _different_sizes(count, read, what) from None
    if broken:
        raise _all_broken(broken, count, what)


def size_of_first(count: int, read: Callable[[int], np.ndarray], what: str) -> tuple[int, int]:
    """Return the height and width of the first picture that can be read, after which the others are told that cannot.

    Raises:
      UserError: none of so many can be read that the rest will not be better; they are named together.
    """
    broken = []
    for i in range(count):
        try:
            height, width = read(i).shape[:2]
            return height, width
        except UserError as error:
            broken.append((i, error))
        if len(broken) >= _MOST_BROKEN:
            break
    raise _all_broken(broken, count, what)


def as_one_size(picture: np.ndarray, shape: tuple[int, int, int], resize: bool, name: object) -> np.ndarray:
    """Return a picture [h, w, channels] in the size of the others.

    Raises:
      UserError: it has other channels than the others.
      WrongSizeError: it has another size, and is not to be resized.
    """
    if picture.shape[-1] != shape[-1]:
        raise UserError(f"'{name}' has {picture.shape[-1]} channels, others have {shape[-1]}")
    if picture.shape[:2] == shape[:2]:
        return picture
    if not resize:
        height, width = picture.shape[:2]
        raise WrongSizeError(f"'{name}' is {height} x {width} pixels, others are {shape[0]} x {shape[1]}")
    return resize_picture(picture, shape[:2])


def in_threads(function: Callable[[int], T], starts: Sequence[int], total: int, block: int, what: str) -> Iterator[T]:
    """Yield `function(start)` of each start, in order, computed by all cores; shows progress after two seconds.

    What a function raises is raised here, after those before it.
    """
    began = time.monotonic()
    with (
        ThreadPoolExecutor(num_threads(), 'reading') as pool,
        tqdm.tqdm(total=total, desc=f'reading {what}', unit=' images', delay=_SILENT_SECONDS, disable=None) as bar,
    ):
        starts_left = iter(starts)
        waiting = [pool.submit(function, start) for start in islice(starts_left, 4 * num_threads())]
        try:
            while waiting:
                yield waiting.pop(0).result()
                bar.update(min(block, total - bar.n))
                waiting += [pool.submit(function, start) for start in islice(starts_left, 1)]
        finally:
            for future in waiting:
                future.cancel()
    seconds = time.monotonic() - began
    if seconds > _SILENT_SECONDS:
        say(f'read {what}: {total:,} images in {seconds:.1f} s')


def channels_of(sources: Sequence[Path | bytes], channels: int) -> int:
    """Return the number of channels that pictures are read with.

    Args:
      sources: all of them.
      channels: what is asked for; 0 for 1 if all pictures looked at are stored as gray, else 3.
    """
    if channels:
        return channels
    step = max(1, len(sources) // _LOOKED_AT)
    return 1 if all(is_stored_as_gray(source) for source in sources[::step]) else 3


def check_gray(sources: Sequence[Path], option: str) -> None:
    """Refuse color pictures in a set that was taken for gray by looking at some.

    Raises:
      UserError: naming the first, and the option that says how many channels there are.
    """
    starts = range(0, len(sources), BLOCK)

    def first_color(start: int) -> int | None:
        block = range(start, min(start + BLOCK, len(sources)))
        return next((i for i in block if not is_stored_as_gray(sources[i])), None)

    for found in in_threads(first_color, starts, len(sources), BLOCK, 'the headers'):
        if isinstance(found, int):
            raise UserError(
                f"'{sources[found]}' is stored in color, but others are gray; say how to read all of them: "
                f'{option}=3 for color, {option}=1 for gray'
            )


def _different_sizes(count: int, read: Callable[[int], np.ndarray], what: str) -> UserError:
    sizes: Counter[tuple[int, ...]] = Counter()
    for i in range(0, count, max(1, count // _LOOKED_AT)):
        try:
            sizes[read(i).shape[:2]] += 1
        except UserError:
            continue  # It is named once the sizes are right.
    named = ', '.join(f'{height} x {width} ({n:,} of {sizes.total():,})' for (height, width), n in sizes.most_common(4))
    more = f' and {len(sizes) - 4} more' if len(sizes) > 4 else ''
    return UserError(
        f'{what} holds images of different sizes (height x width): {named}{more}; bring all to one size as they are '
        'read: --config.data.image_size=HEIGHT,WIDTH'
    )


def _all_broken(broken: Sequence[tuple[int, UserError]], count: int, what: str) -> UserError:
    if len(broken) == 1:
        return broken[0][1]
    lines = [f'  - {error}' for _, error in broken[:_NAMED]]
    more = [f'  - and {len(broken) - _NAMED} more'] if len(broken) > _NAMED else []
    many = f'{len(broken)} or more' if len(broken) >= _MOST_BROKEN else f'{len(broken)}'
    return UserError(
        '\n'.join([f'{many} of the {count:,} images of {what} cannot be read; restore or remove them:', *lines, *more])
    )
