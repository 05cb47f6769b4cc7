"""Conformal prediction sets: sets of classes that hold the true one with a promised probability.

Marginal sets promise it on average over all units; per class, over the units of each class; clustered, over classes
that behave alike; per group, over each group of units that is known when a set is made.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from failpred_jax.calibrate.checks import between_0_and_1, check_values, class_labels, real_array
from failpred_jax.calibrate.conformal import SLACK
from failpred_jax.decide.clusters import cluster_classes
from failpred_jax.decide.set_constants import choose_constants
from failpred_jax.decide.set_limits import conformal_limit, least_units, ties_at_limit
from failpred_jax.decide.set_scores import METHODS, Constants, draw_uniforms, strangeness
from failpred_jax.errors import UserError
from failpred_jax.types import Array

BY = ('marginal', 'class', 'cluster', 'group')
# Streams of randomness: calibration units, units that sets are made of, and validation units.
CALIBRATION, NEW, VALIDATION = range(3)


class Labeled(NamedTuple):
    """Class probabilities [N, C] of units and their labels [N] in [0, C)."""

    probs: Array
    labels: Array


@dataclass(frozen=True)
class SetRule:
    """How sets are made: a class enters where its strangeness is at most a limit.

    Attributes:
      method: 'lac', 'aps', 'raps' or 'saps'.
      by: 'marginal', 'class', 'cluster' or 'group'.
      alpha: the share of units whose set may miss the true class.
      limits: [C] float64, or group -> limit; inf lets the class (or every class of the group) into every set.
      num_units: calibration units behind each limit: [C] int, or group -> units.
      constants: of RAPS and SAPS.
      allow_empty: whether a set may be empty; if not, the most probable class is in every set.
      seed: of the randomized sets.
      notes: sentences for the reader.
      clusters: which classes share a limit, [C] int, -1 for those of the limit of all units; None per group.
      is_tied: whether the strangeness of calibration units ties near a limit of all units.
    """

    method: str
    by: str
    alpha: float
    limits: np.ndarray | Mapping[Hashable, float]
    num_units: np.ndarray | Mapping[Hashable, int]
    constants: Constants = field(default_factory=Constants)
    allow_empty: bool = False
    seed: int = 0
    notes: tuple[str, ...] = ()
    clusters: np.ndarray | None = None
    is_tied: bool = False

    def __call__(self, probs: Array, groups: Array | None = None, uniforms: np.ndarray | None = None) -> np.ndarray:
        """Return which classes are in the set of each unit.

        Args:
          probs: [N, C] float.
          groups: [N], where the limits are per group.
          uniforms: [N] float64 in [0, 1), what randomizes the sets; None draws them by the seed.

        Returns:
          [N, C] bool.
        """
        probs = _checked_probs(probs)
        if uniforms is None:
            uniforms = draw_uniforms(len(probs), self.seed, NEW)
        strange = strangeness(self.method, probs, uniforms, self.constants)
        sets = strange <= self._limit_of(probs, groups)
        if not self.allow_empty:
            # Always, not only where a set is empty: with limits of their own, another class may stay in longer, and
            # sets would not be nested. With one limit the most probable class is the last to leave.
            sets[np.arange(len(sets)), np.argmax(probs, axis=1)] = True
        return sets

    def _limit_of(self, probs: np.ndarray, groups: Array | None) -> np.ndarray:
        """Return the limits, to be compared with [N, C]."""
        if not isinstance(self.limits, Mapping):
            if probs.shape[1] != len(self.limits):
                raise UserError(
                    f'probs has {probs.shape[1]} classes, but the sets were calibrated for {len(self.limits)}'
                )
            return self.limits[None, :]
        if groups is None or len(np.asarray(groups)) != len(probs):
            raise UserError('these sets are made per group; give the group of each unit')
        # A group that was never seen has no promise unless every class enters.
        return np.array([self.limits.get(group, math.inf) for group in np.asarray(groups).tolist()])[:, None]


def fit_sets(
    probs: Array,
    labels: Array,
    alpha: float,
    method: str = 'lac',
    by: str = 'marginal',
    *,
    groups: Array | None = None,
    validation: Labeled | None = None,
    constants: Constants | None = None,
    allow_empty: bool = False,
    seed: int = 0,
) -> SetRule:
    """Return the rule of sets that miss the true class of at most a share alpha of new units.

    Args:
      probs: [N, C] float of the calibration units.
      labels: [N] int in [0, C).
      alpha: in (0, 1).
      method: 'lac' (the smallest sets), 'aps', 'raps' or 'saps' (sets that grow with how hard a unit is).
      by: 'marginal', 'class', 'cluster' or 'group'.
      groups: [N], for 'group'.
      validation: other units, on which the constants of RAPS and SAPS are chosen and classes are clustered.
      constants: of RAPS and SAPS, fixed beforehand; None chooses them on `validation`.
      allow_empty: whether a set may be empty.
      seed: of the randomized sets.

    Raises:
      UserError: what is given is not what it should be, or something is to be chosen and there are no validation units.

    Reference: Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005 (per class and group: Mondrian);
      Ding, Angelopoulos, Bates, Jordan & Tibshirani, NeurIPS 2023 (clustered).
    """
    between_0_and_1(alpha=alpha)
    for name, value, allowed in (('method', method, tuple(METHODS)), ('by', by, BY)):
        if value not in allowed:
            raise UserError(f"{name} is '{value}'; it must be one of: {', '.join(allowed)}")
    probs = _checked_probs(probs)
    labels = class_labels(labels, probs, 'probs')
    held_out = None if validation is None else _checked(validation)
    if constants is None:
        if method in ('raps', 'saps') and held_out is None:
            raise UserError(
                f"the constants of '{method}' are chosen on validation units; give validation, or constants"
            )
        constants = Constants() if held_out is None else choose_constants(method, *held_out, alpha, seed)
    strange = strangeness(method, probs, draw_uniforms(len(probs), seed, CALIBRATION), constants, labels)
    notes: tuple[str, ...] = ()
    clusters = None
    if by == 'group':
        limits, sizes = _per_group(strange, groups, alpha)
    else:
        clusters, notes = _clusters(by, method, held_out, constants, probs.shape[1], alpha, seed)
        limits, sizes = _per_cluster(strange, labels, clusters, alpha)
    notes = (*notes, *_too_few(by, limits, len(strange), alpha))
    is_tied = ties_at_limit(strange, alpha)
    return SetRule(method, by, alpha, limits, sizes, constants, allow_empty, seed, notes, clusters, is_tied)


def _clusters(
    by: str,
    method: str,
    held_out: tuple[np.ndarray, np.ndarray] | None,
    constants: Constants,
    num_classes: int,
    alpha: float,
    seed: int,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the classes that share a limit, [C] int with -1 for those of the limit of all units, and notes."""
    if by == 'class':
        return np.arange(num_classes), ()
    if by == 'marginal':
        return np.full(num_classes, -1), ()
    if held_out is None:
        raise UserError("by is 'cluster', and classes are clustered on validation units; give validation")
    probs, labels = held_out
    strange = strangeness(method, probs, draw_uniforms(len(probs), seed, VALIDATION), constants, labels)
    clusters = cluster_classes(strange, labels, num_classes, alpha, seed)
    left_out = int((clusters < 0).sum())
    if not left_out:
        return clusters, ()
    return clusters, (
        f'{left_out} classes have too few validation units to be clustered: the limit of all units is theirs',
    )


def _per_cluster(
    strange: np.ndarray, labels: np.ndarray, clusters: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return (limit, units behind it) of each class, [C] each; classes in no cluster (-1) have those of all units."""
    limits, sizes = np.empty(len(clusters)), np.empty(len(clusters), np.int64)
    for number in np.unique(clusters):
        inside = np.ones(len(labels), bool) if number < 0 else clusters[labels] == number
        limits[clusters == number], sizes[clusters == number] = conformal_limit(strange[inside], alpha), inside.sum()
    return limits, sizes


def _per_group(
    strange: np.ndarray, groups: Array | None, alpha: float
) -> tuple[dict[Hashable, float], dict[Hashable, int]]:
    if groups is None or np.asarray(groups).shape != strange.shape:
        raise UserError("by is 'group', but there is no group for each calibration unit; give groups")
    groups = np.asarray(groups)
    names = np.unique(groups).tolist()
    inside = {name: strange[groups == name] for name in names}
    return {name: conformal_limit(of, alpha) for name, of in inside.items()}, {n: len(of) for n, of in inside.items()}


def _too_few(by: str, limits: np.ndarray | Mapping[Hashable, float], num_units: int, alpha: float) -> list[str]:
    """Return a sentence where units are too few to leave a class out of any set."""
    of = limits if isinstance(limits, Mapping) else dict(enumerate(limits.tolist()))
    open_ones = [str(name) for name, limit in of.items() if limit == math.inf]
    if not open_ones:
        return []
    needs = f'alpha = {alpha:g} needs {least_units(alpha):,}'
    if by == 'marginal':
        return [f'{num_units:,} calibration units are too few ({needs}): every class is in every set']
    shown = ', '.join(open_ones[:10]) + (', ...' if len(open_ones) > 10 else '')
    if by == 'group':
        return [f'groups with too few calibration units ({needs}), whose sets hold every class: {shown}']
    return [f'classes with too few calibration units ({needs}), which are in every set: {shown}']


def _checked(held_out: Labeled) -> tuple[np.ndarray, np.ndarray]:
    probs = _checked_probs(held_out.probs)
    return probs, class_labels(held_out.labels, probs, 'probs of the validation units')


def _checked_probs(probs: Array) -> np.ndarray:
    """Return probabilities [N, C]; UserError where they are none."""
    probs = real_array(probs, 'probs')
    if probs.ndim != 2:
        raise UserError(f'probs has shape {probs.shape}; it must be (N, C)')
    check_values(probs, 'probs')
    if probs.min() < 0 or probs.max() > 1 + SLACK:
        raise UserError(f'probs holds values from {probs.min():g} to {probs.max():g}; apply softmax to logits first')
    return probs
