"""What makes the learned head better: one frozen classifier a seed, and heads that differ in one thing.

    python -m benchmarks.heads train ROOT --config=configs/mnist_mlp.py [--seeds=0,1,2] [--only=NAME,...] [FLAGS]
    python -m benchmarks.heads keep ROOT NAME --title='MNIST: what makes the head better' --command='...'

`train` runs `failpred_jax.main` for every seed and variant, each in a WORKDIR of its own under ROOT; killed, it goes on
with the same command. FLAGS of the program go to all of them (where the data lie). `keep` joins the test confidences of
all variants, which belong to the same predictions, measures them together, and writes docs/results/NAME.json and the
page.
"""

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results
from failpred_jax import evaluate_predictions
from failpred_jax.config import EvaluateConfig
from failpred_jax.evaluate.seeds import summarize_evaluations
from failpred_jax.results import Evaluation, read_evaluation
from failpred_jax.results.codec import run_to_json

BASELINE, USUAL, CROSSFIT = 'baseline', 'usual', 'crossfit'
# Twenty epochs, by the loss that needs no more; `paper` is the paper's head whole.
HEAD = (
    '--config.confidence.loss=tcp_bce',
    '--config.confidence.learning_rate=1e-3',
    '--config.confidence.schedule=cosine',
    '--config.confidence.epochs=20',
    '--config.confidence.eval_every_epochs=2',
    '--config.finetune.epochs=0',
)
SLOW = ('--config.confidence.learning_rate=1e-4', '--config.confidence.schedule=constant')
# Given after HEAD, so that what stands here is what counts.
VARIANTS = {
    USUAL: (),
    'paper': (
        '--config.confidence.loss=tcp_mse',
        *SLOW,
        '--config.confidence.epochs=200',
        '--config.confidence.eval_every_epochs=10',
    ),
    'squared_error': ('--config.confidence.loss=tcp_mse', *SLOW),
    'squared_ratio': ('--config.confidence.loss=tcp_ratio_mse', *SLOW),
    'correctness': ('--config.confidence.loss=correctness_bce',),
    'focal': ('--config.confidence.loss=focal',),
    'ranking': ('--config.confidence.loss=ranking',),
    'errors_weigh_10': ('--config.confidence.error_weight=10',),
    'temperature_2': ('--config.confidence.temperature=2',),
    CROSSFIT: ('--config.confidence.targets=crossfit',),
    'validation_targets': ('--config.confidence.targets=validation',),
    'slower': ('--config.confidence.learning_rate=3e-4',),
    'weight_decay': ('--config.confidence.optimizer=adamw', '--config.confidence.weight_decay=0.1'),
    'averaged': ('--config.confidence.recipes=ema',),
    'sixty_epochs': ('--config.confidence.epochs=60',),
    'slower_decayed_averaged_sixty_epochs': (
        '--config.confidence.learning_rate=3e-4',
        '--config.confidence.optimizer=adamw',
        '--config.confidence.weight_decay=0.1',
        '--config.confidence.recipes=ema',
        '--config.confidence.epochs=60',
    ),
    'no_dropout': ('--config.confidence.backbone_dropout=False',),
    'one_hidden_layer': ('--config.model.head_units=(400,)',),
    'linear': ('--config.model.head_units=()',),
}
# What the usual head's run measures beside it.
OTHERS = ('trust_score', 'trust_score_reference', 'learned_from_features', 'learned_from_distances', 'fusion')


def train(root: Path, config: str, seeds: list[int], only: list[str], flags: list[str]) -> None:
    """Run what has not been run."""
    shared = [f'--config={config}', *flags]
    for seed in seeds:
        own = [*shared, f'--config.seed={seed}']
        baseline = root / f'seed_{seed}' / BASELINE
        run(baseline, [*own, '--mode=train', '--config.confidence.epochs=0', '--config.finetune.epochs=0'])
        start = ['--config.baseline.epochs=0', f'--config.baseline.init_from={baseline}']
        for name in only or VARIANTS:
            workdir = baseline.parent / name
            measured = [] if name == USUAL else ['--config.evaluate.scores=mcp,confidnet']
            if name == CROSSFIT and not workdir.exists():
                # The classifiers of the folds are trained as the baseline was, so its epochs have to be known.
                copied = workdir.with_name('copied')
                shutil.copytree(baseline, copied, dirs_exist_ok=True)
                copied.rename(workdir)
            run(workdir, [*own, *([] if name == CROSSFIT else start), *HEAD, *VARIANTS[name], *measured])


def run(workdir: Path, flags: list[str]) -> None:
    """Run the program in a process of its own."""
    # A run that has ended says so and does nothing again.
    command = [sys.executable, '-m', 'failpred_jax.main', f'--workdir={workdir}', *flags]
    print(' '.join(command[1:]), flush=True)
    subprocess.run(command, check=True)


def keep(root: Path, title: str, command: str) -> dict[str, Any]:
    """Return what the page needs: the usual head's runs, and every variant as a score of the same predictions."""
    folders = {int(path.name.partition('_')[2]): path for path in sorted(root.glob('seed_*'))}
    names = [n for n in VARIANTS if all((path / n / 'evaluation').exists() for path in folders.values())]
    joined = {seed: _joined(path, names) for seed, path in folders.items()}
    shown = {'mcp', *OTHERS, *names}
    summary = summarize_evaluations(joined, EvaluateConfig())
    summary = dataclasses.replace(
        summary,
        scores={name: figures for name, figures in summary.scores.items() if name in shown},
        paired=tuple(row for row in summary.paired if row.a in shown),
        calibration={},
        calibrated={},
    )
    usual = next(iter(folders.values())) / USUAL
    run = run_to_json(read_evaluation(usual / 'evaluation').run)
    return results.rounded(
        {
            'title': title,
            'command': command,
            **results.machine(json.loads((usual / 'environment.json').read_text())),
            'run': {
                **{key: run[key] for key in ('mode', 'created', 'dataset', 'interval')},
                'definitions': {'scores': {name: {'role': '', 'estimates': ''} for name in shown}},
            },
            'seeds': {str(seed): results.one_seed(path / USUAL) for seed, path in folders.items()},
            'measures': results.measures(joined[min(joined)], summary),
        }
    )


def _joined(folder: Path, names: list[str]) -> Evaluation:
    """Return one seed's test units with the heads of all variants as scores."""
    found = {name: read_evaluation(folder / name / 'evaluation').test for name in names}
    usual = found[USUAL]
    for name, test in found.items():
        # They are compared as scores of one classifier, so it has to be one.
        if not np.array_equal(test.logits, usual.logits):
            raise SystemExit(f'{folder / name}: its classifier is not that of {folder / USUAL}')
    confidences = {name: test.confidences['confidnet'] for name, test in found.items()}
    confidences |= {name: usual.confidences[name] for name in OTHERS}
    return evaluate_predictions(usual.labels, usual.logits, confidences, resamples=0).evaluation


def main(doc: str | None, train: Callable[..., None], keep: Callable[..., dict[str, Any]]) -> None:
    """Train what a table compares, or keep what was measured; `train` and `keep` as in this file."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='what', required=True)
    runs = commands.add_parser('train', help='all that has not been run')
    runs.add_argument('root', type=Path)
    runs.add_argument('--config', default='configs/mnist_mlp.py')
    runs.add_argument('--seeds', default='0,1,2')
    runs.add_argument('--only', default='')
    kept = commands.add_parser('keep', help='what they measured into docs/results/NAME.json')
    kept.add_argument('root', type=Path)
    kept.add_argument('name')
    kept.add_argument('--title', required=True)
    kept.add_argument('--command', required=True, help='the first command, as the page shows it')
    args, flags = parser.parse_known_args()
    if args.what == 'train':
        seeds = [int(seed) for seed in args.seeds.split(',')]
        train(args.root, args.config, seeds, list(filter(None, args.only.split(','))), flags)
    elif flags:
        parser.error(f'unknown: {" ".join(flags)}')
    else:
        results.write(args.name, keep(args.root, args.title, args.command))


if __name__ == '__main__':
    main(__doc__, train, keep)
