"""Show how the time and memory of training grow, one table.

    python benchmarks/growth.py [--model=mlp] [--quick]

Every row is a process of its own that trains a baseline on random images as a run does (see end_to_end.py), with one
thing larger than in the first row: the batch, the data set, the number of devices or the number of seeds. Devices are
fake ones that share this machine's cores, so they show the overhead of having several and no gain. "Whole" holds
starting, compiling (into a cache that all rows share), training and validating; "peak" is that of the whole process.
"""

import argparse
import tempfile

from end_to_end import in_a_process
from train_step import SHAPES

BASE = {'examples': 12800, 'batch_size': 128, 'num_devices': 1, 'seeds': 1}
LARGER = {'batch_size': (256, 512, 1024), 'examples': (25600, 51200, 102400), 'num_devices': (2, 4, 8), 'seeds': (2, 4)}
WORDS = {'batch_size': 'batch', 'examples': 'examples', 'num_devices': 'fake devices', 'seeds': 'seeds'}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='mlp', choices=list(SHAPES))
    parser.add_argument('--epochs', type=int, default=3)
    parser.add_argument('--quick', action='store_true', help='only the first larger value of each')
    options = parser.parse_args()
    print('| what | ms a step | microseconds an example | whole, s | peak, MB |')
    print('|---|---|---|---|---|')
    changes = [
        {},
        *({key: value} for key, values in LARGER.items() for value in values[: 1 if options.quick else None]),
    ]
    with tempfile.TemporaryDirectory() as cache:
        for change in changes:
            given = {**BASE, **change}
            cost = in_a_process(cache, train=options.model, epochs=options.epochs, **given)
            words = ', '.join(f'{WORDS[key]} {value:,}' for key, value in (change or BASE).items())
            an_example = 1e3 * cost['step_ms'] / given['batch_size']
            print(
                f'| {words} | {cost["step_ms"]:.1f} | {an_example:.1f} | {cost["total_s"]:.1f} '
                f'| {cost["peak_mb"]:.0f} |',
                flush=True,
            )


if __name__ == '__main__':
    main()
