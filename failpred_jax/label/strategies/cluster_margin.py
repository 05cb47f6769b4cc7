"""Small margins, from many clusters: what is uncertain, and not all of one kind."""

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from failpred_jax.console import phase
from failpred_jax.errors import UserError
from failpred_jax.label.pool import Pool
from failpred_jax.label.strategy import Ask, Picked, strategy

# Candidates for each unit of the budget, as in the paper's experiments.
CANDIDATES = 10
# Their distances are held all at once.
MOST_CANDIDATES = 6_000


@strategy(
    'cluster_margin',
    description='small margins, taken in turn from clusters of the features, small clusters first',
    reference='Citovsky et al., "Batch active learning at scale", NeurIPS 2021',
    needs=('probs', 'features'),
    favors='what is hard, from all clusters',
)
def cluster_margin(pool: Pool, ask: Ask) -> Picked:
    """Return units by cluster-margin: the smallest margins, clustered (average linkage), one of each cluster in turn.

    The paper clusters the whole pool once; here the candidates alone are clustered, into as many clusters as there are
    units to choose.

    Raises:
      UserError: the budget is over 6,000.
    """
    if ask.budget > MOST_CANDIDATES:
        raise UserError(
            f"the budget is {ask.budget:,}, and the strategy 'cluster_margin' takes up to {MOST_CANDIDATES:,}; margin, "
            'entropy, confidence, badge and coreset take more'
        )
    probs = pool.need_probs("the strategy 'cluster_margin'")
    features = pool.need_features("the strategy 'cluster_margin'")
    two = np.partition(probs, -2, axis=1)[:, -2:]
    leads = two[:, 1] - two[:, 0]
    count = min(len(pool), max(min(CANDIDATES * ask.budget, MOST_CANDIDATES), ask.budget))
    tie = np.random.default_rng([ask.seed, 0x6373]).permutation(len(pool))
    candidates = np.argpartition(leads, count - 1)[:count]
    candidates = candidates[np.lexsort((tie[candidates], leads[candidates]))]
    with phase('clustering the candidates'):
        cluster = (
            fcluster(linkage(features[candidates].astype(np.float64), 'average'), ask.budget, 'maxclust')
            if count > 1
            else np.ones(1, int)
        )
    places = _in_turn(cluster, ask.budget)
    sizes = np.bincount(cluster)
    reasons = [
        f'margin {leads[candidates[i]]:.3g}, in cluster {cluster[i]} of {sizes[cluster[i]]} candidates' for i in places
    ]
    _, score = pool.confidence(ask.score)
    return Picked(candidates[places], np.array(reasons), score, np.full(len(places), np.nan))


def _in_turn(cluster: np.ndarray, budget: int) -> np.ndarray:
    """Return places of candidates [M], best first, taken from the clusters in turn, the smallest cluster first."""
    numbers, size = np.unique(cluster, return_counts=True)
    turn = np.empty(cluster.max() + 1, int)
    turn[numbers[np.argsort(size, kind='stable')]] = np.arange(len(numbers))
    # The round in which a candidate's turn comes is its place within its cluster.
    by_cluster = np.argsort(cluster, kind='stable')
    starts = np.searchsorted(cluster[by_cluster], cluster[by_cluster], side='left')
    round_of = np.empty(len(cluster), int)
    round_of[by_cluster] = np.arange(len(cluster)) - starts
    return np.lexsort((turn[cluster], round_of))[:budget]
