"""Mahalanobis distances to the classes' Gaussians, plain and relative to one Gaussian of everything."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from failpred_jax.blocks import in_blocks
from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.scores.score import FitInputs, ScoreInputs, score
from failpred_jax.types import Array


class Gaussians(NamedTuple):
    """One covariance and several means, in coordinates in which the covariance is the identity.

    Attributes:
      origin: [D] float32, subtracted first.
      whitening: [D, R] float32; R is the rank of the covariance.
      means: [C, R] float32, whitened.
    """

    origin: jax.Array
    whitening: jax.Array
    means: jax.Array


class Moments(NamedTuple):
    """Sums over the training units, in float64.

    Attributes:
      counts: [C] units of each class that has some.
      means: [C, D] their means.
      scatter: [D, D] sum of the outer products of the units less the means of their classes.
    """

    counts: np.ndarray
    means: np.ndarray
    scatter: np.ndarray

    def of_everything(self) -> 'Moments':
        """Return the moments of all units as one class: what varies within the classes, and between their means."""
        mean = self.counts @ self.means / self.counts.sum()
        between = self.means - mean
        scatter = self.scatter + (between * self.counts[:, None]).T @ between
        return Moments(self.counts.sum(keepdims=True), mean[None], scatter)


def class_moments(features: Array, labels: Array, num_classes: int) -> Moments:
    """Return the moments of features [N, D] float32 by class; classes without units are left out.

    Args:
      features: [N, D] float32.
      labels: [N] int32.
      num_classes: C.
    """
    features, labels = np.asarray(features, np.float32), np.asarray(labels)
    num_features = features.shape[1]
    # Sorted once: looking through all labels for each class would grow with the product of both.
    order = np.argsort(labels, kind='stable')
    bounds = np.searchsorted(labels[order], np.arange(num_classes + 1))
    present = np.flatnonzero(np.diff(bounds))
    means = np.stack([features[order[bounds[c] : bounds[c + 1]]].mean(axis=0, dtype=np.float64) for c in present])
    row = np.zeros(num_classes, int)
    row[present] = np.arange(len(present))
    scatter = np.zeros((num_features, num_features))
    # In float64 and in blocks: the covariance of a large set is a sum of many small terms.
    for start in range(0, len(features), 8192):
        block = features[start : start + 8192] - means[row[labels[start : start + 8192]]]
        scatter += block.T @ block
    return Moments(np.bincount(row[labels]), means, scatter)


def fit_gaussians(moments: Moments, directions: Array | None = None) -> Gaussians:
    """Return class means and their shared (tied) covariance, by maximum likelihood.

    Features after a ReLU often have units that never fire, and a covariance that cannot be inverted: directions whose
    variance is no more than float32 rounding of the largest are left out (a pseudo-inverse).

    Args:
      moments: of the classes, or of everything as a single Gaussian.
      directions: [D, R], orthonormal columns: what lies outside them is left out first. None leaves all directions in.

    Raises:
      ScoreUnavailableError: where the features do not vary.

    Reference: Lee et al., "A simple unified framework for detecting out-of-distribution samples and adversarial
      attacks", NeurIPS 2018, equation 1.
    """
    num_features = len(moments.scatter)
    covariance = moments.scatter / moments.counts.sum()
    basis = np.eye(num_features) if directions is None else np.asarray(directions, np.float64)
    values, vectors = np.linalg.eigh(covariance if directions is None else basis.T @ covariance @ basis)
    is_kept = values > num_features * np.finfo(np.float32).eps * max(values[-1], 0.0)
    if not is_kept.any():
        raise ScoreUnavailableError('the features do not vary within the classes: there is no covariance to invert')
    whitening = basis @ vectors[:, is_kept] / np.sqrt(values[is_kept])
    origin = moments.means.mean(axis=0)
    as_float32 = (jnp.asarray(x, jnp.float32) for x in (origin, whitening, (moments.means - origin) @ whitening))
    return Gaussians(*as_float32)


def squared_distances(features: Array, gaussians: Gaussians) -> jax.Array:
    """Return the squared Mahalanobis distance of features [N, D] to each mean: [N, C] float32, 0 or greater."""
    shifted = jnp.asarray(features, jnp.float32) - gaussians.origin[None]
    whitened = jnp.dot(shifted, gaussians.whitening, precision=lax.Precision.HIGHEST)
    return _to_means(whitened, gaussians.means).T


@jax.jit
def _to_means(points: jax.Array, means: jax.Array) -> jax.Array:
    # Differences, not the expanded square, which would cancel; one class at a time, to keep [N, C, R] out of memory.
    return lax.map(lambda mean: jnp.sum((points - mean[None]) ** 2, axis=-1), means)


def _moments(given: FitInputs) -> Moments:
    features, labels = given.training('a Mahalanobis score')
    return class_moments(features, labels, int(np.max(labels)) + 1)


def _class_gaussians(given: FitInputs) -> Gaussians:
    return fit_gaussians(given.once(_moments))


def _distances(inputs: ScoreInputs, gaussians: Gaussians) -> Array:
    features = inputs.get('features')
    if isinstance(features, Tracer):
        return squared_distances(features, gaussians)
    return in_blocks(lambda some: squared_distances(some, gaussians), features)


def _fit_classes(given: FitInputs) -> tuple[Gaussians, tuple[str, ...]]:
    gaussians = given.once(_class_gaussians)
    num_features, rank = gaussians.whitening.shape
    note = f'{num_features - rank} of {num_features} directions of the features do not vary and are left out'
    return gaussians, (note,) if rank < num_features else ()


def _fit_relative(given: FitInputs) -> tuple[tuple[Gaussians, Gaussians], tuple[str, ...]]:
    classes, notes = _fit_classes(given)
    # Both distances live in the same directions, those in which classes vary. (Where they vary, everything does.) With
    # one pseudo-inverse each, a direction that only tells classes apart would count in one distance and not the other.
    whitening = np.asarray(classes.whitening, np.float64)
    directions = whitening / np.linalg.norm(whitening, axis=0)
    everything = fit_gaussians(given.once(_moments).of_everything(), directions)
    return (classes, everything), notes


@score(
    'mahalanobis',
    needs=['features'],
    description='minus the squared Mahalanobis distance to the nearest class mean, one covariance for all classes',
    reference='Lee et al., NeurIPS 2018, equation 2',
    fit=_fit_classes,
    fits_on_train=True,
    reads_val_labels=False,
    shares=True,
)
def mahalanobis(inputs: ScoreInputs, fitted: Gaussians) -> jax.Array:
    """Return -min_c (f - mu_c)' S^-1 (f - mu_c).

    Args:
      inputs: reads `features` [N, D].
      fitted: the training set's class means and covariance.

    Returns:
      [N] float32, 0 or less.

    Reference: Lee et al., "A simple unified framework for detecting out-of-distribution samples and adversarial
      attacks", NeurIPS 2018, equation 2 (one layer, no input perturbation).
    """
    return -jnp.min(jnp.asarray(inputs.once(_distances, fitted)), axis=-1)


@score(
    'relative_mahalanobis',
    needs=['features'],
    description='the same less the distance to one Gaussian of all classes together',
    reference='Ren et al., 2021, equation 3',
    fit=_fit_relative,
    fits_on_train=True,
    reads_val_labels=False,
    shares=True,
)
def relative_mahalanobis(inputs: ScoreInputs, fitted: tuple[Gaussians, Gaussians]) -> jax.Array:
    """Return -min_c (MD_c - MD_0), with MD_0 the squared distance under one Gaussian fitted to all training features.

    Args:
      inputs: reads `features` [N, D].
      fitted: the classes' Gaussians, and the one of everything.

    Returns:
      [N] float32, of either sign.

    Both distances leave out the directions in which the features do not vary within the classes.

    Reference: Ren et al., "A simple fix to Mahalanobis distance for improving near-OOD detection", 2021
      (arXiv:2106.09022), equations 2 and 3.
    """
    classes, everything = fitted
    background, nearest = (jnp.asarray(inputs.once(_distances, of)) for of in (everything, classes))
    return background[:, 0] - jnp.min(nearest, axis=-1)
