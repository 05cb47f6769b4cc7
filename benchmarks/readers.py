"""Rows and images a second, and peak memory, of every reader of predictions and of images.

  python -m benchmarks.readers --rows=200000 --images=5000 [--only=csv,folder] [--tfds=DIR]

The same predictions (10 classes, float32) are written in every format, and the same pictures (28 x 28, gray, png) for
every source. Each is read in a process of its own, which has imported what a run has imported: the time is processor
time (user and system), the memory the peak beyond what the process held before. Images are read twice: "first" decodes,
"second" finds what the first left in the cache; "in memory" is the same pictures as one npz, as fast as a start can be.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

CLASSES = 10


def main() -> None:
    """Write everything, read it in processes of their own, print two tables in markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--rows', type=int, default=200_000)
    parser.add_argument('--images', type=int, default=5000)
    parser.add_argument('--only', default='')
    parser.add_argument('--tfds', default='', help='folder of prepared sets with cifar10, which is then read too')
    parser.add_argument('--child', nargs=2, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(_measured(*given.child)))
        return
    wanted = set(filter(None, given.only.split(',')))
    with tempfile.TemporaryDirectory() as folder:
        os.environ['XDG_CACHE_HOME'] = str(Path(folder, 'cache'))
        _print_predictions(Path(folder), given.rows, wanted)
        _print_images(Path(folder), given.images, wanted, given.tfds)


def _print_predictions(folder: Path, count: int, wanted: set[str]) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        'labels': rng.integers(0, CLASSES, count).astype(np.int32),
        'logits': rng.normal(size=(count, CLASSES)).astype(np.float32),
    }
    print(f'{count:,} x {CLASSES} predictions\n\n| format | file, MB | rows a second | peak, MB |\n|---|---|---|---|')
    for name, write in WRITERS.items():
        if wanted and name not in wanted:
            continue
        path = folder / f'predictions.{name}'
        write(path, arrays)
        size = sum(f.stat().st_size for f in ([path] if path.is_file() else path.iterdir()))
        found = _in_child('predictions', path)
        print(f'| {name} | {size / 1e6:.1f} | {count / found["cpu"]:,.0f} | {found["peak"]:.0f} |', flush=True)


def _print_images(folder: Path, count: int, wanted: set[str], tfds: str) -> None:
    rng = np.random.default_rng(1)
    pixels = (rng.random((count, 28, 28)) ** 4 * 255).astype(np.uint8)
    labels = np.arange(count) % CLASSES
    sources = _write_images(folder, pixels, labels)
    if tfds:
        sources['tfds'] = {'source': 'tfds', 'name': 'cifar10', 'tfds_data_dir': tfds}
    print(f'\n{count:,} pictures of 28 x 28 (tfds: CIFAR-10, 60,000 of 32 x 32), reading, checking and splitting\n')
    print(
        '| source | images a second, first | first, s | second, s | in memory, s | peak of the first, MB |\n'
        + '|---' * 6
        + '|'
    )
    for name, options in sources.items():
        if wanted and name not in wanted:
            continue
        first, second = (_in_child('images', options) for _ in range(2))
        as_arrays = {**options, 'keep': str(folder / f'{name}.npz')}
        _in_child('images', as_arrays)
        memory = _in_child('images', {'source': 'arrays', 'path': as_arrays['keep']})
        print(
            f'| {name} | {first["count"] / first["cpu"]:,.0f} | {first["cpu"]:.2f} | {second["cpu"]:.2f} | '
            f'{memory["cpu"]:.2f} | {first["peak"]:.0f} |',
            flush=True,
        )


def _write_images(folder: Path, pixels: np.ndarray, labels: np.ndarray) -> dict[str, dict[str, str]]:
    """Write the pictures for every source; return its options."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    rows, lines = [], ['path,label']
    for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        file = folder / 'folder' / f'class{label}' / f'{i:06}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
        rows.append({'image': {'bytes': file.read_bytes(), 'path': file.name}, 'label': int(label)})
        lines.append(f'folder/class{label}/{file.name},{label}')
    Path(folder, 'table.csv').write_text('\n'.join(lines))
    pq.write_table(pa.Table.from_pylist(rows), folder / 'images.parquet')
    where = {'folder': 'folder', 'table': 'table.csv', 'parquet': 'images.parquet'}
    return {source: {'source': source, 'path': str(folder / path)} for source, path in where.items()}


def _in_child(kind: str, what: object) -> dict:
    words = [sys.executable, '-m', 'benchmarks.readers', '--child', kind, json.dumps(what, default=str)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def _measured(kind: str, words: str) -> dict[str, float]:
    """Read something in this process."""
    import jax.numpy  # noqa: F401  (what a run has imported anyway)
    import pyarrow.parquet  # noqa: F401

    read = _read_predictions if kind == 'predictions' else _read_images
    what = json.loads(words)
    read(None)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    count = read(what)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {'cpu': time.process_time() - began, 'peak': (after - before) / 1024, 'count': count}


def _read_predictions(what: str | None) -> int:
    from failpred_jax.prediction_file import read_predictions

    return 0 if what is None else read_predictions(Path(what))['evaluated'].num_units


def _read_images(what: dict[str, str] | None) -> int:
    from failpred_jax.config import DataConfig
    from failpred_jax.data import load_data

    if what is None:
        return 0
    keep = what.pop('keep', '')
    source, where = what['source'], {key: value for key, value in what.items() if key != 'source'}
    data = load_data(DataConfig(source, **where))  # pyright: ignore[reportArgumentType]
    if keep:
        parts = {'train': data.train, 'val': data.val, 'test': data.test}
        arrays = {f'images_{name}': np.asarray(part.images) for name, part in parts.items()}
        arrays |= {f'labels_{name}': part.labels for name, part in parts.items()}
        np.savez(keep, **arrays)  # pyright: ignore[reportArgumentType]
    return sum(len(part.labels) for part in data.parts.values())


def _frame(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {'labels': arrays['labels'], **{f'logits_{i}': arrays['logits'][:, i] for i in range(CLASSES)}}


def _csv(path: Path, arrays: dict[str, np.ndarray]) -> None:
    import pyarrow as pa
    from pyarrow import csv

    csv.write_csv(pa.table(_frame(arrays)), path)


def _parquet(path: Path, arrays: dict[str, np.ndarray]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(_frame(arrays)), path)


def _arrow(path: Path, arrays: dict[str, np.ndarray]) -> None:
    import pyarrow as pa
    from pyarrow import feather

    feather.write_feather(pa.table(_frame(arrays)), str(path))


def _jsonl(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open('w') as file:
        for label, logits in zip(arrays['labels'].tolist(), arrays['logits'].tolist(), strict=True):
            file.write(json.dumps({'labels': label, 'logits': logits}) + '\n')


def _npy(path: Path, arrays: dict[str, np.ndarray]) -> None:
    path.mkdir()
    for name, array in arrays.items():
        np.save(path / f'{name}.npy', array)


def _pt(path: Path, arrays: dict[str, np.ndarray]) -> None:
    import torch

    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)


def _safetensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    save_file(arrays, str(path))


WRITERS: dict[str, Callable[[Path, dict[str, np.ndarray]], None]] = {
    'npz': lambda path, arrays: np.savez(path, **arrays),  # pyright: ignore[reportArgumentType]
    'npy folder': _npy,
    'csv': _csv,
    'parquet': _parquet,
    'arrow': _arrow,
    'jsonl': _jsonl,
    'pt': _pt,
    'safetensors': _safetensors,
}

if __name__ == '__main__':
    main()
