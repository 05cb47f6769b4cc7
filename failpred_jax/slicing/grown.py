"""Without labels: clusters of low confidence that are more frequent among new units than in a reference.

A kind of input on which the model is unsure and that comes more often is where errors will grow. Clusters are fitted
on one half of the reference and counted on the other, so that they fit both alike.
"""

from collections.abc import Sequence

import numpy as np

from failpred_jax.decide.binomial import share_interval
from failpred_jax.errors import UserError
from failpred_jax.results.failing import FoundSlice
from failpred_jax.results.measures import Interval
from failpred_jax.slicing.clusters import fit_clusters
from failpred_jax.slicing.conditions import CLUSTER, CONFIDENCE, MOST_VALUES, PREDICTED, Condition, conditions_of
from failpred_jax.slicing.search import Search
from failpred_jax.slicing.testing import holm, more_in_second
from failpred_jax.slicing.units import SliceUnits, halves, one_of_each
from failpred_jax.slicing.values import joined

# The share of the reference that counts as of low confidence.
LOW = 0.2
# Cells with fewer units of low confidence in both files together can show nothing.
FEWEST_UNITS = 10


def find_grown(
    reference: SliceUnits, new: SliceUnits, columns: Sequence[str] | None = None, seed: int = 0, alpha: float = 0.05
) -> Search:
    """Return kinds of units of low confidence whose share is larger among the new units than in the reference.

    Args:
      reference: units of a time when all was well.
      new: units to compare with them, with the same features and columns.
      columns: names of the columns to look at; None for all that both have.
      seed: of the halves and the clusters.
      alpha: with at most this probability, any kind is confirmed whose share has not grown.

    Returns:
      Search, whose masks are over the new units; `errors` of a slice are its units of low confidence.

    Raises:
      UserError: there is no confidence, or the features differ in number.
    """
    if reference.confidence is None or new.confidence is None:
        raise UserError('clusters of low confidence need a confidence in both files')
    joined = _joined(reference, new)
    fitted = halves(joined, seed)
    cluster = distance = None
    if joined.features is not None:
        cluster, distance = fit_clusters(joined.features[fitted], seed).of(joined.features)
    is_new = np.arange(len(joined)) >= len(reference)
    confidence = np.asarray(joined.confidence, np.float64)
    low_below = np.quantile(confidence[~is_new & ~fitted], LOW, method='inverted_cdf')
    low, members = confidence <= low_below, joined.members
    old, fresh = ~is_new & ~fitted, is_new & ~fitted
    if joined.group is not None:
        old, fresh = one_of_each(members, old, seed), one_of_each(members, fresh, seed)
    conditions = [one for one in conditions_of(joined, cluster, columns) if one.column != CONFIDENCE]
    cells = [*((one,) for one in conditions), *_pairs(conditions)]
    slices, tried = _tested(cells, low, old, fresh, alpha, len(reference))
    single = joined.group is None or len(np.unique(joined.group)) == len(joined)
    return Search(
        slices,
        fitted[is_new],
        float(low[fresh].mean()),
        tried,
        None if distance is None else distance[is_new],
        tuple(dict.fromkeys(one.column for one in conditions)),
        'units' if single else 'groups',
        (f'low confidence is at most {low_below:.4g}, which {LOW:.0%} of the reference has',),
    )


def _joined(reference: SliceUnits, new: SliceUnits) -> SliceUnits:
    """Return the units of both files, one after the other, with what both have."""
    sizes = [0 if one.features is None else one.features.shape[1] for one in (reference, new)]
    if min(sizes) and sizes[0] != sizes[1]:
        raise UserError(
            f'the reference has {sizes[0]} features, the new units {sizes[1]}; give predictions of the same model'
        )

    def both(name: str) -> np.ndarray | None:
        one, other = getattr(reference, name), getattr(new, name)
        return None if one is None or other is None else np.concatenate([one, other])

    columns = {
        n: joined(reference.columns[n], v, MOST_VALUES) for n, v in new.columns.items() if n in reference.columns
    }
    return SliceUnits(None, both('confidence'), both('predicted'), columns, both('features'), both('group'))


def _pairs(conditions: Sequence[Condition]) -> list[tuple[Condition, ...]]:
    clusters = [one for one in conditions if one.column == CLUSTER]
    return [(one, other) for one in clusters for other in conditions if other.column == PREDICTED]


def _tested(
    cells: Sequence[tuple[Condition, ...]],
    low: np.ndarray,
    old: np.ndarray,
    fresh: np.ndarray,
    alpha: float,
    start: int,
) -> tuple[list[tuple[FoundSlice, np.ndarray]], int]:
    """Return the cells that grew most, with what the test says of each, and how many were tested."""
    of_old, of_new = int(old.sum()), int(fresh.sum())
    rows = []
    for parts in cells:
        mask = np.logical_and.reduce([part.mask for part in parts]) & low
        before, now = int((mask & old).sum()), int((mask & fresh).sum())
        # Which cells are tested depends on both files together alone, of which the test knows.
        if before + now >= FEWEST_UNITS:
            rows.append((parts, mask, before, now, more_in_second(before, of_old, now, of_new)))
    adjusted = holm(np.array([row[-1] for row in rows])) if rows else np.zeros(0)
    found = []
    for (parts, mask, before, now, p_value), p_adjusted in zip(rows, adjusted, strict=True):
        one = FoundSlice(
            name=' and '.join(part.name for part in parts) + ', of low confidence',
            units=of_new,
            errors=now,
            rate=now / of_new,
            interval=Interval(*share_interval(now, of_new)),
            baseline=before / of_old,
            lift=now / of_new / (before / of_old) if before else np.inf,
            p_value=p_value,
            p_adjusted=float(p_adjusted),
            is_confirmed=bool(p_adjusted <= alpha),
            found_units=before,
            found_rate=before / of_old,
        )
        found.append((one, mask[start:]))
    found.sort(key=lambda pair: (not pair[0].is_confirmed, pair[0].p_adjusted, pair[0].p_value))
    return _told_apart(found)[:20], len(rows)


def _told_apart(found: list[tuple[FoundSlice, np.ndarray]]) -> list[tuple[FoundSlice, np.ndarray]]:
    """Return the slices without those of which a better one holds most of the units."""
    kept: list[tuple[FoundSlice, np.ndarray]] = []
    for one, mask in found:
        if not any((mask & other).sum() > 0.8 * max(mask.sum(), 1) for _, other in kept):
            kept.append((one, mask))
    return kept
