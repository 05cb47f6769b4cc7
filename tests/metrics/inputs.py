"""Inputs of every kind of metric, with many ties, and all metrics of a kind in one compiled function."""

import functools

import jax
import numpy as np

from failpred_jax.registry import METRICS

N, C = 40, 7
KINDS = ('ranking', 'probability', 'classes', 'labels')


def names_of(kind: str) -> list[str]:
    return [name for name in METRICS if METRICS[name].inputs == kind]


@functools.cache
def all_of(kind: str):
    """Return one compiled function for all metrics of a kind: (a, b, mask) -> {name: value}."""
    options = {'num_classes': C} if kind == 'labels' else {}
    return jax.jit(lambda a, b, mask: {name: METRICS[name].fn(a, b, mask, **options) for name in names_of(kind)})


def evaluate(kind: str, a, b, mask=None) -> dict[str, np.ndarray]:
    """Pad to N units, so that a kind compiles once, and evaluate."""
    size = len(b)
    mask = np.ones(size, bool) if mask is None else mask
    a, b, mask = (np.concatenate([x, np.zeros((N - size, *x.shape[1:]), x.dtype)]) for x in (a, b, mask))
    return {name: np.asarray(value, np.float64) for name, value in jax.device_get(all_of(kind)(a, b, mask)).items()}


def draw(kind: str, rng: np.random.Generator, size: int = N, right: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Draw inputs with many ties."""
    if kind == 'classes':
        logits = rng.integers(0, 4, (size, C)).astype(np.float64)
        probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        return probs.astype(np.float32), rng.integers(0, C - 1, size).astype(np.int32)
    if kind == 'labels':
        labels = rng.integers(0, C - 1, size)
        other = rng.integers(0, C, size)
        return np.where(rng.random(size) < right, labels, other).astype(np.int32), labels.astype(np.int32)
    low = 0.0 if kind == 'probability' else -4.0
    confidence = low + rng.integers(1, 16, size) / 16 * (1 if kind == 'probability' else 7)
    return confidence.astype(np.float32), rng.random(size) < right


def assert_same(found: dict, expected: dict, tolerance: float = 1e-6) -> None:
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=tolerance, atol=tolerance, err_msg=name)


def assert_like(some: dict, found: dict) -> None:
    assert_same(some, {name: found[name] for name in some})
