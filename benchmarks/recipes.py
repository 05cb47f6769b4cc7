"""Train better, or learn a head? The same experiment under each training recipe, with ConfidNet on top of each.

    python -m benchmarks.recipes train ROOT --config=configs/mnist_mlp.py [--seeds=0,1,2] [--only=NAME,...] [FLAGS]
    python -m benchmarks.recipes keep ROOT NAME --title='MNIST: recipes' --command='...'

`train` runs `failpred_jax.main` once a recipe, for all seeds, in ROOT/RECIPE; killed, it goes on with the same command.
FLAGS of the program go to all of them. `keep` writes docs/results/NAME.json and the page.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.heads import main, run
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


def train(root: Path, config: str, seeds: list[int], only: list[str], flags: list[str]) -> None:
    """Run what has not been run."""
    for name in only or RECIPES:
        several = f'--config.seeds={",".join(map(str, seeds))}'
        measured = f'--config.evaluate.scores={",".join(SCORES)}'
        run(root / name, [f'--config={config}', several, measured, *flags, *RECIPES[name]])


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


if __name__ == '__main__':
    main(__doc__, train, keep)
