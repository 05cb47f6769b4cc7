"""Prediction sets and thresholds next to MAPIE, crepes and TorchCP, on the same arrays.

  python -m venv /tmp/peers && /tmp/peers/bin/pip install mapie crepes
  python benchmarks/peers_decide.py --arrays=/tmp/arrays.npz  # ours, and writes the arrays
  /tmp/peers/bin/python benchmarks/peers_decide.py --peers=/tmp/arrays.npz
  python benchmarks/peers_decide.py --torchcp=/tmp/arrays.npz  # in an environment with torchcp 1.2 and torch

TorchCP's package imports graphs and language models at once, and torchsort, which has to be compiled: only its part on
classification is loaded here. It has no choice of constants, so RAPS and SAPS get those that ours chose on validation
units.
Draws of an overconfident classifier of 20 classes: 500 validation,
1,000 calibration and 5,000 test units, alpha = 0.1. Coverage and size are means over draws.
"""

import argparse
import importlib.metadata
import sys
import time
import types

import numpy as np

NUM_DRAWS, NUM_CLASSES = 20, 20
SIZES = {'val': 500, 'cal': 1000, 'test': 5000}
ALPHA, RISK, DELTA = 0.1, 0.05, 0.05


def draw(seed: int) -> dict[str, np.ndarray]:
    """Return probabilities and labels of each part."""
    rng = np.random.default_rng(seed)
    found = {}
    for part, size in SIZES.items():
        labels = rng.integers(0, NUM_CLASSES, size)
        logits = rng.normal(size=(size, NUM_CLASSES))
        logits[np.arange(size), labels] += rng.normal(4, 2, size)
        probs = np.exp(1.5 * (logits - logits.max(axis=1, keepdims=True)))
        found |= {f'{part}_labels': labels, f'{part}_probs': probs / probs.sum(axis=1, keepdims=True)}
    return found


def report(name: str, sets: list[np.ndarray], labels: list[np.ndarray], seconds: float) -> None:
    """Print the mean coverage and size."""
    covered = np.mean([s[np.arange(len(y)), y].mean() for s, y in zip(sets, labels, strict=True)])
    size = np.mean([s.sum(axis=1).mean() for s in sets])
    print(f'| {name} | {covered:.2%} | {size:.3f} | {seconds:.1f} |')


def ours(draws: list[dict[str, np.ndarray]]) -> None:
    """Print our sets and thresholds."""
    from failpred_jax.calibrate.selective import threshold_at_risk
    from failpred_jax.decide import Labeled, certify_selective, fit_sets

    labels = [d['test_labels'] for d in draws]
    for method in ('lac', 'aps', 'raps', 'saps'):
        start, sets = time.process_time(), []
        for d in draws:
            rule = fit_sets(
                d['cal_probs'], d['cal_labels'], ALPHA, method,
                validation=Labeled(d['val_probs'], d['val_labels']), allow_empty=True,
            )  # fmt: skip
            sets.append(rule(d['test_probs']))
            d[f'{method}_constants'] = np.array(
                [rule.constants.penalty, rule.constants.free_ranks, rule.constants.weight]
            )
        report(f'failpred_jax {method}', sets, labels, time.process_time() - start)
    parts = [(d['cal_probs'].max(axis=1), d['cal_probs'].argmax(axis=1) == d['cal_labels']) for d in draws]
    ours_ = np.mean([certify_selective(*part, RISK, DELTA).coverage for part in parts])
    grid = np.mean([threshold_at_risk(*part, RISK, DELTA).coverage for part in parts])
    base = 1 - np.mean([right.mean() for _, right in parts])
    print(f'\nerrors {base:.1%}; accepted at <= {RISK:.0%} wrong, delta {DELTA:.0%}: fixed sequence {ours_:.1%}, '
          f'Bonferroni over 50 {grid:.1%}')  # fmt: skip


class Given:
    """A fitted classifier, as scikit-learn sees one, whose probabilities are its inputs."""

    classes_ = np.arange(NUM_CLASSES)
    _estimator_type = 'classifier'

    def fit(self, x: np.ndarray, y: np.ndarray) -> 'Given':
        """Do nothing."""
        self.is_fitted_ = True
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return the inputs."""
        return x

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the most probable class."""
        return x.argmax(axis=1)


def theirs(draws: list[dict[str, np.ndarray]]) -> None:
    """Print the sets of MAPIE and crepes."""
    from crepes import ConformalClassifier
    from mapie.classification import SplitConformalClassifier
    from sklearn.base import BaseEstimator, ClassifierMixin

    labels = [d['test_labels'] for d in draws]
    model = type('Model', (Given, ClassifierMixin, BaseEstimator), {})().fit(None, None)
    version = importlib.metadata.version('mapie')
    for score in ('lac', 'aps', 'raps'):
        start, sets = time.process_time(), []
        for d in draws:
            made = SplitConformalClassifier(
                model, confidence_level=1 - ALPHA, conformity_score=score, prefit=True, random_state=0
            )
            made.conformalize(d['cal_probs'], d['cal_labels'])
            sets.append(made.predict_set(d['test_probs'])[1][:, :, 0].astype(bool))
        report(f'MAPIE {version} {score}', sets, labels, time.process_time() - start)
    start, sets = time.process_time(), []
    for d in draws:
        made = ConformalClassifier()
        made.fit(1 - d['cal_probs'][np.arange(SIZES['cal']), d['cal_labels']])
        sets.append(np.asarray(made.predict_set(1 - d['test_probs'], confidence=1 - ALPHA)).astype(bool))
    name = f'crepes {importlib.metadata.version("crepes")} hinge'
    report(name, sets, labels, time.process_time() - start)


def torchcp(draws: list[dict[str, np.ndarray]]) -> None:
    """Print the sets of TorchCP."""
    import torch

    # Not imported as a whole; see the module.
    version, folder = importlib.metadata.version('torchcp'), importlib.metadata.files('torchcp')[0].locate().parents[1]
    sys.modules['torchsort'] = types.ModuleType('torchsort')
    sys.modules['torchsort'].soft_rank = sys.modules['torchsort'].soft_sort = None  # type: ignore[attr-defined]
    sys.modules['torchcp'] = types.ModuleType('torchcp')
    sys.modules['torchcp'].__path__ = [str(folder / 'torchcp')]
    from torchcp.classification.predictor import SplitPredictor
    from torchcp.classification.score import APS, LAC, RAPS, SAPS

    torch.manual_seed(0)
    labels = [d['test_labels'] for d in draws]
    for method in ('lac', 'aps', 'raps', 'saps'):
        start, sets = time.process_time(), []
        for d in draws:
            penalty, free, weight = d[f'{method}_constants'].tolist()
            score = {
                'lac': lambda: LAC(), 'aps': lambda: APS(),
                'raps': lambda penalty=penalty, free=free: RAPS(penalty=penalty, kreg=int(free)),
                'saps': lambda weight=weight: SAPS(weight=weight),
            }[method]()  # fmt: skip
            made = SplitPredictor(score, alpha=ALPHA, device=torch.device('cpu'))
            cal, test = (torch.log(torch.tensor(d[f'{part}_probs'])) for part in ('cal', 'test'))
            made.calculate_threshold(cal, torch.tensor(d['cal_labels']), ALPHA)
            sets.append(np.asarray(made.predict_with_logits(test)).astype(bool))
        report(f'TorchCP {version} {method}', sets, labels, time.process_time() - start)


def main() -> None:
    """Print one side."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--arrays', default='')
    parser.add_argument('--peers', default='')
    parser.add_argument('--torchcp', default='')
    given = parser.parse_args()
    print('| sets | coverage | mean size | CPU s |\n|---|---|---|---|')
    if given.peers or given.torchcp:
        with np.load(given.peers or given.torchcp) as saved:
            draws = [
                {k.split('.')[1]: saved[k] for k in saved.files if k.startswith(f'{n}.')} for n in range(NUM_DRAWS)
            ]
        (theirs if given.peers else torchcp)(draws)
        return
    draws = [draw(seed) for seed in range(NUM_DRAWS)]
    ours(draws)
    if given.arrays:
        np.savez(given.arrays, **{f'{n}.{k}': v for n, d in enumerate(draws) for k, v in d.items()})


if __name__ == '__main__':
    main()
