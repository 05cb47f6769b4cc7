"""A confidence head trained on saved features and logits alone, for a classifier made anywhere.

It is ConfidNet's head and loss without the network below it: features do not change while it trains, so there is
nothing to run but the head, in one compiled scan. The classifier's dropout cannot be on while it trains, as the paper
has it; that is what this score gives up against `confidnet`.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.outcomes import is_correct, true_class_probability
from failpred_jax.scores.blocks import in_blocks
from failpred_jax.scores.choice import aurc
from failpred_jax.scores.score import Fit, FitInputs, ScoreInputs, score
from failpred_jax.scores.subsample import describe, keep_uniform
from failpred_jax.types import Array, PyTree

WIDTHS = (400, 400, 400, 400)
BATCH_SIZE = 128
LEARNING_RATE = 1e-3
# At most; a small set is seen MAX_EPOCHS times at most.
NUM_STEPS = 3000
MAX_EPOCHS = 100
NUM_CHECKPOINTS = 15
# Below this spread over the validation units the head has learned a constant.
MIN_SPREAD = 1e-4
# Rows of the widest layer held at once when scoring: 13 MB.
MAX_ROWS = 8192


class Head(NamedTuple):
    """The fitted score.

    Attributes:
      mean: [D] float32, of the training features.
      scale: [D] float32, one over their standard deviation; 0 where they do not vary.
      layers: (kernel [in, out], bias [out]) float32 of each layer; the last has one output.
    """

    mean: jax.Array
    scale: jax.Array
    layers: tuple[tuple[jax.Array, jax.Array], ...]


def init_head(features: Array, targets: Array, key: Array, widths: tuple[int, ...] = WIDTHS) -> Head:
    """Return an untrained head for features [N, D] and targets [N]: normal kernels of variance 2 / inputs, zero biases.

    Its last layer starts at the mean target, with a zero kernel. A good classifier's targets are nearly all near 1:
    from anywhere else the first steps race there together, into the flat end of the sigmoid, and the head stays
    constant.
    """
    features = np.asarray(features, np.float32)
    deviation = features.std(axis=0, dtype=np.float64)
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    sizes = [features.shape[1], *widths, 1]
    layers = tuple(
        (jax.random.normal(layer_key, (fan_in, fan_out)) * jnp.sqrt(2.0 / fan_in), jnp.zeros(fan_out))
        for layer_key, fan_in, fan_out in zip(jax.random.split(key, len(widths)), sizes[:-2], sizes[1:-1], strict=True)
    )
    mean_target = np.clip(np.mean(np.asarray(targets), dtype=np.float64), 1e-3, 1 - 1e-3)
    last = (jnp.zeros((sizes[-2], 1)), jnp.asarray([np.log(mean_target / (1 - mean_target))], jnp.float32))
    mean = features.mean(axis=0, dtype=np.float64)
    return Head(jnp.asarray(mean, jnp.float32), jnp.asarray(scale, jnp.float32), (*layers, last))


def apply_head(head: Head, features: Array) -> jax.Array:
    """Return the confidence logit of features [N, D]: [N] float32."""
    product = functools.partial(jnp.dot, precision=lax.Precision.HIGHEST)
    hidden = (jnp.asarray(features, jnp.float32) - head.mean[None]) * head.scale[None]
    for kernel, bias in head.layers[:-1]:
        hidden = jax.nn.relu(product(hidden, kernel) + bias[None])
    kernel, bias = head.layers[-1]
    return (product(hidden, kernel) + bias[None])[:, 0]


def train_head(
    head: Head,
    features: Array,
    targets: Array,
    key: Array,
    judge_fn: Callable[[Head], float],
    num_steps: int,
    num_checkpoints: int = NUM_CHECKPOINTS,
) -> tuple[Head, int, list[float]]:
    """Return the best head seen while minimizing the mean squared error between sigmoid(u) and its target.

    Adam with a cosine decay; batches are drawn with replacement, so that a step is one gather inside the scan.

    Args:
      head: from `init_head`.
      features: [N, D] float32.
      targets: [N] float32 in [0, 1].
      key: PRNG key of the batches.
      judge_fn: head -> a number, less is better, NaN where it is undefined; called `num_checkpoints` times.
      num_steps: 1 or greater; rounded to a multiple of num_checkpoints.
      num_checkpoints: 1 or greater.

    Returns:
      The head with the least judgment (the last where none is defined), the steps it took, and all judgments.

    Reference: Corbière et al., "Addressing failure prediction by learning model confidence", NeurIPS 2019, section 2.3.
    """
    features, targets = jnp.asarray(features, jnp.float32), jnp.asarray(targets, jnp.float32)
    chunk_steps = max(1, round(num_steps / num_checkpoints))
    total_steps = chunk_steps * num_checkpoints
    state = _optimizer(total_steps).init(head.layers)
    best, best_chunk, judgments = head, 0, []
    for chunk in range(num_checkpoints):
        chunk_key = jax.random.fold_in(key, chunk)
        head, state = _train_chunk(head, state, features, targets, chunk_key, chunk_steps, total_steps)
        judgments.append(judge_fn(head))
        # A NaN is not less than anything: until a judgment is defined, the latest head stands.
        if not np.isfinite(judgments[:-1]).any() or judgments[-1] < np.nanmin(judgments[:-1]):
            best, best_chunk = head, chunk
    return best, (best_chunk + 1) * chunk_steps, judgments


def _optimizer(total_steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, total_steps))


@functools.partial(jax.jit, static_argnames=('num_steps', 'total_steps'))
def _train_chunk(
    head: Head,
    state: PyTree,
    features: jax.Array,
    targets: jax.Array,
    key: jax.Array,
    num_steps: int,
    total_steps: int,
) -> tuple[Head, PyTree]:
    optimizer = _optimizer(total_steps)

    def loss_fn(layers: PyTree, batch: jax.Array) -> jax.Array:
        confidence = jax.nn.sigmoid(apply_head(head._replace(layers=layers), features[batch]))
        return jnp.mean((confidence - targets[batch]) ** 2)

    def step(carry: tuple[PyTree, PyTree], step_key: jax.Array) -> tuple[tuple[PyTree, PyTree], None]:
        layers, state = carry
        batch = jax.random.randint(step_key, (BATCH_SIZE,), 0, features.shape[0])
        updates, state = optimizer.update(jax.grad(loss_fn)(layers, batch), state, layers)
        return (optax.apply_updates(layers, updates), state), None

    (layers, state), _ = lax.scan(step, (head.layers, state), jax.random.split(key, num_steps))
    return head._replace(layers=layers), state


@jax.jit
def _confidence(head: Head, features: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(in_blocks(functools.partial(apply_head, head), features, MAX_ROWS))


def _fit(given: FitInputs) -> Fit:
    if given.train is None or given.train.features is None or given.train.logits is None:
        raise ScoreUnavailableError('learned_from_features needs the features and logits of the training set')
    bank_key, init_key, batch_key = jax.random.split(given.key, 3)
    num_train = len(given.train.features)
    kept = keep_uniform(num_train, bank_key)
    features, logits, labels = (
        np.asarray(x)[kept] for x in (given.train.features, given.train.logits, given.train_labels)
    )
    targets = true_class_probability(jnp.asarray(logits, jnp.float32), jnp.asarray(labels))
    num_errors = int(jnp.sum(~is_correct(logits, labels)))

    planned = min(NUM_STEPS, math.ceil(len(kept) * MAX_EPOCHS / BATCH_SIZE))
    val_features = jnp.asarray(given.val.features, jnp.float32)
    correct = is_correct(given.val.logits, given.val_labels)
    candidates = []

    def judge(head: Head) -> float:
        candidates.append(_confidence(head, val_features))
        return float(aurc(candidates[-1], correct))

    head, num_steps, _ = train_head(
        init_head(features, targets, init_key),
        features,
        targets,
        batch_key,
        judge,
        planned,
    )
    spread = float(jnp.std(_confidence(head, val_features)))
    if not spread > MIN_SPREAD:
        raise ScoreUnavailableError(
            f'the head learned a constant: its output varies by {spread:.1e} over the validation units '
            f'(the classifier is wrong on {num_errors} of {len(kept)} training units, from which it was to learn)'
        )
    notes = (
        f'trained on {len(kept)} training units, of which the classifier has {num_errors} wrong; '
        f'the head of step {num_steps} of {planned}, by validation AURC',
        *describe(len(kept), num_train),
    )
    return Fit(head, notes, jnp.stack(candidates, axis=1), default=-1)


@score(
    'learned_from_features',
    needs=['logits', 'features'],
    description='confidence head trained on saved features and logits alone (true class probability, squared error)',
    reference='Corbière et al., NeurIPS 2019, section 2.3, on fixed features',
    fit=_fit,
    fits_on_train=True,
    is_probability=True,
    estimates='the true class probability',
    role='learned',
)
def learned_from_features(inputs: ScoreInputs, fitted: Head) -> jax.Array:
    """Return sigmoid(u) of a confidence head that was trained on the training set's features and logits.

    Args:
      inputs: reads `features` [N, D]; `logits` only to stop on validation data.
      fitted: the head.

    Returns:
      [N] float32 in [0, 1].

    Reference: Corbière et al., "Addressing failure prediction by learning model confidence", NeurIPS 2019, section 2.3.
    """
    return _confidence(fitted, jnp.asarray(inputs.features, jnp.float32))
