"""How much of a pool a strategy looks at where all of it would take too long; what is left out is said."""

import numpy as np

# Multiplications and additions that fit into about half a minute of two cores that stream from memory.
MOST_WORK = 3e10


def looked_at(num_units: int, budget: int, width: int, seed: int) -> tuple[np.ndarray, str]:
    """Return the places of the units to look at, in order, and a sentence if they are not all.

    Args:
      num_units: N of the pool.
      budget: units to choose, each at the cost of one pass.
      width: numbers read of a unit in each pass.
      seed: of the draw.
    """
    most = max(20 * budget, int(MOST_WORK / (budget * width)))
    if num_units <= most:
        return np.arange(num_units), ''
    rows = np.sort(np.random.default_rng([seed, 0x73756273]).choice(num_units, most, replace=False))
    return rows, (
        f'chosen among {most:,} of the {num_units:,} units, drawn at random: with a budget of {budget:,}, all of them '
        'would take too long'
    )
