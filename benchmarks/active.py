"""Accuracy against the number of labels, by each strategy and at random, on scikit-learn's digits.

  python -m benchmarks.active [--seeds=20]

A multilayer perceptron (64 hidden units, scikit-learn) starts from 30 random labels and gets 30 more in each of nine
rounds, from a pool of 1,200; 597 digits judge. Every strategy starts from the labels of `random` of the same seed, so
 differences are paired. Probabilities and features are those of the network that was trained on the labels so far;
`confidence` reads its largest probability, since a head would need a training of its own here, and `audit` is no
strategy to train by.
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from failpred_jax.label.pool import Pool
from failpred_jax.label.strategy import choose

STRATEGIES = ('random', 'margin', 'confidence', 'entropy', 'badge', 'coreset', 'cluster_margin')
START, STEP, ROUNDS, POOL = 30, 30, 9, 1200


def curve(name: str, seed: int, rounds: int = ROUNDS) -> np.ndarray:
    """Return the accuracy after each round, [rounds + 1]."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng([seed, 1]).permutation(len(images))
    images, labels = (images[order] / 16).astype(np.float32), labels[order]
    pool, test = slice(0, POOL), slice(POOL, None)
    labeled = np.arange(START)
    found = []
    for number in range(rounds + 1):
        model = MLPClassifier((64,), max_iter=150, learning_rate_init=0.01, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', ConvergenceWarning)
            model.fit(images[labeled], labels[labeled])
        found.append(float(model.score(images[test], labels[test])))
        if number < rounds:
            labeled = np.concatenate([labeled, _next(name, model, images[pool], labeled, seed * 100 + number)])
    return np.array(found)


def _next(name: str, model: MLPClassifier, images: np.ndarray, labeled: np.ndarray, seed: int) -> np.ndarray:
    """Return the places of the next labels."""
    left = np.setdiff1d(np.arange(len(images)), labeled)
    if name == 'random':
        return np.random.default_rng([seed, 2]).choice(left, STEP, replace=False)
    hidden = np.maximum(images @ model.coefs_[0] + model.intercepts_[0], 0).astype(np.float32)
    some = model.predict_proba(images[left]).astype(np.float32)
    # A class that no label has been seen of yet has the probability 0.
    probs = np.zeros((len(left), 10), np.float32)
    probs[:, np.asarray(model.classes_, int)] = some
    pool = Pool(
        left.astype(str),
        probs=probs,
        predicted=probs.argmax(1),
        features=hidden[left],
        labeled_features=hidden[labeled],
    )
    return left[choose(pool, name, STEP, seed=seed).rows]


def main() -> None:
    """Print accuracies and paired differences."""
    parser = argparse.ArgumentParser(description='accuracy against labels')
    parser.add_argument('--seeds', type=int, default=20)
    seeds = parser.parse_args().seeds
    began = time.process_time()
    with threadpool_limits(1):
        found = {name: np.array([curve(name, seed) for seed in range(seeds)]) for name in STRATEGIES}
    at = [0, 3, 6, 9]
    numbers = ' | '.join(f'{START + STEP * i} labels' for i in at)
    print(
        f'| strategy | {numbers} | mean over rounds, less random (95 %) | better in |\n|---|' + '---|' * (len(at) + 2)
    )
    rng = np.random.default_rng(0)
    for name, curves in found.items():
        means = ' | '.join(f'{100 * curves[:, i].mean():.1f} ± {100 * curves[:, i].std(ddof=1):.1f}' for i in at)
        gain = (curves[:, 1:] - found['random'][:, 1:]).mean(axis=1)
        drawn = gain[rng.integers(0, seeds, (10_000, seeds))].mean(axis=1)
        low, high = np.quantile(drawn, (0.025, 0.975))
        paired = '' if name == 'random' else f'{100 * gain.mean():+.2f} ({100 * low:+.2f} to {100 * high:+.2f})'
        print(f'| {name} | {means} | {paired} | {"" if name == "random" else f"{(gain > 0).sum()} of {seeds}"} |')
    print(f'\n{seeds} seeds, of which differences of strategies need 50; {time.process_time() - began:.0f} s')


if __name__ == '__main__':
    main()
