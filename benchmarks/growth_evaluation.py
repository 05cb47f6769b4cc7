"""Show how the time and memory of evaluation grow with units, classes, features, training units and seeds: tables.

    python -m benchmarks.growth_evaluation [--quick] [--only=units,classes,features,training,seeds] [--keep=DIR]

Every row (of scores: every size) is a process of its own, which finds what earlier ones compiled; its time is processor
time (user and system; decompositions on one thread), its memory the largest resident one (reset before each score).

- units, classes: `--mode=score` of a file of random logits, from the command to its page; alone, and with as many
  validation units, on which scores are fitted and calibrated.
- features, training: every score that reads features, its fit and its values of new units, as an evaluation asks for
  them; the second call, so that nothing is compiled, unless the first took over ten seconds. The logits are a linear
  function of the features.
- seeds: finished evaluations of the same 10,000 units as one, with intervals over seeds and units, and the page.

The exponent of a step is log(time / time before) / log(size / size before). "Beyond the first" subtracts the first row
from times and sizes of both: what costs a + b x size has 1 there, whatever a is, and anything larger grows faster.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.readers import WRITERS
from benchmarks.score_file import in_own_process, predictions, scored

HERE = Path(__file__).resolve().parents[1]
UNITS, CLASSES, SEEDS = (10_000, 100_000, 1_000_000), (10, 100, 1000, 5000, 20_000), (1, 2, 4, 8)
FEATURES, TRAINING = (64, 256, 1024, 4096), (5000, 10_000, 20_000, 40_000)
# Of what does not grow in a table.
FEW_CLASSES, FEW_UNITS, FEW_FEATURES, FEW_TRAINING, NEW_UNITS = 10, 5000, 256, 10_000, 2000
LATENT = 16
# Seconds; what takes longer is not done twice to leave out its compilation.
LONG = 10


def exponents(sizes: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    """Return of each row the exponent to the one before, and the same beyond the first row; NaN where there is none.

    Args:
      sizes: rising, over 0.
      values: as many times, or the like.
    """
    found = [(math.nan, math.nan)]
    for i in range(1, len(sizes)):
        above = [(sizes[j] - sizes[0], values[j] - values[0]) for j in (i - 1, i)]
        found.append((_slope((sizes[i - 1], values[i - 1]), (sizes[i], values[i])), _slope(*above)))
    return found


def _slope(before: tuple[float, float], after: tuple[float, float]) -> float:
    if min(*before, *after) <= 0:
        return math.nan
    return math.log(after[1] / before[1]) / math.log(after[0] / before[0])


def main() -> None:
    """Print the tables that are asked for, in markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--only', default='', help='tables, separated by commas (default: all)')
    parser.add_argument('--scores', default='', help='of the tables of scores: these alone (default: all)')
    parser.add_argument('--sizes', default='', help='of a table: these in place of its own')
    parser.add_argument('--quick', action='store_true', help='the first two sizes of each table')
    parser.add_argument('--keep', type=Path, default=None, help='folder in which files and outputs are left')
    parser.add_argument('--child', default='', help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        what, *values = given.child.split(',')
        print(json.dumps(CHILDREN[what](*values)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ['JAX_COMPILATION_CACHE_DIR'] = str(folder / 'compiled')
        # Its second thread would wait busily for a core that others use, and be counted.
        os.environ['OPENBLAS_NUM_THREADS'] = '1'
        for name in filter(None, given.only.split(',')) if given.only else TABLES:
            sizes, write = TABLES[name]
            sizes = tuple(map(int, given.sizes.split(','))) if given.sizes else sizes
            for line in write(name, sizes[: 2 if given.quick else None], folder, given.scores):
                print(line, flush=True)
            print(flush=True)


def _file_table(name: str, sizes: Sequence[int], folder: Path, _: str) -> Iterator[str]:
    """Yield the lines of a table of `--mode=score`, without and with validation units."""
    yield f'| {name} | validation units | processor s | peak, MB | outputs, MB | exponent | beyond the first |'
    yield '|---' * 7 + '|'
    for has_val in (False, True):
        seconds: list[float] = []
        for i, size in enumerate((sizes[0], *sizes)):
            num_units, num_classes = (size, FEW_CLASSES) if name == 'units' else (FEW_UNITS, size)
            file = folder / f'{num_units}x{num_classes}{"-fitted" if has_val else ""}.npz'
            if not file.exists():
                arrays = predictions(num_units, num_classes)
                held_out = predictions(num_units, num_classes, seed=1) if has_val else {}
                WRITERS['npz'](file, arrays | {f'val_{key}': value for key, value in held_out.items()})
                del arrays, held_out
            used, peak, outputs = scored(file, file.with_suffix(''), HERE)
            if not i:
                # Compiled most of what all sizes share.
                continue
            seconds.append(used)
            grown = exponents(sizes[:i], seconds)[-1]
            yield (
                f'| {size:,} | {num_units if has_val else 0:,} | {used:.1f} | {peak:,.0f} '
                f'| {sum(outputs.values()) / 1e6:.1f} | {_shown(grown[0])} | {_shown(grown[1])} |'
            )


def _score_table(name: str, sizes: Sequence[int], folder: Path, asked: str) -> Iterator[str]:
    """Yield the lines of a table of scores: fit and values in seconds, memory, exponents from size to size."""
    found: dict[str, list[list[float]]] = {}
    for size in sizes:
        shape = (FEW_TRAINING, size) if name == 'features' else (size, FEW_FEATURES)
        of_size, _ = _in_child('scores', *shape, *asked.split(','))
        for score, measured in of_size.items():
            found.setdefault(score, []).append(measured)
    yield f'| score | {" | ".join(f"{name} {size:,}" for size in sizes)} | exponents of the fit | of the values |'
    yield '|---' * (len(sizes) + 3) + '|'
    for score, rows in found.items():
        cells = [f'{fit:.2f} + {of_units:.2f} s, {peak:,.0f} MB' for fit, of_units, peak in rows]
        grown = [', '.join(_shown(one) for one, _ in exponents(sizes, [row[i] for row in rows])[1:]) for i in range(2)]
        yield f'| {score} | {" | ".join([*cells, *grown])} |'


def _seeds_table(name: str, sizes: Sequence[int], folder: Path, _: str) -> Iterator[str]:
    """Yield the lines of a table of seeds as one; the evaluation of each seed is made before and not counted."""
    yield '| seeds | processor s | of these joining | peak, MB | exponent of joining | of all beyond the first |'
    yield '|---' * 6 + '|'
    _in_child('evaluations', folder / name, max(sizes))
    seconds, joining = [], []
    for i, size in enumerate(sizes):
        (all_s, join_s), peak = _in_child('seeds', folder / name, size)
        seconds.append(all_s)
        joining.append(join_s)
        of_join, beyond = exponents(sizes[: i + 1], joining)[i][0], exponents(sizes[: i + 1], seconds)[i][1]
        yield f'| {size} | {all_s:.1f} | {join_s:.1f} | {peak:,.0f} | {_shown(of_join)} | {_shown(beyond)} |'


def _shown(value: float) -> str:
    return '' if math.isnan(value) else f'{value:.2f}'


def _in_child(*words: object) -> tuple[Any, float]:
    """Return what a process of its own printed last, and its peak in MB."""
    child = f'--child={",".join(map(str, words))}'
    _, peak, said = in_own_process([sys.executable, '-m', 'benchmarks.growth_evaluation', child], HERE)
    return json.loads(said.splitlines()[-1]), peak


def _scores(num_train: str, num_features: str, *asked: str) -> dict[str, list[float]]:
    """Return of each score the processor time of its fit, that of its values for new units, and the peak in MB."""
    import jax

    from failpred_jax import compiler
    from failpred_jax.evaluate.scoring import Plan, compute_scores, fit_scores
    from failpred_jax.registry import SCORES
    from failpred_jax.scores.score import FitInputs, ScoreInputs

    compiler.keep_compilations()
    (train, labels), (val, val_labels), (new, _) = _parts((int(num_train), NEW_UNITS, NEW_UNITS), int(num_features))
    given = FitInputs(val, val_labels, train, labels, jax.random.key(0))
    # Those that read nothing else, which a file of predictions could hold.
    names = [name for name in SCORES if 'features' in SCORES[name].needs <= {'features', 'logits'}]
    measured = {}
    for name in filter(None, asked) if any(asked) else names:
        plan, seconds = Plan((SCORES[name],), {}), (0.0, 0.0)
        Path('/proc/self/clear_refs').write_text('5')
        for _ in range(2):
            start = time.process_time()
            fitted = fit_scores(plan, given)
            middle = time.process_time()
            found, lost = compute_scores(plan, ScoreInputs(new.logits, new.features), fitted)
            seconds = middle - start, time.process_time() - middle
            if name not in found:
                raise SystemExit(f'{name} is unavailable: {lost or fitted.unavailable}')
            if sum(seconds) > LONG:
                break
        measured[name] = [*seconds, _peak()]
    return measured


def _peak() -> float:
    """Return the largest resident memory in MB since it was last reset."""
    (line,) = (line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('VmHWM'))
    return int(line.split()[1]) / 1024


def _parts(sizes: Sequence[int], num_features: int) -> list:
    """Return (ScoreInputs, labels [N]) of each part: classes on a curved sheet behind a ReLU, and linear logits."""
    from failpred_jax.scores.score import ScoreInputs

    rng = np.random.default_rng(0)
    centers = rng.standard_normal((FEW_CLASSES, LATENT), np.float32)
    mixing = rng.standard_normal((LATENT, num_features), np.float32) / LATENT**0.5
    weight = np.maximum(centers @ mixing, 0).T * (8 / num_features)
    found = []
    for size in sizes:
        labels = rng.integers(0, FEW_CLASSES, size).astype(np.int32)
        features = (centers[labels] + rng.standard_normal((size, LATENT), np.float32)) @ mixing
        np.maximum(features, 0, out=features)
        # All directions vary, as they do in a trained network's features.
        features += 0.1 * rng.standard_normal(features.shape, np.float32)
        logits = features @ weight - (weight**2).sum(axis=0) * num_features / 16
        found.append((ScoreInputs(logits, features), labels))
    return found


def _evaluations(folder: str, num_seeds: str) -> None:
    """Write an evaluation for each seed, as if each had been trained: the same units, logits with their own noise."""
    from failpred_jax import compiler, evaluate_predictions
    from failpred_jax.results import write_evaluation

    compiler.keep_compilations()
    test, val = predictions(UNITS[0], FEW_CLASSES), predictions(FEW_UNITS, FEW_CLASSES, seed=1)
    for seed in range(int(num_seeds)):
        rng = np.random.default_rng(seed)
        noisy = [part | {'logits': part['logits'] + rng.standard_normal(part['logits'].shape)} for part in (test, val)]
        table = evaluate_predictions(**noisy[0], validation=noisy[1], resamples=0)
        write_evaluation(table.evaluation, table.text, Path(folder) / f'seed_{seed}' / 'evaluation')


def _seeds_seconds(folder: str, num_seeds: str) -> list[float]:
    """Return the processor time of reading, joining and reporting seeds, and of all but the page."""
    from failpred_jax import compiler, session
    from failpred_jax.config import default_config, read_config
    from failpred_jax.several_seeds import SeveralSeeds
    from failpred_jax.stopping import Stop

    compiler.keep_compilations()
    config: Any = default_config()
    config.data.source, config.seeds = 'digits', tuple(range(int(num_seeds)))
    start = time.process_time()
    SeveralSeeds(read_config(config), Path(folder), Stop())._summarize()
    joined = time.process_time() - start
    session.build_report(Path(folder))
    return [time.process_time() - start, joined]


TABLES = {
    'units': (UNITS, _file_table),
    'classes': (CLASSES, _file_table),
    'features': (FEATURES, _score_table),
    'training': (TRAINING, _score_table),
    'seeds': (SEEDS, _seeds_table),
}
CHILDREN = {'scores': _scores, 'evaluations': _evaluations, 'seeds': _seeds_seconds}


if __name__ == '__main__':
    main()
