"""What a learned score should see, and learn from: inputs, units and learners, on finished runs.

    python -m benchmarks.head_inputs measure WORKDIR COPY [FLAGS]    # all that is below, on a copy of finished runs
    python -m benchmarks.head_inputs keep COPY NAME --title='MNIST: what a learned score should see' --command='...'

Every combination is a score of its own, fitted and measured by the program as any other: `pd_logistic_dropped` and so
on. First, what is seen: `f` the features, `p` the logarithms of the largest probabilities, `d` those of the distances
to the nearest training unit of the predicted and of any other class, `s` what fifty passes with dropped features say.
Then the learner: a logistic regression or a network of whether the prediction is right, or (`tcp`) a network of the
true class probability. Then the units: `validation`, `training`, or `dropped`, which are training units with features
dropped, as scores/learned_distances.py draws them.
"""

import argparse
import dataclasses
import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from scipy.special import log_softmax

from benchmarks import results
from failpred_jax import main as program
from failpred_jax.calibrate.logistic import fit_logistic
from failpred_jax.config import EvaluateConfig
from failpred_jax.evaluate.seeds import summarize_evaluations
from failpred_jax.outcomes import predicted_classes
from failpred_jax.results import read_evaluation
from failpred_jax.results.codec import run_to_json
from failpred_jax.scores.bank import BY_CLASS, NO_CLASS, Bank
from failpred_jax.scores.distances import InClasses, distances
from failpred_jax.scores.learned_distances import NUM_TOP, Perturbed, distances_of, perturb
from failpred_jax.scores.linear import LastLayer, recover_last_layer
from failpred_jax.scores.score import FitInputs, MeasuresDistances, ScoreInputs, score

RATE, PASSES = 0.3, 50
# Of training units, whose distances leave themselves out and take a pass of their own.
NUM_TRAINING = 20_000
STEPS, BATCH, LEARNING_RATE = 4000, 128, 5e-4
SMALL, LARGE = (64, 64), (400, 400, 400, 400)
VALIDATION, DROPPED, TRAINING = 'validation', 'dropped', 'training'
LOGISTIC, NETWORK, TCP = 'logistic', 'network', 'tcp'
# What is seen, by which learner, from which units.
COMPARED = (
    ('p', LOGISTIC, VALIDATION),
    ('pd', LOGISTIC, VALIDATION),
    ('pds', LOGISTIC, VALIDATION),
    ('p', LOGISTIC, DROPPED),
    ('d', LOGISTIC, DROPPED),
    ('pd', LOGISTIC, DROPPED),
    ('pds', LOGISTIC, DROPPED),
    ('pd', NETWORK, DROPPED),
    ('fpd', NETWORK, DROPPED),
    ('p', TCP, TRAINING),
    ('pd', TCP, TRAINING),
    ('f', TCP, TRAINING),
    ('fp', TCP, TRAINING),
    ('fpd', TCP, TRAINING),
)
BESIDE = 'mcp,trust_score_reference,learned_from_features,learned_from_distances,fusion'
_NEAREST = InClasses()
Layers = list[tuple[jax.Array, jax.Array]]


class Units(NamedTuple):
    """What can be seen of units; [M, D], [M, C] and [M] each."""

    features: np.ndarray
    logits: np.ndarray
    own: np.ndarray
    other: np.ndarray


class Fitted(NamedTuple):
    """A fitted score: the layers after standardizing."""

    bank: Bank
    weight: jax.Array
    bias: jax.Array
    mean: jax.Array
    scale: jax.Array
    layers: Layers


def seen(units: Units, kinds: str, weight: Any, bias: Any) -> np.ndarray:
    """Return the columns of `kinds` side by side: [M, P] float32."""
    found = []
    for kind in kinds:
        if kind == 'f':
            found.append(units.features)
        elif kind == 'p':
            # Beyond this float32 has rounded the probability.
            found.append(np.maximum(-np.sort(-log_softmax(units.logits, axis=1), axis=1)[:, :NUM_TOP], -30))
        elif kind == 'd':
            logs = np.log(np.maximum(np.stack([units.own, units.other], axis=1), 1e-6))
            found.append(np.minimum(logs, 1e3))
        else:
            found.append(_sampled(jnp.asarray(units.features), jnp.asarray(weight), jnp.asarray(bias)))
    return np.concatenate([np.asarray(x, np.float32) for x in found], axis=1)


@jax.jit
def _sampled(features: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """Return the logarithm of the mean largest probability, its entropy, and the mutual information: [M, 3]."""
    dot = functools.partial(jnp.dot, precision=lax.Precision.HIGHEST)

    def entropy(p: jax.Array) -> jax.Array:
        return -jnp.sum(p * jnp.log(jnp.maximum(p, 1e-30)), axis=1)

    def step(total: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        kept = jax.random.bernoulli(key, 1 - RATE, features.shape)
        probs = jax.nn.softmax(dot(jnp.where(kept, features / (1 - RATE), 0), weight) + bias[None])
        return (total[0] + probs, total[1] + entropy(probs)), None

    start = jnp.zeros((len(features), len(bias))), jnp.zeros(len(features))
    (probs, inner), _ = lax.scan(step, start, jax.random.split(jax.random.key(0), PASSES))
    probs, inner = probs / PASSES, inner / PASSES
    outer = entropy(probs)
    return jnp.stack([jnp.log(jnp.maximum(probs.max(axis=1), 1e-30)), outer, outer - inner], axis=1)


def of_training(given: FitInputs) -> tuple[Units, np.ndarray]:
    """Return training units, their distances without themselves, and their true class probability."""
    bank, last = given.bank_of('head_inputs', frozenset({BY_CLASS})), last_layer(given)
    there = np.flatnonzero(np.tile(bank.levels != NO_CLASS, bank.chunk) & bank.is_unit)
    rows = np.random.default_rng(0).choice(there, min(NUM_TRAINING, len(there)), replace=False)
    features, labels = np.asarray(bank.points)[rows], np.tile(bank.labels, bank.chunk)[rows]
    logits = np.asarray(features @ last.weight + last.bias, np.float32)
    drawn = Perturbed(features, logits, rows, logits.argmax(axis=1) == labels, (1.0, 1.0), 0.0, (0, len(rows)))
    tcp = np.exp(log_softmax(logits, axis=1))[np.arange(len(rows)), labels]
    return Units(features, logits, *distances_of(drawn, bank)), tcp


def of_dropped(given: FitInputs) -> tuple[Units, np.ndarray]:
    """Return training units with features dropped, and whether they are still predicted rightly."""
    bank, last = given.bank_of('head_inputs', frozenset({BY_CLASS})), last_layer(given)
    drawn = perturb(bank, last.weight, last.bias, RATE, given.key)
    return Units(drawn.features, drawn.logits, *distances_of(drawn, bank)), drawn.is_right.astype(np.float64)


def of_validation(given: FitInputs) -> tuple[Units, np.ndarray]:
    """Return the validation units, and whether they are predicted rightly."""
    bank = given.bank_of('head_inputs', frozenset({BY_CLASS}))
    is_right = np.asarray(predicted_classes(given.val.logits)) == np.asarray(given.val_labels)
    return units_of(given.val, bank), is_right.astype(np.float64)


def last_layer(given: FitInputs) -> LastLayer:
    """Return the last layer, found once."""
    return recover_last_layer(given, 'head_inputs', centered=True)


def units_of(inputs: ScoreInputs, bank: Bank) -> Units:
    """Return what can be seen of the units of an evaluation."""
    own, other = inputs.once(distances, bank, _NEAREST)
    return Units(*(np.asarray(x) for x in (inputs.get('features'), inputs.logits, own[:, 0], other[:, 0])))


SOURCES: dict[str, Callable[[FitInputs], tuple[Units, np.ndarray]]] = {
    VALIDATION: of_validation,
    DROPPED: of_dropped,
    TRAINING: of_training,
}


def learn(columns: np.ndarray, target: np.ndarray, widths: tuple[int, ...]) -> Layers:
    """Return the layers of a network that says the log-odds of the target, by cross-entropy and Adam."""
    sizes, keys = (columns.shape[1], *widths, 1), jax.random.split(jax.random.key(0), len(widths) + 1)
    layers = [
        (jax.random.normal(key, (a, b)) * np.sqrt(2 / a), jnp.zeros(b))
        for key, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]
    optimizer = optax.adamw(optax.cosine_decay_schedule(LEARNING_RATE, STEPS), weight_decay=1e-3)
    inputs, wanted = jnp.asarray(columns), jnp.asarray(target, jnp.float32)

    def loss(layers: Layers, rows: jax.Array) -> jax.Array:
        return optax.sigmoid_binary_cross_entropy(log_odds(layers, inputs[rows]), wanted[rows]).mean()

    def step(state: Any, key: jax.Array) -> tuple[Any, None]:
        layers, memory = state
        rows = jax.random.randint(key, (BATCH,), 0, len(wanted))
        updates, memory = optimizer.update(jax.grad(loss)(layers, rows), memory, layers)
        return (optax.apply_updates(layers, updates), memory), None

    keys = jax.random.split(jax.random.key(1), STEPS)
    (layers, _), _ = jax.jit(lambda state: lax.scan(step, state, keys))((layers, optimizer.init(layers)))
    return layers


def log_odds(layers: Layers, columns: jax.Array) -> jax.Array:
    """Return [M] float32."""
    for weight, bias in layers[:-1]:
        columns = jax.nn.relu(columns @ weight + bias[None])
    weight, bias = layers[-1]
    return (columns @ weight + bias[None])[:, 0]


def fit(given: FitInputs, kinds: str, learner: str, source: str) -> tuple[Fitted, tuple[str, ...]]:
    """Fit one of COMPARED."""
    last = last_layer(given)
    units, target = given.once(SOURCES[source]) if source != VALIDATION else of_validation(given)
    columns = seen(units, kinds, last.weight, last.bias)
    mean, deviation = columns.mean(axis=0), columns.std(axis=0)
    scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    columns = (columns - mean) * scale
    if learner == LOGISTIC:
        found = fit_logistic(columns.astype(np.float64), target, ridge=1.0)
        layers = [(jnp.asarray(found.weights[:, None], jnp.float32), jnp.full(1, found.intercept, jnp.float32))]
    else:
        layers = learn(columns, target, LARGE if 'f' in kinds else SMALL)
    bank = given.bank_of('head_inputs', frozenset({BY_CLASS}))
    weight, bias, mean, scale = (jnp.asarray(x, jnp.float32) for x in (last.weight, last.bias, mean, scale))
    return Fitted(bank, weight, bias, mean, scale, layers), (f'learned from {len(target):,} units',)


def value(inputs: ScoreInputs, fitted: Fitted, kinds: str) -> jax.Array:
    """Return the log-odds [N] float32."""
    columns = seen(units_of(inputs, fitted.bank), kinds, fitted.weight, fitted.bias)
    return log_odds(fitted.layers, (jnp.asarray(columns) - fitted.mean[None]) * fitted.scale[None])


def name_of(kinds: str, learner: str, source: str) -> str:
    """Return the name of one of COMPARED as a score."""
    return f'{kinds}_{learner}_{source}'


def register() -> None:
    """Make a score of each of COMPARED."""
    for kinds, learner, source in COMPARED:
        score(
            name_of(kinds, learner, source),
            needs=['logits', 'features'],
            description=f'{learner} on {source} units',
            reference='benchmarks/head_inputs.py',
            fit=functools.partial(fit, kinds=kinds, learner=learner, source=source),
            fits_on_train=True,
            reads_val_labels=source == VALIDATION,
            distances=MeasuresDistances(frozenset({BY_CLASS}), _NEAREST, lambda fitted: (fitted.bank, _NEAREST)),
        )(functools.partial(value, kinds=kinds))


def measure(workdir: Path, copy: Path, flags: list[str]) -> int:
    """Measure COMPARED on copies of finished runs; return the exit code."""
    if not copy.exists():
        shutil.copytree(workdir, copy.with_name(f'{copy.name}_copied'), dirs_exist_ok=True)
        copy.with_name(f'{copy.name}_copied').rename(copy)
    register()
    names = ','.join([BESIDE, *(name_of(*row) for row in COMPARED)])
    return program.main(
        ['head_inputs', '--mode=evaluate', f'--workdir={copy}', *flags, f'--config.evaluate.scores={names}']
    )


def keep(copy: Path, title: str, command: str) -> dict[str, Any]:
    """Return what the page needs of all seeds that were measured."""
    folders = {int(path.name.partition('_')[2]): path for path in sorted(copy.glob('seed_*'))}
    found = {seed: read_evaluation(path / 'evaluation') for seed, path in folders.items()}
    summary = summarize_evaluations(found, EvaluateConfig())
    summary = dataclasses.replace(summary, calibration={}, calibrated={})
    run = run_to_json(found[min(found)].run)
    return results.rounded(
        {
            'title': title,
            'command': command,
            **results.machine(json.loads((folders[min(found)] / 'environment.json').read_text())),
            'run': {
                **{key: run[key] for key in ('mode', 'created', 'dataset', 'interval')},
                'definitions': {'scores': {name: {'role': '', 'estimates': ''} for name in summary.scores}},
            },
            'seeds': {str(seed): results.one_seed(path) for seed, path in folders.items()},
            'measures': results.measures(found[min(found)], summary),
        }
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='what', required=True)
    measured = commands.add_parser('measure', help='all of COMPARED on a copy of finished runs')
    measured.add_argument('workdir', type=Path)
    measured.add_argument('copy', type=Path)
    measured.add_argument('--config', default='configs/mnist_mlp.py')
    kept = commands.add_parser('keep', help='what was measured into docs/results/NAME.json')
    kept.add_argument('copy', type=Path)
    kept.add_argument('name')
    kept.add_argument('--title', required=True)
    kept.add_argument('--command', required=True, help='the first command, as the page shows it')
    args, flags = parser.parse_known_args()
    if args.what == 'measure':
        return measure(args.workdir, args.copy, [f'--config={args.config}', *flags])
    results.write(args.name, keep(args.copy, args.title, args.command))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
