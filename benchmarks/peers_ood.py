"""Our scores for strangers beside pytorch-ood's, on the same features, logits and weights.

    PYTHONPATH=FOLDER_WITH_PYTORCH_OOD python -m benchmarks.peers_ood [--train=2000] [--test=500] [--seed=0]

pytorch-ood is not a dependency: install it into a folder of its own (`pip install --no-deps --target=FOLDER
pytorch-ood`). Ours recovers the last layer from features and logits; pytorch-ood is given the weights. Printed are the
rank correlation, the largest difference relative to the spread (after the sign that pytorch-ood turns), and both AUROC
of strangers.
"""

import argparse
import importlib.util
import sys
import unittest.mock
from collections.abc import Callable

import jax
import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from failpred_jax.registry import SCORES
from failpred_jax.scores.score import FitInputs, ScoreInputs, as_fit
from failpred_jax.scores.vim import num_principal

NUM_FEATURES, NUM_CLASSES = 64, 10


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--train', type=int, default=2000)
    parser.add_argument('--test', type=int, default=500)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    weight, bias = rng.normal(size=(NUM_FEATURES, NUM_CLASSES)) / 4, rng.normal(size=NUM_CLASSES) / 4
    centers, mixing = rng.normal(size=(NUM_CLASSES, 16)), rng.normal(size=(16, NUM_FEATURES))

    def units(count: int, is_strange: bool = False) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(NUM_CLASSES, size=count).astype(np.int32)
        hidden = (0 if is_strange else 2 * centers[labels]) + rng.normal(size=(count, 16))
        noise = (0.8 if is_strange else 0.3) * rng.normal(size=(count, NUM_FEATURES))
        return np.maximum(hidden @ mixing / 4 + noise, 0).astype(np.float32), labels

    def inputs(features: np.ndarray) -> ScoreInputs:
        return ScoreInputs((features @ weight + bias).astype(np.float32), features)

    (train, train_labels), (val, val_labels), (test, _) = units(args.train), units(args.test), units(args.test)
    strange, _ = units(args.test, is_strange=True)
    given = FitInputs(inputs(val), val_labels, inputs(train), train_labels, jax.random.key(0))
    both = inputs(np.concatenate([test, strange]))
    inside = np.arange(2 * args.test) < args.test
    print(f'{"score":8s} {"rank corr.":>10s} {"largest diff.":>13s} {"AUROC ours":>10s} {"theirs":>8s}')
    for name, theirs in _peers(weight, bias, train, train_labels, both).items():
        score = SCORES[name]
        fitted = None if score.fit is None else as_fit(score.fit(given)).fitted
        ours = np.asarray(score.fn(both) if fitted is None else score.fn(both, fitted), np.float64)
        other = -theirs()
        scaled = [(values - values.mean()) / values.std() for values in (ours, other)]
        print(
            f'{name:8s} {spearmanr(ours, other).statistic:10.6f} {np.abs(scaled[0] - scaled[1]).max():13.2e} '
            f'{roc_auc_score(inside, ours):10.4f} {roc_auc_score(inside, other):8.4f}'
        )


def _peers(
    weight: np.ndarray, bias: np.ndarray, train: np.ndarray, labels: np.ndarray, both: ScoreInputs
) -> dict[str, Callable[[], np.ndarray]]:
    """Return score -> what pytorch-ood says of the units (high means strange)."""
    import torch

    # pytorch-ood imports torchvision for data sets and models, of which nothing is used here.
    if importlib.util.find_spec('torchvision') is None:
        parts = ('transforms', 'models', 'models.resnet', 'datasets')
        for name in ('torchvision', *(f'torchvision.{part}' for part in parts)):
            sys.modules[name] = unittest.mock.MagicMock()
    from pytorch_ood import detector

    features, logits = torch.from_numpy(np.asarray(both.features)), torch.from_numpy(np.asarray(both.logits))
    bank, of_bank = torch.from_numpy(train), torch.from_numpy(labels).long()
    head = torch.nn.Linear(NUM_FEATURES, NUM_CLASSES)
    w, b = torch.from_numpy(weight.T.astype(np.float32)), torch.from_numpy(bias.astype(np.float32))
    with torch.no_grad():
        head.weight.copy_(w)
        head.bias.copy_(b)

    def vim() -> np.ndarray:
        found = detector.ViM(torch.nn.Identity(), num_principal(NUM_FEATURES), w, b).fit_features(bank, of_bank)
        return found.predict_features(features).detach().numpy()

    def fdbd() -> np.ndarray:
        found = detector.fDBD(torch.nn.Identity(), head).fit_features(bank)
        return found.predict_features(features).detach().numpy()

    def nnguide() -> np.ndarray:
        found = detector.NNGuide(torch.nn.Identity(), head, k=10).fit_features(bank, of_bank)
        return found.predict_features(features).detach().numpy()

    def react() -> np.ndarray:
        limit = float(np.quantile(train, 0.9))
        return -torch.logsumexp(head(features.clamp(max=limit)), dim=1).detach().numpy()

    return {
        'gen': lambda: detector.GEN.score(logits).numpy(),
        'energy': lambda: detector.EnergyBased.score(logits).numpy(),
        'vim': vim,
        'fdbd': fdbd,
        'nnguide': nnguide,
        'react': react,
    }


if __name__ == '__main__':
    main()
