"""Whether every promise is kept: thousands of draws from populations in which the truth is known.

  python benchmarks/guarantees.py [--draws=2000]

Each promise may fail in a share delta of the draws and no more. The populations are chosen to be hard: errors just over
the limit wherever one could be claimed, ties, few units, rare classes, a score whose most confident units are wrong.
tests/decide/test_guarantees.py runs the same with fewer draws.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, kstest

from failpred_jax.decide.binomial import most_errors, units_needed
from failpred_jax.decide.costs import Costs, certify_cost
from failpred_jax.decide.floors import accepted_share, threshold_for_coverage
from failpred_jax.decide.risks import certify_expected, certify_selective, selective_choice
from failpred_jax.decide.sequence import fixed_ranks, tried_at_ranks
from failpred_jax.decide.set_limits import conformal_limit, conformal_rank
from failpred_jax.decide.set_scores import Constants, strangeness

# n, base error, promised limit, steepness of the risk-coverage curve, percent certified with one start and with five,
# and by an oracle (an independent simulation; delta = 0.05). The risk at coverage c is base * c ** steepness.
TABLE = (
    (1000, 0.02, 0.01, 3, 38.9, 21.2, 79.4),
    (5000, 0.02, 0.01, 3, 69.2, 65.7, 79.4),
    (1000, 0.10, 0.05, 3, 69.8, 66.1, 79.4),
    (6000, 0.02, 0.005, 20, 90.5, 89.7, 93.3),
)
DELTA = 0.05


@dataclass(frozen=True)
class Kept:
    """What came of the draws: how often a promise failed, how often it may, and the mean coverage that it gave."""

    failed: int
    draws: int
    allowed: float
    coverage: float

    @property
    def is_kept(self) -> bool:
        """Whether failures are no more frequent than promised, within three standard errors."""
        slack = 3 * math.sqrt(self.allowed * (1 - self.allowed) / self.draws)
        return self.failed / self.draws <= self.allowed + slack


def certified(
    coverage: np.ndarray, wrong: np.ndarray, risk: float, starts: int = 1, delta: float = DELTA
) -> tuple[np.ndarray, np.ndarray]:
    """Return (share of the population accepted, share of the calibration units) of many draws at once.

    Args:
      coverage: [R, N], the population's share of units at least as confident: the confidence is its negative. Ties are
        equal values, and then it is the share including the tied.
      wrong: [R, N] bool.
      risk, starts, delta: of the promise.
    """
    needed = units_needed(risk, delta / starts)
    tried = tried_at_ranks(-coverage, ~wrong, fixed_ranks(needed, coverage.shape[1]))
    is_tested = tried.units >= needed
    chosen = selective_choice(tried, is_tested, risk, delta, starts)[:, None]
    place = np.maximum(chosen, 0)
    units = np.take_along_axis(tried.units, place, axis=1)
    # What is over the threshold: all that is more confident than the unit at it. Of tied levels, the next one up.
    accepted = np.where(units == coverage.shape[1], 1.0, -np.take_along_axis(tried.threshold, place, axis=1))
    return np.where(chosen >= 0, accepted, 0)[:, 0], np.where(chosen >= 0, units / coverage.shape[1], 0)[:, 0]


def table_row(rng: np.random.Generator, row: tuple, draws: int) -> tuple[float, float]:
    """Return the mean coverage certified with one start and with five, in percent."""
    num_units, base, risk, steepness = row[:4]
    coverage = rng.random((draws, num_units))
    wrong = rng.random(coverage.shape) < base * (steepness + 1) * coverage**steepness
    one, five = (certified(coverage, wrong, risk, starts)[1].mean() for starts in (1, 5))
    return 100 * float(one), 100 * float(five)


def selective_at_the_limit(rng: np.random.Generator, draws: int, num_units: int = 300) -> Kept:
    """A score that says nothing, and an error rate a hair over the limit: every certificate is a failure."""
    coverage = rng.random((draws, num_units))
    accepted, _ = certified(coverage, rng.random(coverage.shape) < 0.0501, 0.05)
    return Kept(int((accepted > 0).sum()), draws, DELTA, float(accepted.mean()))


def selective_several_starts(rng: np.random.Generator, draws: int) -> Kept:
    """The same with five sequences."""
    coverage = rng.random((draws, 500))
    accepted, _ = certified(coverage, rng.random(coverage.shape) < 0.0501, 0.05, starts=5)
    return Kept(int((accepted > 0).sum()), draws, DELTA, float(accepted.mean()))


def selective_few_units(rng: np.random.Generator, draws: int) -> Kept:
    """One unit more than the fewest that could do."""
    return selective_at_the_limit(rng, draws, units_needed(0.05, DELTA) + 1)


def selective_ties(rng: np.random.Generator, draws: int) -> Kept:
    """Seven levels of confidence; up to the third the limit is kept, from the fourth on it is not."""
    level = rng.integers(1, 8, (draws, 400))
    error = np.array([0, 0.01, 0.02, 0.04, 0.15, 0.2, 0.3, 0.4])
    wrong = rng.random(level.shape) < error[level]
    needed = units_needed(0.05, DELTA)
    tried = tried_at_ranks(-level, ~wrong, fixed_ranks(needed, 400))
    chosen = selective_choice(tried, tried.units >= needed, 0.05, DELTA)[:, None]
    units = np.take_along_axis(tried.units, np.maximum(chosen, 0), axis=1)
    threshold = -np.take_along_axis(tried.threshold, np.maximum(chosen, 0), axis=1)
    # Strictly more confident than the threshold: levels below it.
    accepts = np.where(units == 400, 7, threshold - 1)[:, 0] * (chosen[:, 0] >= 0)
    risks = np.array([0, *np.cumsum(error[1:]) / np.arange(1, 8)])
    return Kept(int((risks[accepts] > 0.05).sum()), draws, DELTA, float(np.mean(accepts / 7)))


def selective_confident_errors(rng: np.random.Generator, draws: int) -> Kept:
    """The most confident 3 % are wrong more often than what follows, up to the last third."""
    coverage = rng.random((draws, 600))
    rate = np.where(coverage < 0.03, 0.12, np.where(coverage < 0.6, 0.01, 0.3))
    accepted, _ = certified(coverage, rng.random(coverage.shape) < rate, 0.05)
    grid = np.linspace(0, 1, 10_001)[1:]
    errors = np.cumsum(np.where(grid < 0.03, 0.12, np.where(grid < 0.6, 0.01, 0.3))) / 10_000
    risk = np.interp(accepted, grid, errors / grid)
    return Kept(int(((accepted > 0) & (risk > 0.05)).sum()), draws, DELTA, float(accepted.mean()))


def selective_given_thresholds(rng: np.random.Generator, draws: int) -> Kept:
    """Thresholds that were fixed on other units, and a score that is worse in the middle than at both ends."""
    thresholds = -np.linspace(0.15, 1, 40)
    rate_at = lambda share: np.where((share > 0.3) & (share < 0.45), 0.16, 0.02)  # noqa: E731
    grid = np.linspace(0, 1, 10_001)[1:]
    risks = np.cumsum(rate_at(grid)) / np.arange(1, 10_001)
    failed, total = 0, 0.0
    for _ in range(draws):
        coverage = rng.random(800)
        found = certify_selective(-coverage, rng.random(800) >= rate_at(coverage), 0.05, DELTA, thresholds=thresholds)
        total += (share := min(1.0, -found.threshold) if found.is_certified else 0.0)
        failed += bool(share) and float(np.interp(share, grid, risks)) > 0.05
    return Kept(failed, draws, DELTA, total / draws)


def rare_classes(rng: np.random.Generator, draws: int) -> Kept:
    """Six predicted classes, the rarest with 2 % of the units: all promises at once, each at delta / 6."""
    sizes = rng.multinomial(1500, (0.4, 0.25, 0.15, 0.1, 0.08, 0.02), size=draws)
    # To the ten units below, so that draws of about one size are made together.
    sizes -= sizes % 10
    has_failed, total = np.zeros(draws, bool), 0.0
    for column in sizes.T:
        for size in np.unique(column[column >= units_needed(0.05, DELTA / 6)]):
            rows = np.flatnonzero(column == size)
            coverage = rng.random((len(rows), size))
            accepted, _ = certified(coverage, rng.random(coverage.shape) < 0.0501, 0.05, delta=DELTA / 6)
            has_failed[rows] |= accepted > 0
            total += size / 1500 * accepted.sum()
    return Kept(int(has_failed.sum()), draws, DELTA, total / draws)


def _errors_within(rng: np.random.Generator, draws: int, num_units: int) -> tuple[np.ndarray, float, float]:
    """Return the coverages of the errors in order [R, N] (2 where there is none), base error and steepness."""
    base, steepness = 0.1, 2
    coverage = rng.random((draws, num_units))
    wrong = rng.random(coverage.shape) < base * (steepness + 1) * coverage**steepness
    return np.sort(np.where(wrong, coverage, 2.0), axis=1), base, steepness


def generalized(rng: np.random.Generator, draws: int) -> Kept:
    """The share that is accepted and wrong: base * c ** 3 over a coverage of c."""
    errors, base, steepness = _errors_within(rng, draws, 500)
    allowed = int(most_errors(500, 0.03, DELTA))
    accepted = np.minimum(errors[:, allowed], 1)
    return Kept(int((base * accepted ** (steepness + 1) > 0.03).sum()), draws, DELTA, float(accepted.mean()))


def expected(rng: np.random.Generator, draws: int) -> Kept:
    """The same on average over draws: the mean of what is accepted and wrong may not be over the limit."""
    total, coverage = 0.0, 0.0
    for _ in range(draws):
        share = rng.random(100)
        found = certify_expected(-share, rng.random(100) >= 0.3 * share**2, 0.03)
        coverage += (accepted := min(1.0, -found.threshold))
        total += 0.1 * accepted**3
    # Within the limit and 1 / (N + 1) below it: the promise is tight.
    mean, slack = total / draws, 4 * 0.03 / math.sqrt(draws)
    is_kept = 0.03 - 1 / 101 - slack <= mean <= 0.03 + slack
    return Kept(0 if is_kept else draws, draws, 0.0, coverage / draws)


def cost(rng: np.random.Generator, draws: int) -> Kept:
    """Errors cost 1, reviews 0.3: the cost of a unit by its coverage is known, and thresholds are fixed."""
    costs, failed, total = Costs(1.0, 0.3), 0, 0.0
    thresholds = -np.linspace(0.6, 1, 20)
    for _ in range(draws):
        share = rng.random(1000)
        found = certify_cost(-share, rng.random(1000) >= 0.9 * share**2, costs, 0.25, thresholds, DELTA)
        accepted = -found.threshold if found.is_certified else 0.0
        failed += found.is_certified and 0.3 * (accepted**3 + 1 - accepted) > 0.25
        total += accepted
    return Kept(failed, draws, DELTA, total / draws)


def coverage_floor(rng: np.random.Generator, draws: int) -> Kept:
    """At least 70 % are accepted; and, in the same draws, the risk is below its bound: two promises at delta each."""
    failed, total = 0, 0.0
    for _ in range(draws):
        share = rng.random(200)
        found = threshold_for_coverage(-share, rng.random(200) >= 0.3 * share**2, 0.7, DELTA)
        accepted = min(1.0, -found.threshold)
        failed += accepted < 0.7 or 0.1 * accepted**2 > found.risk_bound
        total += accepted
    return Kept(failed, draws, 2 * DELTA, total / draws)


def accepted_shares(rng: np.random.Generator, draws: int) -> Kept:
    """What a threshold accepts at least, of the worst threshold that the units could have chosen."""
    rising = np.sort(rng.random((draws, 100)), axis=1)
    bound = accepted_share(np.zeros(100), -1.0, DELTA)
    # Over the k-th lowest lies 1 - x of the population, and (100 - k) / 100 of the units.
    seen = 1 - np.arange(1, 101) / 100
    failed = (np.maximum(0, seen - (1 - bound)) > 1 - rising).any(axis=1)
    return Kept(int(failed.sum()), draws, DELTA, float(bound))


PROMISES: dict[str, Callable[[np.random.Generator, int], Kept]] = {
    fn.__name__: fn
    for fn in (
        selective_at_the_limit, selective_several_starts, selective_few_units, selective_ties,
        selective_confident_errors, selective_given_thresholds, rare_classes, generalized, expected, cost,
        coverage_floor, accepted_shares,
    )
}  # fmt: skip


def set_coverages(
    method: str, rng: np.random.Generator, draws: int, num_units: int = 99, alpha: float = 0.1, pool: int = 200_000
) -> np.ndarray:
    """Return the true coverage of the sets of many calibration sets: [R], to be compared with its Beta law."""
    num_classes = 12
    logits = rng.normal(size=(pool, num_classes)) * rng.gamma(2, 1.5, (pool, 1))
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    # Labels of a flatter distribution: the classifier is overconfident, which no promise minds.
    flat = np.sqrt(probs)
    flat /= flat.sum(axis=1, keepdims=True)
    labels = np.minimum((flat.cumsum(axis=1) < rng.random((pool, 1))).sum(axis=1), num_classes - 1)
    strange = strangeness(method, probs, rng.random(pool), Constants(0.05, 3, 0.15), labels)
    rising = np.sort(strange)
    chosen = strange[rng.integers(0, pool, (draws, num_units))]
    limits = np.array([conformal_limit(row, alpha) for row in chosen])
    return np.searchsorted(rising, limits, side='right') / pool


def law_distance(coverages: np.ndarray, num_units: int = 99, alpha: float = 0.1) -> float:
    """Return the p-value of the coverages under their law, Beta(N + 1 - l, l)."""
    rank = conformal_rank(num_units, alpha)
    return float(kstest(coverages, beta(num_units + 1 - rank, rank).cdf).pvalue)


def main() -> None:
    """Print what every promise came to."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--draws', type=int, default=2000)
    draws = parser.parse_args().draws
    rng = np.random.default_rng(0)
    print('| units, base error, limit | one start | five starts | both, as expected | oracle |\n|---|---|---|---|---|')
    for row in TABLE:
        # One draw of few units says little: the standard error of 2,000 is half a point in the first row.
        repeats = [table_row(rng, row, draws) for _ in range(max(1, 10_000 // row[0]))]
        one, five = np.mean(repeats, axis=0)
        print(f'| {row[0]:,}, {row[1]:.0%}, {row[2]:.1%} | {one:.1f} | {five:.1f} | {row[4]}, {row[5]} | {row[6]} |')
    print('\n| promise | failed | allowed | mean coverage | kept | s |\n|---|---|---|---|---|---|')
    for name, simulate in PROMISES.items():
        start = time.process_time()
        found = simulate(rng, draws)
        print(
            f'| {name} | {found.failed / draws:.2%} | {found.allowed:.0%} | {found.coverage:.1%} | {found.is_kept} | '
            f'{time.process_time() - start:.1f} |'
        )
    print('\n| sets | mean coverage | p-value of the law |\n|---|---|---|')
    for method in ('lac', 'aps', 'raps', 'saps'):
        coverages = set_coverages(method, rng, draws)
        print(f'| {method} | {coverages.mean():.2%} | {law_distance(coverages):.2f} |')


if __name__ == '__main__':
    main()
