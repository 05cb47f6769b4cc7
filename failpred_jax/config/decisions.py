"""Every option of decisions: what is promised of the confidences, and what is done with them."""

from collections.abc import Iterator
from dataclasses import dataclass

from failpred_jax.options import NOT_NEGATIVE, OPEN_UNIT, SHARE, one_of, option, rule, share


def _is_1_to_20(value: int) -> bool:
    return 1 <= value <= 20


@dataclass(frozen=True)
class DecideConfig:
    """What is promised of the confidences, and what is done with them; certified on the calibration units."""

    score: str = option('', "score that decides, named beforehand; '' takes the best by AURC on the validation units")
    kind: str = option(
        'selective',
        "what is promised: the error rate among accepted ('selective'), the share of all units that is accepted and "
        "wrong ('generalized'; on average over draws: 'expected'), or the cost of a unit ('cost')",
        one_of('selective', 'generalized', 'expected', 'cost'),
    )
    risks: tuple[float, ...] = option(
        (),
        "promised limits, one per tier, rising; () takes one, at most two thirds of the validation units' error rate",
        share('each between 0 and 1, rising', lambda v: all(0 < x < 1 for x in v) and list(v) == sorted(set(v))),
    )
    tiers: tuple[str, ...] = option(
        ('accept',),
        "what is done with the units of each tier, the strictest first, such as ('accept', 'second_model'); all other "
        'units go to a human',
        rule('one or more names, each once', lambda v: len(v) > 0 and len(set(v)) == len(v) and 'human' not in v),
    )
    delta: float = option(0.05, 'probability with which a promise may fail; shared by the tiers', OPEN_UNIT)
    starts: int = option(
        1, 'sequences of tests, each at delta / starts: several survive a confident error', rule('1 to 20', _is_1_to_20)
    )
    by: str = option(
        '', "thresholds of their own: for each class predicted ('predicted'), or each value of a column of the file"
    )
    cost_error: float = option(0.0, 'cost of an error that is accepted; 0 for no costs', NOT_NEGATIVE)
    cost_review: float = option(0.0, 'cost of handing a unit to a human', NOT_NEGATIVE)
    cost_limit: float = option(0.0, "promised cost per unit (kind 'cost')", NOT_NEGATIVE)
    reviewer_error: float = option(0.0, 'error rate of the human', SHARE)
    budget: float = option(0.0, 'share of units that can be handed to a human at most; 0 for no limit', SHARE)
    yields: str = option(
        'budget', 'which gives way if budget and promised risk do not both hold', one_of('budget', 'risk')
    )
    coverage: float = option(0.0, 'share of units that is to be accepted at least; 0 for no floor', SHARE)
    audit_rate: float = option(0.0, 'share of accepted units that a human looks at all the same', SHARE)
    sets: str = option('lac', "prediction sets: a method, or 'none'", one_of('none', 'lac', 'aps', 'raps', 'saps'))
    sets_alpha: float = option(0.1, 'share of units whose set may miss the true class', OPEN_UNIT)
    sets_by: str = option(
        'marginal',
        "what sets promise their coverage for: all units together, or each 'class', 'cluster' of classes, or value of "
        "the column that `by` names ('group')",
        one_of('marginal', 'class', 'cluster', 'group'),
    )
    empty_sets: bool = option(False, 'whether a set may be empty; if not, it always holds the class predicted')
    seed: int = option(0, 'of audits, randomized sets and the choice of one unit per group', NOT_NEGATIVE)
    reuse_validation: bool = option(
        False, 'without calibration units, use the validation units; every guarantee is then marked as not valid'
    )

    def problems(self) -> Iterator[str]:
        """Yield what is wrong between the options."""
        if len(self.tiers) > 1 and len(self.risks) != len(self.tiers):
            yield f'config.decide.tiers is {self.tiers} and config.decide.risks {self.risks}; give one limit per tier'
        if self.by and len(self.tiers) > 1:
            yield f"config.decide.by is '{self.by}' but config.decide.tiers {self.tiers}; per group, there is one tier"
        if self.by and self.kind != 'selective':
            yield f"config.decide.by is '{self.by}' and config.decide.kind '{self.kind}'; per group, it is 'selective'"
        if len(self.tiers) == 1 and len(self.risks) > 1:
            yield f'config.decide.risks is {self.risks}; give one limit per tier of config.decide.tiers, {self.tiers}'
        if self.cost_review and not self.cost_error:
            yield 'config.decide.cost_review is set without config.decide.cost_error; give both'
        if self.kind == 'cost' and not (self.cost_error and self.cost_limit and len(self.tiers) == 1):
            yield "config.decide.kind is 'cost', which needs cost_error and cost_limit over 0, and one tier"
        if self.budget and self.by:
            yield 'config.decide.budget is set with config.decide.by; a budget is of all units together'
        if self.sets_by == 'group' and self.by in ('', 'predicted'):
            yield "config.decide.sets_by is 'group'; name the column of the groups with config.decide.by"
