"""What one device does: a training step, many of them in one compiled loop, and a forward pass.

The loop has a step count that is known only when it runs, so one compilation serves chunks of every length, and
the numbers do not depend on how a run was cut into chunks (a scan of another length is another program, whose last
bits may differ). It is a `lax.while_loop`, which is also what `lax.scan` compiles to, and stops by itself at the
first loss that is not finite.
"""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

from failpred_jax import compiler, devices
from failpred_jax.data.prepare import PrepareFn
from failpred_jax.errors import given
from failpred_jax.outcomes import is_correct
from failpred_jax.train.recipe import compose_loss, init_recipes
from failpred_jax.train.stage import Stage, TrainState
from failpred_jax.types import Array, Batch, Examples, Outputs, PyTree

# (params, batch_stats, images, **how) -> (Outputs, batch_stats): models.network.Network.apply
ApplyFn = Callable[..., tuple[Outputs, PyTree]]
# What is folded into a step's key, beside the numbers of devices, which each make dropout of their own.
_AUGMENTATION, _RECIPES = 2**31 - 1, 2**31 - 2


class Sums(NamedTuple):
    """Totals over the units of the steps of a chunk, on one device until they are summed over all.

    Attributes:
      loss_sum: float32.
      correct_count: int32.
      num_units: int32.
      bad_step: int32, the step whose loss was not finite, or -1.
    """

    loss_sum: Array
    correct_count: Array
    num_units: Array
    bad_step: Array


class Outcomes(NamedTuple):
    """What the classifier makes of each unit: [B] for images, [B, H, W] for pixels.

    Attributes:
      correct: bool.
      confidence: float32, the maximum class probability.
      tcp: float32, probability of the true class.
      mask: bool, False for padding and for the ignored label.
    """

    correct: Array
    confidence: Array
    tcp: Array
    mask: Array


class Units(NamedTuple):
    """What validation keeps of each unit: [B] for images, [B, H, W] for pixels.

    Attributes:
      loss: float32, the stage's loss.
      correct: bool.
      confidence: float32, the head's confidence, or the maximum class probability before there is a head.
      tcp: float32, probability of the true class.
      mask: bool, False for padding and for the ignored label.
    """

    loss: Array
    correct: Array
    confidence: Array
    tcp: Array
    mask: Array


def split_params(params: PyTree, trains: Callable[[tuple[str, ...]], bool]) -> tuple[PyTree, PyTree]:
    """Return (trained, frozen), two nested dicts that share no leaf and together hold `params`."""
    flat = traverse_util.flatten_dict(params)
    trained = {path: leaf for path, leaf in flat.items() if trains(path)}
    frozen = {path: leaf for path, leaf in flat.items() if not trains(path)}
    return traverse_util.unflatten_dict(trained), traverse_util.unflatten_dict(frozen)


def merge_params(trained: PyTree, frozen: PyTree) -> PyTree:
    """Undo `split_params`."""
    return traverse_util.unflatten_dict({**traverse_util.flatten_dict(trained), **traverse_util.flatten_dict(frozen)})


def init_state(stage: Stage, params: PyTree, batch_stats: PyTree, key: Array) -> TrainState:
    """Return the state before a stage's first step."""
    trained, frozen = split_params(params, stage.trains)
    return TrainState(
        step=jnp.int32(0),
        key=key,
        trained=trained,
        frozen=frozen,
        batch_stats=batch_stats,
        opt_state=stage.optimizer.init(trained),
        recipe_states=init_recipes(stage.recipes, trained),
        evaluated={'trained': trained, 'batch_stats': batch_stats} if stage.replaces_evaluated else {},
    )


def unit_mask(batch_mask: Array, labels: Array, ignore_label: int | None) -> Array:
    """Return which units count: [B] -> the shape of `labels`, bool.

    Padded examples do not, nor the ignored label, nor, in label maps, the negative labels of pixels that augmentation
    brought in from beyond the border.
    """
    mask = _over_units(batch_mask, labels)
    if labels.ndim > 1:
        mask &= labels >= 0
    return mask if ignore_label is None else mask & (labels != ignore_label)


def _in_range(labels: Array, logits: Array) -> Array:
    # An ignored label may lie outside the classes; its unit is masked, so any class will do.
    return jnp.clip(labels, 0, logits.shape[-1] - 1)


# (trained, state, batch, key) -> (mean gradient, (loss_sum, batch_stats, recipe_states, correct_count, num_units))
GradientFn = Callable[[PyTree, TrainState, Batch, Array], tuple[PyTree, tuple]]


def _make_gradient(stage: Stage, apply_fn: ApplyFn, ignore_label: int | None) -> GradientFn:
    """Return the gradient of the mean loss over the units of the whole batch, and what a step needs besides."""
    recipes = stage.recipes

    def stage_loss(outputs: Outputs, batch: Batch, mask: Array) -> Array:
        labels = _in_range(batch.label, outputs.logits) if batch.targets is None else batch.targets
        return stage.loss_fn(outputs, labels, mask)

    def loss_sum_fn(trained: PyTree, state: TrainState, batch: Batch, key: Array) -> tuple[Array, Any]:
        outputs, batch_stats = apply_fn(
            merge_params(trained, state.frozen),
            state.batch_stats,
            batch.image,
            cached=batch.cached,
            dropout_key=key,
            dropout_in=stage.dropout_in,
            batch_norm_in=stage.batch_norm_in,
            with_confidence=stage.with_confidence,
        )
        mask = unit_mask(batch.mask, batch.label, ignore_label)
        loss = compose_loss(recipes, state.recipe_states, stage_loss)(outputs, batch, mask)
        if batch.weights is not None:
            loss = loss * _over_units(batch.weights, loss)
        loss_sum = jnp.sum(jnp.where(mask, loss, 0.0))
        recipe_states = {
            name: recipes[name].observe(own, outputs, batch, mask) for name, own in state.recipe_states.items()
        }
        counted = mask & _over_units(given(batch.index, 'an index') >= 0, mask) if recipes else mask
        correct = counted & (is_correct(outputs.logits, batch.label))
        sums = jnp.sum(correct, dtype=jnp.int32), jnp.sum(counted, dtype=jnp.int32)
        return loss_sum, (batch_stats, recipe_states, *sums)

    def gradient(trained: PyTree, state: TrainState, batch: Batch, key: Array) -> tuple[PyTree, tuple]:
        (loss_sum, aux), grads = jax.value_and_grad(loss_sum_fn, has_aux=True)(trained, state, batch, key)
        total = jnp.maximum(devices.psum_all(aux[-1]), 1).astype(jnp.float32)
        return jax.tree.map(lambda g: g / total, devices.psum_all(grads)), (loss_sum, *aux)

    return gradient


def make_train_step(
    stage: Stage, apply_fn: ApplyFn, ignore_label: int | None
) -> Callable[[TrainState, Batch], tuple[TrainState, Sums]]:
    """Return `step(state, batch) -> (state, sums)` for one device.

    The gradient is that of the mean over the units of the whole batch, over all devices. Each device draws its own
    dropout. BatchNorm normalizes by the statistics of its device's examples, and the running statistics are
    averaged over devices; so with dropout or BatchNorm the result depends on the number of devices.

    The stage's recipes are called where recipe.py says; without any, the program has no trace of them.
    """
    recipes = stage.recipes
    optimizer = optax.with_extra_args_support(stage.optimizer)
    gradient = _make_gradient(stage, apply_fn, ignore_label)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Sums]:
        step_key = jax.random.fold_in(state.key, state.step)
        key = jax.random.fold_in(step_key, devices.device_index())
        batch = _change_batch(stage, apply_fn, state, batch, step_key)
        grads, (loss_sum, batch_stats, recipe_states, correct, count) = gradient(state.trained, state, batch, key)
        if stage.batch_norm_in:
            batch_stats = jax.tree.map(lambda x: x / devices.num_devices(), devices.psum_all(batch_stats))
        else:
            batch_stats = state.batch_stats
        updates, opt_state = optimizer.update(
            grads, state.opt_state, state.trained, grad_fn=lambda trained: gradient(trained, state, batch, key)[0]
        )
        trained = optax.apply_updates(state.trained, updates)
        new_state = state.replace(
            step=state.step + 1,
            trained=trained,
            batch_stats=batch_stats,
            opt_state=opt_state,
            recipe_states={
                name: recipes[name].after_step(own, trained, state.step + 1) for name, own in recipe_states.items()
            },
        )
        loss_is_finite = jnp.isfinite(devices.psum_all(loss_sum))
        bad_step = jnp.where(loss_is_finite, -1, state.step)
        return new_state, Sums(loss_sum, correct, count, bad_step)

    return step


def _change_batch(stage: Stage, apply_fn: ApplyFn, state: TrainState, batch: Batch, step_key: Array) -> Batch:
    """Return the batch as the stage's recipes want it."""
    if not stage.recipes:
        return batch
    outputs, _ = jax.eval_shape(
        lambda params: apply_fn(params, state.batch_stats, batch.image, cached=batch.cached),
        merge_params(state.trained, state.frozen),
    )
    key = jax.random.fold_in(step_key, _RECIPES)
    for name, recipe in stage.recipes.items():
        own_key = jax.random.fold_in(key, zlib.crc32(name.encode()))
        batch = recipe.change_batch(state.recipe_states.get(name, ()), batch, own_key, outputs.logits.shape[-1])
    return batch


def _over_units(of_examples: Array, units: Array) -> Array:
    """Return a value per example for each of its units: [B] -> the shape of `units`."""
    return jnp.broadcast_to(of_examples.reshape(of_examples.shape + (1,) * (units.ndim - 1)), units.shape)


def take_batch(examples: Examples, rows: Array, key: Array, prepare_fn: PrepareFn) -> Batch:
    """Return a device's part of a training batch: its rows [b] of the examples, prepared.

    Each example's place in the global batch gives it a key, so that augmentation does not depend on the devices.
    """
    count = rows.shape[0]
    places = devices.device_index() * count + jnp.arange(count)
    keys = jax.vmap(lambda place: jax.random.fold_in(key, place))(places)
    image, label, cached, index = jax.tree.map(lambda x: x[rows], examples)
    if image is not None:
        image, label = prepare_fn(keys, image, label)
    return Batch(image, label, jnp.ones(count, bool), cached, rows if index is None else index)


def make_chunk(
    stage: Stage, apply_fn: ApplyFn, prepare_fn: PrepareFn, ignore_label: int | None
) -> Callable[..., tuple[TrainState, Sums]]:
    """Return `chunk(state, examples, order, num_steps) -> (state, sums)` for one device.

    Its arguments: examples, on the device; order [L, b] int32, the rows of each step's part of the batch; num_steps,
    at most L, how many steps to take. The sums are over all devices.
    """
    train_step = make_train_step(stage, apply_fn, ignore_label)

    def chunk(state: TrainState, examples: Examples, order: Array, num_steps: Array) -> tuple[TrainState, Sums]:

        def body(carry: tuple[Array, TrainState, Sums]) -> tuple[Array, TrainState, Sums]:
            i, state, sums = carry
            rows = order[i]
            key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), _AUGMENTATION)
            batch = take_batch(examples, rows, key, prepare_fn)
            state, new = train_step(state, batch)
            return (
                i + 1,
                state,
                Sums(
                    sums.loss_sum + new.loss_sum,
                    sums.correct_count + new.correct_count,
                    sums.num_units + new.num_units,
                    new.bad_step,
                ),
            )

        def goes_on(carry: tuple[Array, TrainState, Sums]) -> Array:
            i, _, sums = carry
            return (i < num_steps) & (sums.bad_step < 0)

        start = Sums(jnp.float32(0), jnp.int32(0), jnp.int32(0), jnp.int32(-1))
        _, state, sums = jax.lax.while_loop(goes_on, body, (jnp.int32(0), state, start))
        loss_sum, correct, count = devices.psum_all((sums.loss_sum, sums.correct_count, sums.num_units))
        return state, Sums(loss_sum, correct, count, sums.bad_step)

    return chunk


def make_outcome_step(
    apply_fn: ApplyFn, prepare_fn: PrepareFn, ignore_label: int | None
) -> Callable[[PyTree, PyTree, Batch], Outcomes]:
    """Return `outcomes(params, batch_stats, batch) -> Outcomes` of the classifier alone, in evaluation mode.

    It needs neither a stage nor a loss, and runs no confidence head.
    """

    def outcomes(params: PyTree, batch_stats: PyTree, batch: Batch) -> Outcomes:
        outputs, label = _evaluate(apply_fn, prepare_fn, params, batch_stats, batch, with_confidence=False)
        return _outcomes(outputs, label, unit_mask(batch.mask, label, ignore_label))

    return outcomes


def make_validation_step(
    stage: Stage, apply_fn: ApplyFn, prepare_fn: PrepareFn, ignore_label: int | None
) -> Callable[[PyTree, PyTree, Batch], Units]:
    """Return `validate(params, batch_stats, batch) -> Units` for one device, in evaluation mode."""

    def validate(params: PyTree, batch_stats: PyTree, batch: Batch) -> Units:
        outputs, label = _evaluate(apply_fn, prepare_fn, params, batch_stats, batch, stage.with_confidence)
        mask = unit_mask(batch.mask, label, ignore_label)
        loss = stage.loss_fn(outputs, _in_range(label, outputs.logits), mask)
        found = _outcomes(outputs, label, mask)
        confidence = found.confidence
        if stage.with_confidence:
            confidence = jax.nn.sigmoid(given(outputs.confidence_logit, 'a confidence'))
        return Units(loss, found.correct, confidence, found.tcp, mask)

    return validate


def _evaluate(
    apply_fn: ApplyFn, prepare_fn: PrepareFn, params: PyTree, batch_stats: PyTree, batch: Batch, with_confidence: bool
) -> tuple[Outputs, Array]:
    """Return the outputs in evaluation mode, and the labels as they were prepared."""
    image, label = batch.image, batch.label
    if image is not None:
        image, label = prepare_fn(None, image, label)
    with compiler.full_precision():
        outputs, _ = apply_fn(params, batch_stats, image, cached=batch.cached, with_confidence=with_confidence)
    return outputs, label


def _outcomes(outputs: Outputs, label: Array, mask: Array) -> Outcomes:
    log_probs = jax.nn.log_softmax(outputs.logits)
    in_range = _in_range(label, outputs.logits)
    tcp = jnp.exp(jnp.take_along_axis(log_probs, in_range[..., None], axis=-1)[..., 0])
    return Outcomes(is_correct(outputs.logits, label), jnp.exp(jnp.max(log_probs, axis=-1)), tcp, mask)
