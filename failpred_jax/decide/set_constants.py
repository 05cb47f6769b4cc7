"""The constants of RAPS and SAPS: those of the smallest sets on validation units, never on calibration units."""

import math

import numpy as np

from failpred_jax.decide.set_limits import conformal_limit
from failpred_jax.decide.set_scores import Constants, draw_uniforms, strangeness

PENALTIES = (0.0, 0.001, 0.01, 0.1, 0.2, 0.5)
WEIGHTS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65)
# Units on which constants are compared; more would not change the choice.
MAX_UNITS = 5_000
# Keeps the randomness of the choice apart from that of the sets.
_CHOICE = 3


def choose_constants(method: str, probs: np.ndarray, labels: np.ndarray, alpha: float, seed: int) -> Constants:
    """Return the constants with the smallest mean set, each half of the validation units calibrated on the other.

    Args:
      method: 'raps' or 'saps'; others have no constants.
      probs: [N, C] of validation units.
      labels: [N] int in [0, C).
      alpha: the share of units whose set may miss the true class.
      seed: of the halves and of the randomized sets.

    Reference: Angelopoulos et al., ICLR 2021, algorithms 4 and 5 (RAPS); Huang et al., ICML 2024, section 4 (SAPS).
    """
    if method not in ('raps', 'saps'):
        return Constants()
    order = np.random.default_rng([seed, _CHOICE]).permutation(len(labels))[:MAX_UNITS]
    probs, labels = probs[order], labels[order]
    uniforms = draw_uniforms(len(labels), seed, _CHOICE)
    half = np.arange(len(labels)) < len(labels) // 2
    candidates = [Constants(weight=w) for w in WEIGHTS] if method == 'saps' else _raps_candidates(probs, labels, alpha)

    def mean_size(constants: Constants) -> float:
        strange = strangeness(method, probs, uniforms, constants)
        of_label = strange[np.arange(len(labels)), labels]
        sizes = [(strange[~part] <= conformal_limit(of_label[part], alpha)).sum() for part in (half, ~half)]
        return sum(sizes) / max(1, len(labels))

    # The first of equals: the smallest penalty.
    return min(candidates, key=mean_size)


def _raps_candidates(probs: np.ndarray, labels: np.ndarray, alpha: float) -> list[Constants]:
    """Return penalties with the rank that most labels reach, and no penalty, which is APS."""
    rank = (probs > probs[np.arange(len(labels)), labels][:, None]).sum(axis=1) + 1
    place = max(0, min(len(rank) - 1, math.ceil((1 - alpha) * (len(rank) + 1)) - 1))
    free = sorted({1, int(np.sort(rank)[place])})
    return [Constants(penalty=penalty, free_ranks=k) for penalty in PENALTIES for k in (free if penalty else free[:1])]
