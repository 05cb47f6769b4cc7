"""Temperature scaling: one number that divides the logits."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from failpred_jax.calibrate.checks import class_labels, real_array
from failpred_jax.errors import UserError
from failpred_jax.metrics.checking import checked
from failpred_jax.types import Array

# Temperatures looked at: far beyond any that a trained network needs.
LARGEST = 1e6
NUM_HALVINGS = 60
# By so much float32 may raise a cross-entropy that did not change.
ROUNDING = 1e-5
# With fewer errors the temperature is what these need, whatever others would.
FEW_ERRORS = 10


@checked
def fit_temperature(logits: Array, labels: Array) -> tuple[jax.Array, tuple[str, ...]]:
    """Return the temperature of least cross-entropy, and a sentence on how it was found.

    The cross-entropy is convex in 1/T, so its slope changes sign at most once, and bisection finds where: there is no
    step size to tune and no way to stop early at the start. Where the slope never changes sign there is no minimum;
    then the temperature stays 1, and the sentence says so. So it does where no temperature gives a lower cross-entropy
    than 1 does.

    Args:
      logits: [N, C] float of held-out units; -inf masks a class, whose probability is then 0 at every temperature.
      labels: [N] int in [0, C).

    Returns:
      T, scalar float32 over 0, and notes.

    Raises:
      UserError: there are no units, shapes do not fit, a label is no class, or logits are NaN or +inf.

    Reference: Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2.
    """
    differences, labels = _checked(logits, labels)
    num_masked = int(np.isneginf(differences[np.arange(len(labels)), labels]).sum())
    if num_masked:
        return _unfitted(
            f'{num_masked} of {len(labels)} held-out labels have the logit -inf, which no temperature changes'
        )
    log_inverse, slope_at_low, slope_at_high = _bisect(differences, labels)
    if float(slope_at_high) <= 0:
        return _unfitted('the cross-entropy of the held-out units falls without end as T falls to 0: all are right')
    if float(slope_at_low) >= 0:
        return _unfitted('the cross-entropy of the held-out units is least for a uniform prediction')
    temperature = jnp.exp(-log_inverse)
    before, after = (float(cross_entropy(differences, labels, t)) for t in (1.0, temperature))
    if not after <= before * (1 + ROUNDING):
        return _unfitted(
            f'T = {float(temperature):.4g} would raise the held-out cross-entropy from {before:.4f} to {after:.4f}'
        )
    note = f'T = {float(temperature):.4g}; held-out cross-entropy {before:.4f} before, {after:.4f} after'
    if abs(float(temperature) - 1) < 1e-3:
        note += ' (the logits needed no scaling)'
    num_wrong = int((differences.argmax(axis=1) != labels).sum())
    if num_wrong < FEW_ERRORS:
        note += f'; {num_wrong} of {len(labels):,} held-out units are wrong, and T follows these few'
    return temperature, (note,)


def _checked(logits: Array, labels: Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits less their largest [N, C] float32, 0 or less, and labels [N] int32."""
    logits = real_array(logits, 'logits')
    logits = logits if logits.dtype.kind == 'f' else logits.astype(np.float64)
    labels = class_labels(labels, logits, 'logits')
    bad = np.isnan(logits) | np.isposinf(logits)
    if bad.any():
        raise UserError(
            f'logits holds {int(bad.sum())} values that are NaN or +inf; only -inf (a masked class) is allowed'
        )
    largest = logits.max(axis=1, keepdims=True)
    if np.isneginf(largest).any():
        raise UserError(f'{int(np.isneginf(largest).sum())} units have no class left: all their logits are -inf')
    # Only differences of logits matter; small numbers keep their digits.
    with np.errstate(over='ignore'):
        return (logits - largest).astype(np.float32, copy=False), labels.astype(np.int32)


@jax.jit
def cross_entropy(logits: Array, labels: Array, temperature: Array) -> jax.Array:
    """Return the mean cross-entropy of logits [N, C] / temperature with labels [N]: scalar float32 in nats."""
    log_probs = jax.nn.log_softmax(jnp.asarray(logits, jnp.float32) / temperature, axis=-1)
    return -jnp.mean(jnp.take_along_axis(log_probs, jnp.asarray(labels)[:, None], axis=-1))


def _unfitted(reason: str) -> tuple[jax.Array, tuple[str, ...]]:
    return jnp.ones((), jnp.float32), (f'T stays 1, unfitted: {reason}',)


@jax.jit
def _bisect(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return log(1/T) where the slope of the cross-entropy in 1/T crosses 0, and the slopes at both ends."""
    of_label = jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]

    def slope(log_inverse: jax.Array) -> jax.Array:
        probs = jax.nn.softmax(logits * jnp.exp(log_inverse), axis=-1)
        # A masked class has probability 0, and 0 times -inf would be NaN.
        return jnp.mean(jnp.sum(probs * jnp.where(jnp.isneginf(logits), 0.0, logits), axis=-1) - of_label)

    def is_moving(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        # Where float32 has nothing between the ends, no halving changes their middle: after some 30 of 60.
        low, high, count = state
        middle = (low + high) / 2
        return (count < NUM_HALVINGS) & (middle != low) & (middle != high)

    def halve(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        low, high, count = state
        middle = (low + high) / 2
        is_rising = slope(middle) > 0
        return jnp.where(is_rising, low, middle), jnp.where(is_rising, middle, high), count + 1

    ends = -jnp.log(LARGEST), jnp.log(LARGEST)
    low, high, _ = lax.while_loop(is_moving, halve, (*ends, jnp.int32(0)))
    return (low + high) / 2, slope(ends[0]), slope(ends[1])
