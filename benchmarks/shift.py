"""What the table of shifted sets costs, on a finished run: processor and wall seconds, after training and evaluation.

    python -m benchmarks.shift --workdir=COPY_OF_A_RUN [--shifts=all_corruptions,glyphs] [--images=2000]

It measures into the WORKDIR's folder `shift`: give a copy of a run. Processor time counts all threads, so it compares
on machines that are shared.
"""

import argparse
import dataclasses
import os
import time
from pathlib import Path

from failpred_jax.config import read_saved
from failpred_jax.data import load_data
from failpred_jax.files import read_json
from failpred_jax.results.shifted import read_shifted
from failpred_jax.shifting import measure_shifts


def main() -> None:
    """Measure, and print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--workdir', type=Path, required=True)
    parser.add_argument('--shifts', default='all_corruptions,glyphs')
    parser.add_argument('--images', type=int, default=2000)
    args = parser.parse_args()
    config = read_saved(read_json(args.workdir / 'config.json'))
    options = dataclasses.replace(config.evaluate, shifts=tuple(args.shifts.split(',')), shift_images=args.images)
    config = dataclasses.replace(config, evaluate=options)
    data = load_data(config.data, args.workdir / 'split.npz')
    before, began = time.process_time(), time.perf_counter()
    measure_shifts(config, data, args.workdir)
    spent, wall = time.process_time() - before, time.perf_counter() - began
    found = read_shifted(args.workdir / 'shift')
    units = sum(one.units for one in found.sets) if found else 0
    scores = len(found.errors) if found else 0
    print(
        f'{len(found.sets) if found else 0} sets, {units:,} images, {scores} scores: {spent:.0f} s of processor time, '
        f'{wall:.0f} s, so {spent / wall:.2f} of {os.cpu_count()} cores in use (load {os.getloadavg()[0]:.1f})'
    )


if __name__ == '__main__':
    main()
