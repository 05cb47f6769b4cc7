"""Decoded data sets in the user's cache folder, so that the second start need not decode them again.

An entry is named by what was read: the source and its options, and of each file its path, size and the times of its
last changes, down to the nanosecond. So it is found by looking at the entries of the files alone, without reading a
hundred thousand pictures; a file that changed makes another entry, and so does a set that moved. What an entry holds is
known by a digest, which is compared at every start: a damaged one is made again. Nothing here can break a run: a folder
that cannot be read or written is done without.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax import __version__
from failpred_jax.config import DataConfig, used_options
from failpred_jax.console import say, say_once
from failpred_jax.data.fingerprint import digest
from failpred_jax.data.lazy import DIGEST_BYTES, LazyRows, Seen, is_lazy
from failpred_jax.data.listing import holds_runs
from failpred_jax.data.sources import RawData, images_of
from failpred_jax.files import DAMAGE, read_json, read_npz, user_cache_folder, write_json, write_npz
from failpred_jax.types import DatasetInfo, Examples

# What takes less time to decode is not worth the room.
WORTH_SECONDS = 1.0
# All entries together may take so many times the largest that is kept; those that were used longest ago go first.
_ROOM_FOR = 4
_PARTS = ('train', 'validation', 'test')
Loader = Callable[[], RawData]


def load_cached(config: DataConfig, files: Iterable[Path] | None, load: Loader) -> RawData:
    """Return what `load` returns, from the cache if it is there; kept there if it is worth it.

    Args:
      config: the data section; `cache_mb` says how large a set may be, 0 turns the cache off.
      files: all files and folders that decide what is loaded; None if nobody knows.
      load: reads and decodes the set.
    """
    folder = _folder(config, files) if config.cache_mb and files is not None else None
    if folder is None:
        return looked_through(load(), None)
    found = _read(folder)
    if found is not None:
        say(f'{found.info.name}: decoded images from {folder} (config.data.cache_mb=0 does without)')
        return found
    began = time.monotonic()
    raw = looked_through(load(), folder)
    if is_lazy(raw.train.images):
        return raw
    if raw.is_all_known and time.monotonic() - began > WORTH_SECONDS:
        _keep(raw, folder, config.cache_mb * 2**20)
    return raw


def looked_through(raw: RawData, folder: Path | None) -> RawData:
    """Return a set, where it is larger than memory with what was seen of its rows: kept, or by reading each once.

    Args:
      raw: the set.
      folder: its entry, beside which it is kept; None keeps nothing.
    """
    found: dict[str, Examples | None] = {}
    for part, examples in zip(_PARTS, (raw.train, raw.validation, raw.test), strict=True):
        if examples is None:
            continue
        for name in ('images', 'labels'):
            rows = getattr(examples, name)
            if isinstance(rows, LazyRows):
                is_kept = folder is not None and raw.is_all_known
                file = folder.parent / f'{folder.name}_{part}_{name}.seen.npz' if folder and is_kept else None
                examples = examples._replace(**{name: _looked_through(rows, file)})
        found[part] = examples
    return dataclasses.replace(raw, **found).named()


def _looked_through(rows: LazyRows, file: Path | None) -> LazyRows | np.ndarray:
    """Return rows with what was seen of them, by a file if it is there, which else is written; classes in memory."""
    kept = _kept_seen(file, len(rows))
    found = rows.looked_through(kept)
    assert found.seen is not None
    if file is not None and kept is None:
        _keep_seen(file, found.seen)
    return found if found.seen.classes is None else found.seen.classes


def _kept_seen(file: Path | None, count: int) -> Seen | None:
    """Return what was seen of `count` rows; None if nothing is kept, or something else."""
    try:
        found = None if file is None or not file.exists() else Seen(**read_npz(file))
    except (*DAMAGE, TypeError):
        return None
    if found is None:
        return None
    is_right = (
        (found.digests is None or (found.digests.shape == (count, DIGEST_BYTES) and found.digests.dtype == np.uint8))
        and (found.counts is None or (found.counts.ndim == 2 and found.counts.shape[1] == 3))
        and (found.classes is None or found.classes.shape == (count,))
    )
    return found if is_right and any(array is not None for array in found) else None


def _keep_seen(file: Path, seen: Seen) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_npz(file, {name: array for name, array in seen._asdict().items() if array is not None})
    except OSError as error:
        say_once(f'note: what was seen of the images is not kept in {file.parent}: {error.strerror or error}')


def _folder(config: DataConfig, files: Iterable[Path]) -> Path | None:
    """Return where the entry of these files is; None without a cache folder, or if a file is not there."""
    options = {
        key: value for key, value in used_options(config).items() if key in ('source', 'image_size', config.source)
    }
    found = hashlib.blake2b(digest_size=16)
    found.update(f'4 {__version__} {_pillow()} {options}'.encode())
    try:
        cache = user_cache_folder()
        for path in files:
            about = os.stat(path)
            # The last one changes with every change of the file, even if somebody sets the others back.
            what = (os.path.abspath(path), about.st_size, about.st_mtime_ns, about.st_ctime_ns)
            found.update(repr(what).encode('utf-8', 'surrogateescape'))
    except (OSError, RuntimeError):
        return None
    return cache / 'data' / found.hexdigest()


def _pillow() -> str:
    # Another version may decode a jpeg to other values.
    from PIL import __version__ as version

    return version


def _read(folder: Path) -> RawData | None:
    """Return an entry; None if there is none, or if it is not what was written, which is then removed."""
    if not folder.is_dir():
        return None
    try:
        meta = read_json(folder / 'meta.json')
        arrays = {name: np.load(folder / f'{name}.npy', mmap_mode='r', allow_pickle=False) for name in meta['digests']}
        wrong = [name for name, array in arrays.items() if digest(array) != meta['digests'][name]]
        if wrong:
            raise ValueError(f'{wrong[0]} is not what was written')
        info = meta['info']
        info = DatasetInfo(
            **{**info, 'image_shape': tuple(info['image_shape']), 'class_names': tuple(info['class_names'])}
        )
        parts = [
            Examples(arrays[f'{part}_images'], arrays[f'{part}_labels']) if f'{part}_images' in arrays else None
            for part in _PARTS
        ]
        if parts[0] is None:
            raise ValueError('it has no train part')
        with contextlib.suppress(OSError):
            os.utime(folder)
        held_out = {part: arrays[_groups(part)] for part in _PARTS[1:] if _groups(part) in arrays}
        return RawData(info, parts[0], parts[1], parts[2], groups=arrays.get('groups'), held_out_groups=held_out)
    except (*DAMAGE, json.JSONDecodeError) as error:
        say_once(f'note: the decoded images in {folder} are damaged ({error}) and made again')
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _groups(part: str) -> str:
    return f'{part}_groups'


def _keep(raw: RawData, folder: Path, most_bytes: int) -> None:
    """Write an entry, whole or not at all; say once if that is impossible."""
    parts = dict(zip(_PARTS, (raw.train, raw.validation, raw.test), strict=True))
    arrays: dict[str, Any] = {}
    for name, examples in parts.items():
        if examples is not None:
            arrays |= {f'{name}_images': images_of(examples), f'{name}_labels': examples.labels}
    if raw.groups is not None:
        arrays['groups'] = raw.groups
    arrays |= {_groups(part): groups for part, groups in raw.held_out_groups.items()}
    num_bytes = sum(array.nbytes for array in arrays.values())
    if num_bytes > most_bytes or any(array.dtype.hasobject for array in arrays.values()):
        return
    aside = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder.parent).free < 2 * num_bytes:
            return
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix='.', suffix='.unfinished'))
        for name, array in arrays.items():
            np.save(aside / f'{name}.npy', array, allow_pickle=False)
        digests = {name: digest(array) for name, array in arrays.items()}
        write_json(aside / 'meta.json', {'info': asdict(raw.info), 'digests': digests})
        aside.rename(folder)
        _make_room(folder.parent, folder, _ROOM_FOR * most_bytes)
    except OSError as error:
        # Another process may have been first, which is as good.
        if not folder.is_dir():
            say_once(f'note: decoded images are not kept in {folder.parent}: {error.strerror or error}')
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def _make_room(cache: Path, newest: Path, most_bytes: int) -> None:
    entries = sorted((p for p in cache.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime, reverse=True)
    total = 0
    for entry in [newest, *(e for e in entries if e != newest)]:
        total += sum(file.stat().st_size for file in entry.iterdir())
        if total > most_bytes and entry != newest and not entry.name.startswith('.'):
            shutil.rmtree(entry, ignore_errors=True)


def everything_below(root: Path) -> list[Path] | None:
    """Return a folder, all files and folders below it, in order, without runs; None if it cannot be read."""
    if not root.is_dir():
        return [root] if root.is_file() else None
    found = [root]
    for here, folders, files in os.walk(root, followlinks=True):
        # The files of a run that goes on beside the pictures change, and the data do not.
        folders[:] = sorted(name for name in folders if not holds_runs(Path(here, name)))
        found += [Path(here, name) for name in [*folders, *sorted(files)]]
        if len(found) > 5_000_000:
            return None  # A link that leads round and round.
    return found
