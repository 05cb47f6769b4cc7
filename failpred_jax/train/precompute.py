"""What a stage leaves fixed, computed once: activations and logits of a frozen part, for all examples.

The numbers are those that every step would compute, to the last bit: the same function, of the same weights, on
batches of the same size. So nothing but the time depends on whether there was room for them.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from failpred_jax import devices
from failpred_jax.console import phase, say
from failpred_jax.data.feeding import batches_in_order, num_bytes_of
from failpred_jax.errors import given
from failpred_jax.train.stage import Stage, TrainState
from failpred_jax.train.step import ApplyFn, PrepareFn, merge_params
from failpred_jax.types import Array, Batch, Cached, Examples, PyTree

# (params, batch_stats, images, names) -> Cached: models.network.Network.precompute
PrecomputeFn = Callable[[PyTree, PyTree, Array, Set[str]], Cached]

WORDS = {'hidden': 'activations before the first dropout', 'features': 'features', 'logits': 'logits'}


class Budget(NamedTuple):
    """Memory for a set of examples, in bytes: on each device, and on the host."""

    device: int
    host: int


@dataclass(frozen=True)
class Program:
    """What a stage runs: the network's functions and the preparation of its images.

    Attributes:
      apply_fn: models.network.Network.apply.
      precompute_fn: models.network.Network.precompute.
      prepare_train_fn: augments and normalizes; its results may depend on the keys it is given.
      prepare_eval_fn: normalizes only. The same as `prepare_train_fn` where nothing is random.
      ignore_label: the label whose units count nowhere, or None.
      eval_batch_size: examples a validation pass.
    """

    apply_fn: ApplyFn
    precompute_fn: PrecomputeFn
    prepare_train_fn: PrepareFn
    prepare_eval_fn: PrepareFn
    ignore_label: int | None
    eval_batch_size: int


def precompute(
    stage: Stage, program: Program, state: TrainState, train: Examples, val: Examples, budget: Budget
) -> tuple[Examples, Examples]:
    """Return training and validation examples with what the stage leaves fixed, as far as there is room, and say so.

    Args:
      stage: names what it leaves fixed.
      program: computes it.
      state: with the stage's frozen parameters.
      train, val: the examples; what is cached of them already stays as it is.
      budget: training examples live on the devices if they fit, else on the host, from where they are streamed.
        Those of validation live on the host.
    """
    is_random = program.prepare_train_fn is not program.prepare_eval_fn
    plans = [
        ('training', train, stage.fixed_in_training, stage.batch_size, max(budget)),
        ('validation', val, stage.fixed_in_validation, program.eval_batch_size, budget.host),
    ]
    found, notes = [], []
    for part, examples, names, batch_size, room in plans:
        names = frozenset(n for n in names if getattr(examples.cached, n) is None)
        if not names:
            found.append(examples)
            continue
        words = f'{" and ".join(WORDS[n] for n in WORDS if n in names)} of {len(examples.labels):,} {part} images'
        num_bytes = num_bytes_of(_template(program, state, examples, names))
        megabytes = f'{num_bytes / 2**20:,.0f} MB'
        changes = is_random and part == 'training'
        if changes or num_bytes > room:
            found.append(examples)
            reason = 'the images change at random' if changes else f'{megabytes} are beyond the budget'
            notes.append(f'{words} anew in every pass ({reason})')
            continue
        found.append(_with(examples, compute_cached(program, state, examples, names, batch_size)))
        on_device = part == 'training' and num_bytes_of(found[-1]) <= budget.device
        notes.append(f'{words} once ({megabytes}, kept on {"each device" if on_device else "the host"})')
    if notes:
        say(f'{stage.name}: computes the frozen {"; ".join(notes)}')
    return found[0], found[1]


def compute_cached(program: Program, state: TrainState, examples: Examples, names: Set[str], batch_size: int) -> Cached:
    """Return the fields of Cached in `names`, of all examples in evaluation mode, on the host; the others are None."""
    like = _template(program, state, examples, names)

    def forward(variables: PyTree, batch: Batch) -> Cached:
        image, _ = program.prepare_eval_fn(None, given(batch.image, 'an image'), batch.label)
        params, batch_stats = variables
        return program.precompute_fn(params, batch_stats, image, names)

    forward_fn = devices.map_over_devices(forward)
    variables = devices.replicate(_variables(state))
    arrays = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), like)
    start = 0
    with phase('computing what is frozen', len(examples.labels), 'images') as computing:
        for batch, real in batches_in_order(examples, batch_size):
            found = devices.gather(forward_fn(variables, batch))
            for array, part in zip(jax.tree.leaves(arrays), jax.tree.leaves(found), strict=True):
                array[start : start + real] = part[:real]
            start += real
            computing.add(real)
    return arrays


def _template(program: Program, state: TrainState, examples: Examples, names: Set[str]) -> Cached:
    """Return the shapes and types of what `compute_cached` returns."""

    def few(images: Array, labels: Array) -> Cached:
        image, _ = program.prepare_eval_fn(None, images, labels)
        params, batch_stats = _variables(state)
        return program.precompute_fn(params, batch_stats, image, names)

    found = jax.eval_shape(few, given(examples.images, 'an image')[:1], examples.labels[:1])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((len(examples.labels), *x.shape[1:]), x.dtype), found)


def _variables(state: TrainState) -> tuple[PyTree, PyTree]:
    return merge_params(state.trained, state.frozen), state.batch_stats


def _with(examples: Examples, new: Cached) -> Examples:
    """Return the examples with more of them cached, and without the images if nothing reads them any more."""
    cached = Cached(*(a if b is None else b for a, b in zip(new, examples.cached, strict=True)))
    is_replaced = cached.hidden is not None or cached.features is not None
    return Examples(None if is_replaced else examples.images, examples.labels, cached)
