"""Units that cover the pool: each next one is the farthest from all that are there."""

import numpy as np

from failpred_jax.console import phase
from failpred_jax.label.pool import Pool
from failpred_jax.label.strategy import Ask, Picked, strategy
from failpred_jax.label.subsample import looked_at

# Labeled units beyond this are thinned out at random: they only say where the pool is covered already.
MOST_LABELED = 2_000
_ROWS = 65_536


@strategy(
    'coreset',
    description='units that cover the pool, far from one another in features, and from labeled ones (train_features)',
    reference='Sener & Savarese, "Active learning for convolutional neural networks: a core-set approach", ICLR 2018',
    needs=('features',),
    favors='what is far from everything else',
)
def coreset(pool: Pool, ask: Ask) -> Picked:
    """Return the units of greedy k-center: at most twice the least possible covering distance (Gonzalez 1985).

    It starts from the labeled units, or else from the unit nearest to the mean, which is then one of the budget.
    """
    features = pool.need_features("the strategy 'coreset'")
    places, note = looked_at(len(pool), ask.budget, features.shape[1], ask.seed)
    rows = features[places]
    norms = np.einsum('ij,ij->i', rows, rows)
    notes = [note] if note else []
    chosen, distances = [], []
    labeled = pool.labeled_features
    if labeled is not None:
        if len(labeled) > MOST_LABELED:
            notes.append(
                f'{MOST_LABELED:,} of the {len(labeled):,} labeled units, drawn at random, say what is covered'
            )
            labeled = labeled[np.random.default_rng([ask.seed, 1]).choice(len(labeled), MOST_LABELED, replace=False)]
        nearest = _nearest(rows, norms, labeled)
    else:
        nearest = np.full(len(rows), np.inf, np.float32)
    with phase('covering the pool', ask.budget, 'units') as done:
        for number in range(ask.budget):
            if number == 0 and labeled is None:
                mean = rows.mean(axis=0)
                place = int(np.argmin(norms - 2 * (rows @ mean)))
                distances.append(np.nan)
            else:
                place = int(np.argmax(nearest))
                distances.append(float(np.sqrt(max(nearest[place], 0))))
            chosen.append(place)
            np.minimum(nearest, norms + norms[place] - 2 * (rows @ rows[place]), out=nearest)
            # Rounding must not bring a unit back.
            nearest[chosen] = -np.inf
            done.add()
    reasons = [
        'nearest to the mean of the pool' if np.isnan(d) else f'{d:.3g} away from all that were chosen before'
        for d in distances
    ]
    _, score = pool.confidence(ask.score) if pool.confidences or pool.probs is not None else (None, '')
    return Picked(places[chosen], np.array(reasons), score, np.full(len(chosen), np.nan), notes=tuple(notes))


def _nearest(rows: np.ndarray, norms: np.ndarray, labeled: np.ndarray) -> np.ndarray:
    """Return the squared distance of each row to the nearest labeled unit: [N] float32."""
    labeled = labeled.astype(np.float32)
    own = np.einsum('ij,ij->i', labeled, labeled)
    found = np.empty(len(rows), np.float32)
    with phase('distances to the labeled units', len(rows), 'units') as done:
        for start in range(0, len(rows), _ROWS):
            block = slice(start, start + _ROWS)
            found[block] = (norms[block, None] + own[None] - 2 * (rows[block] @ labeled.T)).min(axis=1)
            done.add(len(found[block]))
    return found
