"""How an audit draws: with a known probability for each unit, larger where the model is less sure of being right."""

import numpy as np

# Of any model's predictions, so many are taken to be wrong (or labeled otherwise) whatever it says of them. A unit that
# is sure to be right is drawn as if it were an error so often, which bounds how much a single confident error weighs.
STRAY = 0.005
# Keeps the draw apart from every other use of the seed.
_DRAW = 0x61756469


def inclusion_probabilities(
    p_correct: np.ndarray, budget: int, accepted: np.ndarray | None = None, stray: float = STRAY
) -> np.ndarray:
    """Return the probability with which each unit is drawn: [N] float64 in (0, 1], which sum to the budget.

    They are proportional to sqrt(p (1 - p) + stray); what would be over 1 is 1, and the rest is shared by the others.
    Errors among accepted units are few and far between, so where a policy accepts some, half of the labels are spent on
    these alone.

    Args:
      p_correct: [N] float64 in [0, 1].
      budget: 1 to N.
      accepted: [N] bool, the units whose error rate is wanted as well; None for none.
      stray: over 0, in proportion to 1: the share of errors of which the confidence knows nothing.

    Reference: Zrnic & Candes, "Active statistical inference", ICML 2024, section 3 and eq. (6): the standard deviation
      of an error whose probability is 1 - p. What is added to its variance, and the half for accepted units, are ours.
    """
    wanted = _scaled(np.sqrt(p_correct * (1 - p_correct) + stray))
    if accepted is not None and accepted.any():
        wanted = (wanted + _scaled(wanted * accepted)) / 2
    found, certain = np.zeros(len(wanted)), np.zeros(len(wanted), bool)
    while True:
        left = budget - certain.sum()
        found[~certain] = wanted[~certain] * (left / wanted[~certain].sum()) if (~certain).any() else 0
        over = ~certain & (found >= 1)
        if not over.any():
            return found
        certain |= over
        found[certain] = 1.0


def _scaled(weight: np.ndarray) -> np.ndarray:
    """Return weights [N] with the mean 1."""
    return weight / weight.mean()


def draw(inclusion: np.ndarray, budget: int, seed: int) -> np.ndarray:
    """Return the places [budget] int64 of the units that are drawn, in random order.

    Randomized systematic sampling: the units in random order stand on a line, each as long as its probability, and
    every whole number after a random start takes the unit it falls on. So exactly `budget` units are drawn, each with
    exactly its probability.

    Reference: Hartley & Rao, "Sampling with unequal probabilities and without replacement", Annals of Mathematical
      Statistics 1962.
    """
    rng = np.random.default_rng([seed, _DRAW])
    order = rng.permutation(len(inclusion))
    ends = np.cumsum(inclusion[order])
    ends *= budget / ends[-1]
    at = rng.random() + np.arange(budget)
    taken = order[np.minimum(np.searchsorted(ends, at, side='right'), len(order) - 1)]
    return taken[rng.permutation(budget)]
