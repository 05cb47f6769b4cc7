"""What was decided of an evaluation: the typed content of the folder `decisions`, written whole, and read back.

policy.json       what `apply.py` reads: score, thresholds, calibrator, digests
reference.npz     the calibration units, which a monitor compares a stream with
guarantees.json   every promise, with what it needs, what it does not say, and what the test units say of it
decisions.csv     one row per test unit: what was predicted, the confidence, P(correct), the decision, the set
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.files import DAMAGE, read_json, read_npz, whole_files, write_json, write_npz, write_text
from failpred_jax.results import plain
from failpred_jax.results.measures import Interval
from failpred_jax.results.rows import to_csv

POLICY, GUARANTEES, DECISIONS = 'policy.json', 'guarantees.json', 'decisions.csv'
REFERENCE = 'reference.npz'


@dataclass(frozen=True)
class Verdict:
    """What the test units say of a promise.

    Attributes:
      value: what was measured on them.
      interval: exact, where it is a share.
      units: behind it.
      word: 'confirmed', 'consistent', 'contradicted', or 'nothing to judge'.
      chance: of a promise on average over draws, what both draws give where it just holds: between these in 95 % of
        cases. NaN for others, which are compared with their limit.
      of: the class or group that is furthest beyond such a promise, if each has its own; '' for all units.
      together: how many of these were judged together.
    """

    value: float = np.nan
    interval: Interval = Interval(np.nan, np.nan)
    units: int = 0
    word: str = 'nothing to judge'
    chance: Interval = Interval(np.nan, np.nan)
    of: str = ''
    together: int = 1


@dataclass(frozen=True)
class Guarantee:
    """A promise, or the reason why there is none.

    Attributes:
      name: of the tier, class, group, or other thing that it is about.
      kind: 'selective', 'generalized', 'expected', 'cost', 'coverage', 'budget' or 'sets'.
      statement: one sentence.
      target: the promised limit.
      delta: the promise fails with at most this probability; NaN where it holds on average.
      units: calibration units behind it.
      threshold: as a float, for people; policy.json has it exactly. NaN where everything or nothing is accepted.
      coverage: share of the calibration units that is accepted.
      assumption: what must be true.
      not_said: what it does not say.
      reason: why nothing is certified, or ''.
      invalid: why it is no guarantee after all, or ''.
      verdict: of the test units, or None without any.
    """

    name: str
    kind: str
    statement: str
    target: float = np.nan
    delta: float = np.nan
    units: int = 0
    threshold: float = np.nan
    coverage: float = np.nan
    assumption: str = ''
    not_said: str = ''
    reason: str = ''
    invalid: str = ''
    verdict: Verdict | None = None

    @property
    def is_certified(self) -> bool:
        """Whether something is promised."""
        return not self.reason


@dataclass(frozen=True)
class Flow:
    """What happens to the units.

    Attributes:
      action: 'accept', 'human', ...
      calibration: share of the calibration units.
      test: share of the test units.
      units: test units.
      errors: wrong predictions among them.
    """

    action: str
    calibration: float
    test: float = np.nan
    units: int = 0
    errors: int = 0


@dataclass(frozen=True)
class CostOf:
    """What a unit costs on average under a rule: on the calibration and on the test units."""

    rule: str
    threshold: float
    calibration: float
    test: float = np.nan


@dataclass(frozen=True)
class SetRowResult:
    """Coverage and size of prediction sets for some of the test units; see decide/set_measures.py."""

    name: str
    units: int
    coverage: float
    low: float
    high: float
    size: float
    gap: float


@dataclass(frozen=True)
class SetsResult:
    """Prediction sets.

    Attributes:
      method, by, alpha: how they were made.
      constants: of RAPS and SAPS.
      law: (mean, 5 %, 95 %) of the true coverage over draws of so many calibration units. Where a set always holds the
        most probable class, or units tie at the limit, mean and 5 % are bounds from below, and 95 % is NaN.
      law_says: the same as a sentence.
      promise: the guarantee.
      rows: all test units, by group where they have some, by class, and by size.
      size: interval of the mean size.
      empty, single: shares of empty sets, and of sets of one class.
      notes: sentences.
    """

    method: str
    by: str
    alpha: float
    promise: Guarantee
    constants: Mapping[str, float] = field(default_factory=dict)
    law: tuple[float, ...] = ()
    law_says: str = ''
    rows: Mapping[str, tuple[SetRowResult, ...]] = field(default_factory=dict)
    size: Interval = Interval(np.nan, np.nan)
    empty: float = np.nan
    single: float = np.nan
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decided:
    """All that was decided.

    Attributes:
      score: the confidence that decides.
      chosen: how it was chosen.
      unit: what is decided, such as 'image'.
      model: digest of what the model says of the calibration units.
      data: digest of the calibration units.
      calibration: their number.
      error_rate: of the calibration units, and its exact interval.
      error_interval: see `error_rate`.
      guarantees: of the policy, strictest tier first, then others.
      menu: further limits, all of which hold together.
      groups: per class predicted or per group, all of which hold together.
      flow: what happens to the units.
      impossible: the sentence on what no score can reach.
      costs: what a unit costs under the policy and under other rules.
      sets: prediction sets, or None.
      notes: sentences.
      policy: the content of policy.json.
      reference: the arrays of reference.npz, which a monitor compares a stream with; {} where there is none.
    """

    score: str
    chosen: str = ''
    unit: str = 'unit'
    model: str = ''
    data: str = ''
    calibration: int = 0
    error_rate: float = np.nan
    error_interval: Interval = Interval(np.nan, np.nan)
    guarantees: tuple[Guarantee, ...] = ()
    menu: tuple[Guarantee, ...] = ()
    groups: tuple[Guarantee, ...] = ()
    flow: tuple[Flow, ...] = ()
    impossible: str = ''
    costs: tuple[CostOf, ...] = ()
    sets: SetsResult | None = None
    notes: tuple[str, ...] = ()
    policy: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class SeedDecided:
    """What was decided with one seed of several: a model of its own, with a policy of its own."""

    seed: int
    decided: Decided


def digest_of_policy(policy: Mapping[str, Any]) -> str:
    """Return a digest of what a policy decides and of the options it was made with, whenever that was."""
    options = (policy.get('made_from') or {}).get('options')
    content = {**{name: value for name, value in policy.items() if name != 'made_from'}, 'options': options}
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def write_decisions(decided: Decided, rows: Iterable[Mapping[str, Any]], folder: Path) -> None:
    """Write the folder; policy.json comes last, so a folder that has it is complete."""
    content = plain.to_json(replace(decided, policy={}, reference={}))
    del content['policy'], content['reference']
    with whole_files(folder, last=POLICY) as aside:
        write_json(aside / GUARANTEES, content)
        write_text(aside / DECISIONS, to_csv(rows))
        if decided.reference:
            write_npz(aside / REFERENCE, decided.reference)
        write_json(aside / POLICY, dict(decided.policy))


def read_decisions(folder: Path) -> Decided | None:
    """Return what a folder holds, or None if it has no policy.

    Raises:
      UserError: it is damaged.
    """
    if not (folder / POLICY).exists():
        return None
    try:
        policy = read_json(folder / POLICY)
        found = plain.from_json(Decided, read_json(folder / GUARANTEES))
        reference = read_npz(folder / REFERENCE) if (folder / REFERENCE).exists() else {}
        return replace(found, policy=dict(policy), reference=reference)
    except (*DAMAGE, plain.WrongTypeError) as error:
        raise UserError(
            f'{folder} cannot be read ({type(error).__name__}: {error}); make it again with --mode=decide'
        ) from error
