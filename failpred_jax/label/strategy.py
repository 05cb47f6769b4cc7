"""What a strategy is, and the one way to use one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from failpred_jax.console import phase
from failpred_jax.errors import UserError, numbered
from failpred_jax.label.pool import Pool
from failpred_jax.registry import STRATEGIES


class Ask(NamedTuple):
    """What a strategy is asked for.

    Attributes:
      budget: how many units to choose, 1 or more and at most N.
      score: the confidence that is named; '' for none.
      seed: of all that is random.
    """

    budget: int
    score: str = ''
    seed: int = 0


@dataclass(frozen=True)
class Picked:
    """What a strategy chose of a pool.

    Attributes:
      rows: [M] int64, places in the pool, the first to label first.
      reasons: [M] words, why each was chosen.
      score: the confidence that is shown with them.
      probability: [M] float64, the probability with which the unit came into the sample; NaN where it was chosen by a
        rule that gives it none.
      estimates: [N] float64, P(correct) of every unit of the pool, and `inclusion` [N] its probability to be drawn;
        both None where the choice is no sample that allows for estimates.
      inclusion: see `estimates`.
      notes: sentences.
    """

    rows: np.ndarray
    reasons: np.ndarray
    score: str = ''
    probability: np.ndarray = field(default_factory=lambda: np.zeros(0))
    estimates: np.ndarray | None = None
    inclusion: np.ndarray | None = None
    notes: tuple[str, ...] = ()


StrategyFn = Callable[[Pool, Ask], Picked]


@dataclass(frozen=True)
class Strategy:
    """A registered strategy.

    Attributes:
      name: what --strategy calls it.
      fn: chooses.
      description: one line.
      reference: the paper.
      needs: 'probs' and 'features', or some, or none.
      favors: what it chooses more often than chance would, so what its labels are biased towards.
    """

    name: str
    fn: StrategyFn
    description: str
    reference: str = ''
    needs: tuple[str, ...] = ()
    favors: str = 'what is hard'


def strategy(
    name: str,
    *,
    description: str,
    reference: str = '',
    needs: tuple[str, ...] = (),
    favors: str = 'what is hard',
) -> Callable[[StrategyFn], StrategyFn]:
    """Return a decorator that files a function (pool, ask) -> Picked in STRATEGIES and hands it back unchanged."""

    def add(fn: StrategyFn) -> StrategyFn:
        STRATEGIES.register(name)(Strategy(name, fn, description, reference, needs, favors))
        return fn

    return add


def choose(pool: Pool, name: str, budget: int, score: str = '', seed: int = 0) -> Picked:
    """Return which units of a pool to label next.

    Args:
      pool: N units.
      name: of a strategy.
      budget: how many, from 1 to N.
      score: the confidence to use, where the strategy uses one; '' for the learned one.
      seed: of all that is random: the same pool, budget and seed give the same units.

    Raises:
      UserError: there is no such strategy, the budget is none, or the pool lacks what the strategy reads.
    """
    entry: Strategy = STRATEGIES[name]
    if not 1 <= budget <= len(pool):
        raise UserError(
            f'the budget is {budget:,}, but the pool has {numbered(len(pool), "unit")}; give 1 to '
            f'{len(pool):,} (--budget=N)'
        )
    who = f"the strategy '{name}'"
    if 'probs' in entry.needs:
        pool.need_probs(who)
    if 'features' in entry.needs:
        pool.need_features(who)
    if score:
        pool.score(score)
    with phase(f'choosing by {name}'):
        return entry.fn(pool, Ask(budget, score, seed))
