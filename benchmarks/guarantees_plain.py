"""The certified coverages of benchmarks/guarantees.py once more, from the definition: NumPy and nothing of ours.

  python benchmarks/guarantees_plain.py [--draws=20000]

For every row of the table: the mean coverage that fixed-sequence testing certifies, its standard error, how often the
population's error rate over the threshold is above the limit (at most 5 % is promised), and what simulations of 200
draws say, of which nine in ten lie between the two ends.
"""

import argparse
import math

import numpy as np

# n, base error, promised limit, and the power of the coverage that the error rate among accepted follows.
ROWS = ((1000, 0.02, 0.01, 3), (5000, 0.02, 0.01, 3), (1000, 0.10, 0.05, 3), (6000, 0.02, 0.005, 20))
DELTA = 0.05


def most_errors(units: int, limit: float, delta: float = DELTA) -> int:
    """Return the most errors among so many units that a binomial test at level delta still rejects `limit` by."""
    # Term by term: P(0), P(1), ... of a binomial.
    term = total = (1 - limit) ** units
    errors = -1
    while total <= delta:
        errors += 1
        term *= (units - errors) / (errors + 1) * limit / (1 - limit)
        total += term
    return errors


def certified_units(wrong: np.ndarray, limit: float, num_ranks: int = 50) -> np.ndarray:
    """Return how many units each draw certifies: wrong [R, N] bool, the most confident first -> [R] int."""
    num_units = wrong.shape[1]
    first = math.ceil(math.log(DELTA) / math.log(1 - limit))
    found = np.zeros(len(wrong), int)
    going = np.ones(len(wrong), bool)
    errors = wrong.cumsum(axis=1)
    for size in np.unique(np.linspace(first, num_units, num_ranks).round().astype(int)):
        going &= errors[:, size - 1] <= most_errors(size, limit)
        found[going] = size
    return found


def simulate(rng: np.random.Generator, row: tuple, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (certified share of the units, whether the promise is broken) of each draw."""
    num_units, base, limit, power = row
    shares, broken = [], []
    for _ in range(0, draws, 500):
        coverage = np.sort(rng.random((500, num_units)), axis=1)
        wrong = rng.random(coverage.shape) < base * (power + 1) * coverage**power
        units = certified_units(wrong, limit)
        # Accepted is all that is more confident than the next unit.
        accepted = np.append(coverage, np.ones((500, 1)), axis=1)[np.arange(500), units] * (units > 0)
        shares.append(units / num_units)
        broken.append(base * accepted**power > limit)
    return np.concatenate(shares), np.concatenate(broken)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--draws', type=int, default=20_000)
    draws = parser.parse_args().draws
    rng = np.random.default_rng(7)
    print('| units, base error, limit | certified | standard error | of 200 draws | broken |\n|---|---|---|---|---|')
    for row in ROWS:
        shares, broken = simulate(rng, row, draws)
        low, high = np.quantile(shares[: len(shares) // 200 * 200].reshape(-1, 200).mean(axis=1), [0.05, 0.95])
        print(
            f'| {row[0]:,}, {row[1]:.0%}, {row[2]:.1%} | {100 * shares.mean():.1f} | '
            f'{100 * shares.std() / math.sqrt(len(shares)):.2f} | {100 * low:.1f} to {100 * high:.1f} | '
            f'{broken.mean():.2%} |'
        )


if __name__ == '__main__':
    main()
