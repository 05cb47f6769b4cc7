"""How fast the costly scores are: Trust Score against k-d trees, MC-dropout against full passes, distances in one pass.

    python -m benchmarks.scores                          # 54,000 x 128 against 10,000, and T = 50: minutes
    python -m benchmarks.scores --train=10800 --test=2000 --images=128
    python -m benchmarks.scores --only=one_pass --train=20000 --test=2500 --features=1000 --classes=20

Each rival does the same work and its result is compared before its time is; what is printed are seconds and their
ratio, ours against theirs in one run, since machines are shared and absolute times are not to be trusted.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from sklearn.neighbors import KDTree

from failpred_jax.config import ModelConfig
from failpred_jax.evaluate.scoring import Plan, compute_scores, fit_scores
from failpred_jax.models.network import make_network
from failpred_jax.registry import SCORES
from failpred_jax.scores.density import NUM_NEIGHBORS
from failpred_jax.scores.sampled import add_sample, finish_samples, init_samples
from failpred_jax.scores.score import FitInputs, ScoreInputs
from failpred_jax.scores.trust_score import dense_sets, score_units
from failpred_jax.types import DatasetInfo

ALPHA = 1 / 16


def seconds(fn: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Return the least time over `repeats` calls of `fn`, and its last result."""
    best, result = float('inf'), None
    for _ in range(repeats):
        start = time.perf_counter()
        result = jax.block_until_ready(fn())
        best = min(best, time.perf_counter() - start)
    return best, result


def features_like_a_network(
    num_units: int, num_features: int, num_classes: int, latent: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return features [N, D] and labels [N]: classes on a curved sheet of few dimensions, behind a ReLU.

    k-d trees gain from a low intrinsic dimension, which real features have; pure noise in D dimensions would be unfair.
    """
    rng, shared = np.random.default_rng(seed), np.random.default_rng(0)
    centers = 2 * shared.normal(size=(num_classes, latent))
    mixing = shared.normal(size=(latent, num_features)) / np.sqrt(latent)
    labels = rng.integers(num_classes, size=num_units)
    hidden = centers[labels] + rng.normal(size=(num_units, latent))
    return np.maximum(hidden @ mixing, 0).astype(np.float32), labels


def trust_score_by_trees(
    train: np.ndarray, labels: np.ndarray, units: np.ndarray, predicted: np.ndarray, num_classes: int
) -> np.ndarray:
    """Return the Trust Score with scikit-learn's KDTree for both the density filter and the distances."""
    distances = np.empty((len(units), num_classes))
    for c in range(num_classes):
        points = train[labels == c]
        radii = KDTree(points).query(points, k=NUM_NEIGHBORS)[0][:, -1]
        kept = np.sort(radii)[len(points) - 1 - int(ALPHA * len(points))]
        distances[:, c] = KDTree(points[radii <= kept]).query(units, k=1)[0][:, 0]
    own = distances[np.arange(len(units)), predicted]
    distances[np.arange(len(units)), predicted] = np.inf
    return distances.min(axis=1) / own


def trust_score(args: argparse.Namespace) -> None:
    train, labels = features_like_a_network(args.train, args.features, args.classes, args.latent, seed=1)
    units, truth = features_like_a_network(args.test, args.features, args.classes, args.latent, seed=2)
    logits = np.eye(args.classes, dtype=np.float32)[truth]

    def ours() -> jax.Array:
        return score_units(units, logits, dense_sets(train, labels, args.classes, ALPHA))

    first, _ = seconds(ours)
    warm, confidence = seconds(ours, args.repeats)
    fit, _ = seconds(lambda: dense_sets(train, labels, args.classes, ALPHA), args.repeats)
    sizes = f'{args.train:,} x {args.features} train, {args.test:,} test, {args.classes} classes'
    print(f'Trust Score with density filter, {sizes}, {args.latent} intrinsic dimensions')
    print(f'  ours                  {warm:8.2f} s (filter and bank {fit:.2f} s; first call, compiling, {first:.2f} s)')
    theirs, expected = seconds(lambda: trust_score_by_trees(train, labels, units, truth, args.classes))
    np.testing.assert_allclose(confidence, expected, rtol=1e-4)
    print(f'  scikit-learn KDTree   {theirs:8.2f} s')
    print(f'  ratio                 {theirs / warm:8.1f}')


def mc_dropout(args: argparse.Namespace) -> None:
    info = DatasetInfo('mnist', 'classification', (28, 28, 1), tuple('0123456789'))
    network = make_network(ModelConfig(name='small_convnet_mnist'), info)
    params, batch_stats = network.init(jax.random.key(0))
    images = jnp.asarray(np.random.default_rng(0).normal(size=(args.images, 28, 28, 1)), jnp.float32)
    keys = jax.random.split(jax.random.key(1), args.passes)

    @jax.jit
    def suffixes(images: jax.Array) -> Any:
        hidden = network.prefix(params, batch_stats, images)

        def add(sums: Any, key: jax.Array) -> tuple[Any, None]:
            return add_sample(sums, jax.nn.softmax(network.suffix(params, batch_stats, hidden, key).logits)), None

        return finish_samples(lax.scan(add, init_samples((args.images, info.num_classes)), keys)[0])

    @jax.jit
    def one_full_pass(sums: Any, images: jax.Array, key: jax.Array) -> Any:
        # The images are an argument: of a constant, XLA would compute the deterministic part when it compiles.
        outputs, _ = network.apply(
            params, batch_stats, images, dropout_key=key, dropout_in=frozenset({'backbone', 'classifier'})
        )
        return add_sample(sums, jax.nn.softmax(outputs.logits))

    def full_passes() -> Any:
        # Called one by one: on a CPU a native convolution inside a loop is slower still.
        sums = init_samples((args.images, info.num_classes))
        for key in keys:
            sums = one_full_pass(sums, images, key)
        return finish_samples(sums)

    jax.block_until_ready((suffixes(images), one_full_pass(init_samples((args.images, 10)), images, keys[0])))
    ours, summary = seconds(lambda: suffixes(images), args.repeats)
    theirs, expected = seconds(full_passes, args.repeats)
    np.testing.assert_allclose(summary.mean_probs, expected.mean_probs, rtol=1e-3, atol=1e-5)
    assert float(jnp.min(summary.variance)) > 0
    print(f'MC-dropout, T = {args.passes}, small convnet, {args.images} images')
    print(f'  prefix once, T suffixes {ours:6.2f} s')
    print(f'  T full forward passes   {theirs:6.2f} s')
    print(f'  ratio                   {theirs / ours:6.1f}')


def one_pass(args: argparse.Namespace) -> None:
    """Time the scores that measure distances, all together as an evaluation does, and each for itself."""
    num_val = max(1, args.test * 3 // 5)
    parts = [
        features_like_a_network(size, args.features, args.classes, args.latent, seed)
        for seed, size in enumerate((args.train, num_val, args.test), 1)
    ]
    (train, labels), (val, val_labels), (units, truth) = ((x, y.astype(np.int32)) for x, y in parts)
    # Predictions of which a tenth are wrong, so that every constant has something to be chosen by.
    spoiled = np.where(np.arange(num_val) % 10 == 0, (val_labels + 1) % args.classes, val_labels)
    eye = np.eye(args.classes, dtype=np.float32)
    given = FitInputs(ScoreInputs(eye[spoiled], val), val_labels, ScoreInputs(None, train), labels, jax.random.key(0))
    inputs = ScoreInputs(eye[truth], units)
    names = ('trust_score', 'trust_score_reference', 'knn_distance')

    def evaluated(*names: str) -> tuple[dict[str, np.ndarray], float, float]:
        plan = Plan(tuple(SCORES[name] for name in names), {})
        start = time.process_time()
        fitted = fit_scores(plan, given)
        middle = time.process_time()
        found, _ = compute_scores(plan, inputs, fitted)
        return found, middle - start, time.process_time() - middle

    sizes = (
        f'{args.train:,} x {args.features} train, {num_val:,} validation, {args.test:,} test, {args.classes} classes'
    )
    print(f'{", ".join(names)}: {sizes}; processor time, second calls')
    expected: dict[str, np.ndarray] = {}
    for what, groups in (('together', [names]), ('each alone', [(name,) for name in names])):
        runs = [[evaluated(*group) for group in groups] for _ in range(2)][1]
        fit, compute = (sum(times[i] for times in runs) for i in (1, 2))
        print(f'  {what:20s}  fitting {fit:7.2f} s, computing {compute:7.2f} s')
        found = {name: values for run in runs for name, values in run[0].items()}
        expected = expected or found
        for name in names:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', choices=('trust_score', 'mc_dropout', 'one_pass'), help='run one of the three')
    parser.add_argument('--train', type=int, default=54_000, help='training units of Trust Score')
    parser.add_argument('--test', type=int, default=10_000, help='evaluated units of Trust Score')
    parser.add_argument('--features', type=int, default=128)
    parser.add_argument('--classes', type=int, default=10)
    parser.add_argument('--latent', type=int, default=16, help='intrinsic dimension of the features')
    parser.add_argument('--images', type=int, default=512, help='images of MC-dropout')
    parser.add_argument('--passes', type=int, default=50, help='T of MC-dropout')
    parser.add_argument('--repeats', type=int, default=3, help='the least of so many times is reported')
    args = parser.parse_args()
    print(f'{jax.device_count()} {jax.devices()[0].device_kind} device(s)')
    for name, benchmark in (('trust_score', trust_score), ('mc_dropout', mc_dropout), ('one_pass', one_pass)):
        if args.only in (None, name):
            benchmark(args)


if __name__ == '__main__':
    main()
