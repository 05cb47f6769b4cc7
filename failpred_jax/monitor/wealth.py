"""Evidence that can be looked at any time: bets that are fair while nothing has changed, so nobody gets rich by luck.

A gambler has several strategies k. At the start of every window each strategy gets a fresh stake, and each stake is
multiplied, unit by unit, by f_k >= 0 with a mean of at most 1 while nothing has changed. A stake from before a change
has withered by then; a fresh one has not, so a change late in a long stream is found nearly as fast as one at its
beginning. All stakes of one strategy share its factors, so their sum is one number, and the state does not grow.

  promise 'ever'        the stake of round j is w_j with sum_j w_j = 1, and what is not yet staked is kept: the whole is
                        an e-process, and by Ville's inequality it ever reaches 1 / alpha with probability <= alpha
  promise 'run length'  every stake is 1: the whole, less the number of rounds, is a supermartingale (Shiryaev-Roberts),
                        so the mean time to reach c is at least c rounds

Reference: Ville 1939; Shin, Ramdas & Rinaldo, "E-detectors: a nonparametric framework for sequential change detection",
  2023, section 2; Shafer, "Testing by betting", JRSS A 2021.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Wealth:
    """The state of one gambler.

    Attributes:
      stakes: [K] float64, the logarithm of all stakes of each strategy, grown; -inf before the first round.
      rounds: stakes placed so far.
      is_ever: the promise: 'ever' (True) or 'run length'.
    """

    stakes: np.ndarray
    rounds: int
    is_ever: bool

    def log_value(self) -> float:
        """Return the logarithm of the whole wealth."""
        return float(_whole(self.stakes[None], self._kept())[0])

    def after(self, log_factors: np.ndarray) -> tuple['Wealth', np.ndarray]:
        """Return the state after one window, and the logarithm of the wealth after each of its units: [n].

        Args:
          log_factors: [n, K], log f_k of each unit.
        """
        rounds = self.rounds + 1
        fresh = np.log(_left(rounds - 1) - _left(rounds)) if self.is_ever else 0.0
        stakes = np.logaddexp(self.stakes, fresh)
        begun = Wealth(stakes, rounds, self.is_ever)
        path = np.cumsum(np.concatenate([stakes[None], log_factors]), axis=0)
        grown = Wealth(path[-1].copy(), rounds, self.is_ever)
        return grown, _whole(path[1:], begun._kept())

    def _kept(self) -> float:
        """Return the logarithm of what is not yet staked."""
        return float(np.log(_left(self.rounds))) if self.is_ever else -np.inf

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain values; JSON has no infinities."""
        return {'stakes': [x if np.isfinite(x) else None for x in self.stakes.tolist()], 'rounds': self.rounds}

    @staticmethod
    def from_json(content: dict[str, Any], is_ever: bool) -> 'Wealth':
        """Return the state that `to_json` wrote."""
        stakes = np.array([-np.inf if x is None else float(x) for x in content['stakes']])
        return Wealth(stakes, int(content['rounds']), is_ever)


def no_wealth(num_strategies: int, is_ever: bool) -> Wealth:
    """Return the state before the first round."""
    return Wealth(np.full(num_strategies, -np.inf), 0, is_ever)


def log_threshold(alpha: float, run_length: int, together: int, window: int) -> float:
    """Return the logarithm of the wealth at which an alarm is raised.

    Args:
      alpha: for the promise 'ever': it is ever reached by chance with at most this probability.
      run_length: mean number of units between false alarms that is promised instead; 0 for the promise 'ever'.
      together: alarms that share the promise 'run length'.
      window: units of a round.

    Each of A gamblers has reached c by round J with probability at most J / c (Doob), so one of them has by A J / c,
    and the mean of the first round at which one has is at least c / (2 A). With A = 1, c itself holds (optional
    stopping).
    """
    if not run_length:
        return float(-np.log(alpha))
    return float(np.log(max(1, 2 * together if together > 1 else 1) * (run_length / window + 1)))


def _left(rounds: int) -> float:
    """Return the share that is not yet staked after so many rounds: it falls slowly, so no round is out of reach."""
    return 1 / (1 + float(np.log1p(rounds)))


def _whole(stakes: np.ndarray, kept: float) -> np.ndarray:
    """Return the logarithm of the mean over strategies of stakes [n, K], and what is kept: [n]."""
    mean = np.logaddexp.reduce(stakes, axis=1) - np.log(stakes.shape[1])
    return np.logaddexp(mean, kept)
