"""Units that would change the model much, and each in another way."""

import numpy as np

from failpred_jax.console import phase
from failpred_jax.label.pool import Pool
from failpred_jax.label.strategy import Ask, Picked, strategy
from failpred_jax.label.subsample import looked_at


@strategy(
    'badge',
    description='large and different gradients of the last layer, by the seeding of k-means++; at random',
    reference='Ash et al., "Deep batch active learning by diverse, uncertain gradient lower bounds", ICLR 2020',
    needs=('probs', 'features'),
    favors='what is hard, and unlike the rest',
)
def badge(pool: Pool, ask: Ask) -> Picked:
    """Return the units that k-means++ draws by the gradient embeddings (p - onehot) x features, [C D] each.

    The embeddings are never formed: their inner products are the products of those of their two factors.
    """
    probs = pool.need_probs("the strategy 'badge'")
    features = pool.need_features("the strategy 'badge'")
    width = features.shape[1] + probs.shape[1]
    places, note = looked_at(len(pool), ask.budget, width, ask.seed)
    hidden, residual = features[places], probs[places].copy()
    residual[np.arange(len(places)), residual.argmax(axis=1)] -= 1
    norms = np.einsum('ij,ij->i', hidden, hidden) * np.einsum('ij,ij->i', residual, residual)
    rng = np.random.default_rng([ask.seed, 0x62616467])
    # As the paper's code: the first is the one with the largest gradient.
    chosen, nearest = [int(np.argmax(norms))], np.full(len(places), np.inf, np.float32)
    with phase('drawing by k-means++', ask.budget, 'units') as done:
        while True:
            last = chosen[-1]
            product = (hidden @ hidden[last]) * (residual @ residual[last])
            np.minimum(nearest, np.maximum(norms + norms[last] - 2 * product, 0), out=nearest)
            nearest[chosen] = 0
            done.add()
            if len(chosen) == ask.budget:
                break
            chosen.append(_drawn(nearest, chosen, rng))
    size = np.sqrt(norms[chosen])
    reasons = np.array([f'the gradient of its last layer has length {x:.3g}, unlike those before' for x in size])
    _, score = pool.confidence(ask.score)
    notes = (note,) if note else ()
    return Picked(places[chosen], reasons, score, np.full(len(chosen), np.nan), notes=notes)


def _drawn(nearest: np.ndarray, chosen: list[int], rng: np.random.Generator) -> int:
    """Return a place drawn with probability proportional to its squared distance; where all are 0, any other."""
    ends = np.cumsum(nearest, dtype=np.float64)
    if ends[-1] > 0:
        return min(int(np.searchsorted(ends, rng.random() * ends[-1], side='right')), len(nearest) - 1)
    return int(rng.choice(np.setdiff1d(np.arange(len(nearest)), chosen)))
