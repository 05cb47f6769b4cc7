"""Processor time and peak memory of scoring a file of predictions, from the command to its page.

  python -m benchmarks.score_file [--shapes=5000000x10,50000x1000] [--format=npz] [--checkout=DIR ...] [--keep=DIR]

Of each shape (units x classes) a file of random logits and labels is written once, and scored by `--mode=score` in a
process of its own, with all defaults: 1,000 resamples, and none beyond the units for which there are intervals. A
checkout of another commit (`git worktree add DIR COMMIT`) can be measured on the same file, which makes pairs. The peak
is the process's largest resident memory and can be compared on a shared machine; so can user and system time, roughly.
`largest` names what is largest among the outputs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.readers import WRITERS

SHAPES = '5000000x10,50000x1000,20000x4000,5000x4000,5000x21000'
HERE = Path(__file__).resolve().parents[1]


def main() -> None:
    """Write the files, score them, print one table in markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--shapes', default=SHAPES)
    parser.add_argument('--format', default='npz', choices=('npz', 'npy folder', 'safetensors', 'pt'))
    parser.add_argument('--checkout', type=Path, action='append', default=[])
    parser.add_argument('--keep', type=Path, default=None, help='folder in which files and outputs are left')
    given = parser.parse_args()
    print(
        '| units x classes | file, MB | checkout | processor s | peak, MB | outputs, MB | largest |\n'
        + '|---' * 7
        + '|'
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for shape in given.shapes.split(','):
            num_units, num_classes = map(int, shape.split('x'))
            path = folder / f'{shape}.{given.format}'
            if not path.exists():
                WRITERS[given.format](path, predictions(num_units, num_classes))
            for number, checkout in enumerate(given.checkout or [HERE]):
                seconds, peak, outputs = scored(path, folder / f'{shape}-{number}', checkout)
                largest = sorted(outputs.items(), key=lambda item: -item[1])[:3]
                words = ', '.join(f'{name} {size / 1e6:.2f}' for name, size in largest)
                print(
                    f'| {num_units:,} x {num_classes:,} | {_size(path) / 1e6:.0f} | {checkout.name} | {seconds:.1f} '
                    f'| {peak:,.0f} | {sum(outputs.values()) / 1e6:.1f} | {words} |',
                    flush=True,
                )


def predictions(num_units: int, num_classes: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return logits [N, C] float32 and labels [N] int32, of which four fifths are right."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num_units, num_classes)).astype(np.float32) * 2
    others = rng.integers(0, num_classes, num_units)
    labels = np.where(rng.random(num_units) < 0.8, logits.argmax(axis=1), others).astype(np.int32)
    return {'labels': labels, 'logits': logits}


def scored(path: Path, workdir: Path, checkout: Path) -> tuple[float, float, dict[str, int]]:
    """Score a file by the package of a checkout.

    Returns:
      (seconds of processor time, MB of the peak, output -> bytes).
    """
    words = [sys.executable, '-m', 'failpred_jax.main', '--mode=score', f'--predictions={path.resolve()}', '--force']
    seconds, peak, _ = in_own_process([*words, f'--workdir={workdir.resolve()}'], checkout)
    outputs = {str(f.relative_to(workdir)): f.stat().st_size for f in workdir.rglob('*') if f.is_file()}
    return seconds, peak, outputs


def in_own_process(words: Sequence[str], cwd: Path) -> tuple[float, float, str]:
    """Run a command and return its (seconds of processor time, MB of its largest resident memory, output).

    Raises:
      SystemExit: it failed; the message is the end of what it said.
    """
    # A child of vfork starts with the peak of this process, which has held the arrays of files.
    subprocess._USE_VFORK = False
    with tempfile.TemporaryFile('w+') as log:
        child = subprocess.Popen(words, cwd=cwd, stdout=log, stderr=subprocess.STDOUT)
        # Of this child alone, unlike RUSAGE_CHILDREN.
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        said = log.read()
    if child.returncode:
        raise SystemExit(said[-3000:])
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said


def _size(path: Path) -> int:
    return sum(f.stat().st_size for f in ([path] if path.is_file() else path.iterdir()))


if __name__ == '__main__':
    main()
