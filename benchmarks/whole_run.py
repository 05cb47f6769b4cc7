"""What a whole run of EMNIST's size spends its time on, from the command to the page.

    python benchmarks/whole_run.py                                   # 112,320 / 12,480 / 20,800 images, 8 epochs
    python benchmarks/whole_run.py --train=11232 --val=1248 --test=2080 --epochs=1

The images are made up here: 26 classes of blurred strokes of 28 x 28 pixels, in arrays, so nothing is downloaded and no
decoding is measured. What is printed are the seconds that the run itself keeps in evaluation/context.json, and those of
the whole program, wall clock and processor time. For a comparison with another commit, run it in a worktree of that
commit with --file of the same arrays. Older commits keep no seconds of phases; wall clock and processor time compare.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

NUM_CLASSES, SIZE = 26, 28


def make_images(num_images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return [N, 28, 28, 1] uint8 and labels [N] int32: a prototype of each class, moved, scaled and noisy."""
    rng, shared = np.random.default_rng(seed), np.random.default_rng(0)
    prototypes = shared.random((NUM_CLASSES, SIZE, SIZE), dtype=np.float32)
    for _ in range(4):
        prototypes = sum(np.roll(prototypes, shift, axis) for axis in (1, 2) for shift in (-1, 0, 1)) / 6
    prototypes = (prototypes - prototypes.mean((1, 2), keepdims=True)) / prototypes.std((1, 2), keepdims=True)
    labels = rng.integers(0, NUM_CLASSES, num_images).astype(np.int32)
    images = np.empty((num_images, SIZE, SIZE, 1), np.uint8)
    for start in range(0, num_images, 4096):
        part = slice(start, start + 4096)
        chosen = prototypes[labels[part]]
        moved = np.stack(
            [np.roll(x, s, (0, 1)) for x, s in zip(chosen, rng.integers(-2, 3, (len(chosen), 2)), strict=True)]
        )
        noisy = moved * rng.uniform(0.5, 1.5, (len(moved), 1, 1)) + 1.6 * rng.standard_normal(moved.shape)
        images[part, ..., 0] = np.clip(128 + 45 * noisy, 0, 255)
    return images, labels


def write_data(file: Path, sizes: dict[str, int]) -> None:
    """Write all splits as arrays."""
    arrays = {}
    for seed, (split, size) in enumerate(sizes.items()):
        arrays[f'images_{split}'], arrays[f'labels_{split}'] = make_images(size, seed + 1)
    np.savez(file, **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--train', type=int, default=112_320)
    parser.add_argument('--val', type=int, default=12_480)
    parser.add_argument('--test', type=int, default=20_800)
    parser.add_argument('--epochs', type=int, default=4, help='of the classifier and of its head, each')
    parser.add_argument('--file', type=Path, help='where the arrays lie or are put; by default a temporary file')
    parser.add_argument('--workdir', type=Path, help='where the run lives; by default a temporary folder')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = args.file or Path(folder) / 'letters.npz'
        if not file.exists():
            write_data(file, {'train': args.train, 'val': args.val, 'test': args.test})
        workdir = args.workdir or Path(folder) / 'run'
        command = [
            sys.executable, '-m', 'failpred_jax.main', '--config=configs/mnist_mlp.py', f'--workdir={workdir}',
            '--config.data.source=arrays', f'--config.data.arrays.path={file}',
            f'--config.baseline.epochs={args.epochs}',
            f'--config.confidence.epochs={args.epochs}', '--config.finetune.epochs=0',
        ]  # fmt: skip
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f'whole program: {wall:.1f} s, processor time {used.ru_utime + used.ru_stime:.1f} s')
        context = json.loads((workdir / 'evaluation' / 'context.json').read_text())
        for stage in context['stages']:
            print(f'  {stage["seconds"]:7.1f} s  training: {stage["name"]}')
        for what, seconds in context.get('seconds', {}).items():
            print(f'  {seconds:7.1f} s  {what}')


if __name__ == '__main__':
    main()
