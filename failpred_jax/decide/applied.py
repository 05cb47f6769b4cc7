"""A policy applied to the units of a run or a file: what happens to them, what that costs, and the rows of a file."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from failpred_jax import apply
from failpred_jax.config import DecideConfig
from failpred_jax.decide.costs import Costs, chow_threshold
from failpred_jax.decide.thresholds import costs_of, groups_of
from failpred_jax.decide.units import Units
from failpred_jax.results.decisions import CostOf, Flow


def applied(policy: dict[str, Any], units: Units, score: str, options: DecideConfig) -> apply.Decisions:
    groups = groups_of(units, options.by) if options.by else None
    return apply.decide(apply.parse_policy(policy), units.confidence(score), groups=groups)


def flow_of(
    policy: dict[str, Any], calibration: Units, test: Units | None, score: str, options: DecideConfig
) -> Iterator[Flow]:
    seen = applied(policy, calibration, score, options)
    judged = None if test is None else applied(policy, test, score, options)
    for code, action in enumerate(seen.actions):
        share = float(np.mean(seen.code == code))
        if judged is None or test is None:
            yield Flow(action, share)
            continue
        inside = judged.code == code
        yield Flow(action, share, float(inside.mean()), int(inside.sum()), int((inside & ~test.correct).sum()))


def costs_under(
    policy: dict[str, Any], calibration: Units, test: Units | None, score: str, options: DecideConfig
) -> Iterator[CostOf]:
    """Yield what a unit costs under the policy, Chow's rule, and the two rules that look at nothing."""
    costs = costs_of(options)
    if costs is None:
        return
    decided = {id(units): applied(policy, units, score, options) for units in (calibration, test) if units is not None}
    last = len(policy['tiers'])
    rules = {'this policy': (math.nan, lambda units: decided[id(units)].code < last)}
    if policy['calibrator']:
        least = chow_threshold(costs)
        rules["Chow's rule: accept from this P(correct) on"] = (
            least, lambda units: np.asarray(decided[id(units)].p_correct) >= least,
        )  # fmt: skip
    rules['accept everything'] = (math.nan, lambda units: np.ones(len(units), bool))
    rules['review everything'] = (math.nan, lambda units: np.zeros(len(units), bool))
    for name, (threshold, accepted) in rules.items():
        yield CostOf(name, threshold, *(_mean_cost(costs, accepted, u) for u in (calibration, test)))


def _mean_cost(costs: Costs, accepted: Any, units: Units | None) -> float:
    return math.nan if units is None else float(costs.of_decisions(accepted(units), units.correct).mean())


def rows_of(
    policy: dict[str, Any],
    test: Units | None,
    names: tuple[str, ...],
    score: str,
    options: DecideConfig,
    sets: np.ndarray | None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of decisions.csv."""
    if test is None:
        return
    found = applied(policy, test, score, options)
    actions = found.names()
    confidence = test.confidence(score)
    for row in range(len(test)):
        line: dict[str, Any] = {'row': row} if test.ids is None else {'id': test.ids[row]}
        if test.predicted is not None:
            number = int(test.predicted[row])
            line['predicted'] = names[number] if names else number
        line['confidence'] = str(confidence[row])
        line['p_correct'] = '' if found.p_correct is None else f'{found.p_correct[row]:.6g}'
        line['decision'] = actions[row]
        line['audit'] = int(found.audit[row])
        if sets is not None:
            line['set'] = ' '.join(_quoted(names[c]) if names else str(c) for c in np.flatnonzero(sets[row]))
        yield line


def _quoted(name: str) -> str:
    """Return a class name as one field of a csv row whose separator is a blank."""
    quoted = name.replace('"', '""')
    return f'"{quoted}"' if not name or any(mark in name for mark in ' "\r\n') else name
