"""Kill a run with SIGKILL at many random moments, and see whether it ends with the same bits as one never killed.

  python benchmarks/kill_many.py 50 [--seed=0] [--kills_a_run=5]

Compared are the final states, metrics.json, predictions.npz, split.npz and the curves. Prints where the kills fell, and
exits with code 1 if anything differs. 50 kills take about ten minutes on two quiet cores.
"""

import argparse
import collections
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / 'tests'))
from e2e.killing import PHASES, differences, draw_kills, kill_and_resume, run_whole  # noqa: E402  (found just above)


def main() -> int:
    """Return 0 if every run ended the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('number', type=int, help='kills, in all')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--kills_a_run', type=int, default=5)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    fell: collections.Counter[str] = collections.Counter()
    spoilt: collections.Counter[str] = collections.Counter()
    folder = Path(tempfile.mkdtemp(prefix='kill_many_'))
    lengths = run_whole(folder / 'whole')
    print(
        'phases of a run, seconds: ' + ', '.join(f'{name} {value:.1f}' for name, value in lengths.items()), flush=True
    )
    number = 0
    while fell.total() < given.number:
        number += 1
        workdir = folder / f'run_{number}'
        kills = draw_kills(rng, min(given.kills_a_run, given.number - fell.total()), lengths)
        places = [place for place in kill_and_resume(workdir, kills) if place != 'done']
        found = differences(workdir, folder / 'whole')
        fell.update(places)
        if found:
            spoilt.update(places)
        verdict = f'DIFFERS in {", ".join(found)}; kept in {workdir}' if found else 'identical'
        print(f'run {number}, killed in {", ".join(places) or "nothing"}: {verdict}', flush=True)
        if not found:
            shutil.rmtree(workdir)
    print('\n| killed in | kills | of runs that ended otherwise |\n|---|---|---|')
    for phase in PHASES:
        print(f'| {phase} | {fell[phase]} | {spoilt[phase]} |')
    print(f'| all | {fell.total()} | {spoilt.total()} |')
    if not spoilt:
        shutil.rmtree(folder)
    return 1 if spoilt else 0


if __name__ == '__main__':
    sys.exit(main())
