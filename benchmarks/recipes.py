"""Train better, or learn a head? The same experiment under each training recipe, with ConfidNet on top of each.

    python -m benchmarks.recipes train ROOT --config=configs/mnist_mlp.py [--seeds=0,1,2] [--only=NAME,...] [FLAGS]
    python -m benchmarks.recipes keep ROOT NAME --title='MNIST: recipes' --command='...'

`train` runs `failpred_jax.main` once a recipe, for all seeds, in ROOT/RECIPE; killed, it goes on with the same command.
FLAGS of the program go to all of them. `keep` writes docs/results/NAME.json and the page.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.heads import run
from failpred_jax.results import read_evaluation
from failpred_jax.results.codec import run_to_json

PLAIN = 'plain'
RECIPES = {
    PLAIN: (),
    'label_smoothing': ('--config.baseline.label_smoothing=0.1',),
    'mixup': ('--config.baseline.recipes=mixup',),
    'regmixup': ('--config.baseline.recipes=regmixup',),
    'crl': ('--config.baseline.recipes=crl',),
    'ema': ('--config.baseline.recipes=ema',),
    'swa': ('--config.baseline.recipes=swa',),
    'sam': ('--config.baseline.recipes=sam',),
    'sam_swa': ('--config.baseline.recipes=sam,swa',),
}
SCORES = ('mcp', 'confidnet', 'ensemble')


def train(root: Path, config: str, seeds: str, only: list[str], flags: list[str]) -> None:
    """Run what has not been run."""
    for name in only or RECIPES:
        measured = f'--config.evaluate.scores={",".join(SCORES)}'
        run(root / name, [f'--config={config}', f'--config.seeds={seeds}', measured, *flags, *RECIPES[name]])


def keep(root: Path, title: str, command: str) -> dict[str, Any]:
    """Return what the page needs of every recipe whose runs have ended."""
    found = {name: read_evaluation(root / name / 'evaluation') for name in RECIPES if (root / name / 'report').exists()}
    seeds = [one.seed for one in found[PLAIN].seeds]
    environment = json.loads((root / PLAIN / f'seed_{seeds[0]}' / 'environment.json').read_text())
    return results.rounded(
        {
            'title': title,
            'command': command,
            **results.machine(environment),
            'run': {'created': run_to_json(found[PLAIN].run)['created']},
            'seeds': seeds,
            'recipes': {name: results.measures(one, one.measures.seeds) for name, one in found.items()},
        }
    )


def main() -> None:
    """Train with the recipes, or keep what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='what', required=True)
    runs = commands.add_parser('train', help='every recipe that has not been run')
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
        train(args.root, args.config, args.seeds, list(filter(None, args.only.split(','))), flags)
    elif flags:
        parser.error(f'unknown: {" ".join(flags)}')
    else:
        results.write(args.name, keep(args.root, args.title, args.command))


if __name__ == '__main__':
    main()
