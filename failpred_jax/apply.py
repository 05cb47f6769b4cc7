"""What a policy decides of confidences: NumPy alone, and this one file, so it can be copied to wherever they are.

  import apply  # in the package: from failpred_jax import apply

  policy = apply.read_policy('policy.json')
  decisions = apply.decide(policy, confidence)
  decisions.names()  # 'accept', 'second_model' or 'human' for each unit

A policy belongs to the model that made it: give the digest that goes with the confidences, and that of another is
refused. A million units take about a tenth of a second.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FORMAT = 'failpred_jax policy 1'
COMBINATION = 'failpred_jax combination 1'
# Probabilities of exactly 0 or 1 would have infinite log-odds.
_SMALLEST = 1e-6
# By how much rounding may carry a probability out of [0, 1].
_ROUNDING = 1e-4
_TIME = re.compile(r'(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(:\d\d)?(\.\d+)?)?')


class PolicyError(ValueError):
    """A policy, or what it is applied to, is not what it should be; the message says what to do."""


class Tier(NamedTuple):
    """What happens to the units over a threshold that no stricter tier took.

    Attributes:
      name: such as 'accept'.
      thresholds: one, or one per group; over it is `confidence > threshold`, inf takes nothing, -inf everything.
    """

    name: str
    thresholds: tuple[int | float, ...]


class Policy(NamedTuple):
    """A checked policy.

    Attributes:
      score: the confidence that it is for.
      dtype: 'float32', 'float64' or 'integer': what its thresholds were made of.
      model: digest of the model that it belongs to.
      tiers: the strictest first.
      otherwise: what happens to all other units.
      groups: names of the groups that have thresholds of their own, such as the classes predicted; () for none.
      knots: confidence [J] and probability [J] that are interpolated to P(correct), or None.
      audit_rate: share of the units of the first tier that is looked at all the same.
      audit_seed: of that choice.
      content: all of the file.
    """

    score: str
    dtype: str
    model: str
    tiers: tuple[Tier, ...]
    otherwise: str
    groups: tuple[str, ...]
    knots: tuple[np.ndarray, np.ndarray] | None
    audit_rate: float
    audit_seed: int
    content: Mapping[str, Any]


class Decisions(NamedTuple):
    """What was decided.

    Attributes:
      code: [N] uint8, the tier of each unit; the number of tiers for what no tier took.
      actions: the name of each code.
      p_correct: [N] float64, the calibrated probability that the prediction is right; None where it is not known.
      audit: [N] bool, whether the unit is looked at all the same.
    """

    code: np.ndarray
    actions: tuple[str, ...]
    p_correct: np.ndarray | None
    audit: np.ndarray

    def names(self) -> np.ndarray:
        """Return the action of each unit: [N] of words."""
        return np.array(self.actions)[self.code]


def read_policy(path: str | Path, model: str | None = None) -> Policy:
    """Return the policy of a file.

    Args:
      path: of a policy.json.
      model: digest of the model that the confidences come from; None does not compare it.

    Raises:
      PolicyError: it is missing, is no policy, or belongs to another model.
    """
    policy = parse_policy(_read_json(path, 'policy'), str(path))
    _check_model(policy, model)
    return policy


def parse_policy(content: Any, where: str = 'the policy') -> Policy:
    """Return the policy that a parsed JSON object holds; see `read_policy`."""
    if not isinstance(content, Mapping) or content.get('format') != FORMAT:
        raise PolicyError(f"'{where}' is no policy of this version: its 'format' is not '{FORMAT}'")
    try:
        groups = tuple(map(str, content['groups']))
        tiers = tuple(Tier(str(t['name']), tuple(_number(x) for x in t['thresholds'])) for t in content['tiers'])
        knots = content['calibrator'] and content['calibrator']['knots']
        if knots and content['calibrator'].get('method') == 'none':
            # The confidence itself, also in policies that were made when these knots ended at the held-out range.
            knots = {'confidence': (0, 1), 'probability': (0, 1)}
        score, dtype, model, otherwise = (str(content[key]) for key in ('score', 'dtype', 'model', 'otherwise'))
        ends = (np.asarray(knots['confidence'], float), np.asarray(knots['probability'], float)) if knots else None
        rate, seed = float(content['audit_rate']), int(content['audit_seed'])
        policy = Policy(score, dtype, model, tiers, otherwise, groups, ends, rate, seed, content)
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyError(f"'{where}' is damaged: {type(error).__name__}: {error}") from error
    sizes = {len(tier.thresholds) for tier in tiers}
    if not tiers or sizes != {max(1, len(groups))} or dtype not in ('float32', 'float64', 'integer'):
        raise PolicyError(f"'{where}' is damaged: its tiers, groups or dtype do not go together")
    return policy


def decide(
    policy: Policy, confidence: Any, *, groups: Any = None, model: str | None = None, keys: Any = None
) -> Decisions:
    """Return what a policy decides of confidences.

    Args:
      policy: see `read_policy`.
      confidence: [N] of the score that the policy names. Floats are compared in the type that the thresholds were made
        of, integers exactly.
      groups: [N], where the policy has thresholds per group: the group of each unit as a word or number, such as the
        class predicted, as it is written in the file. A group that the policy does not know is never accepted.
      model: digest of the model that the confidences come from; None does not compare it.
      keys: [N] integers that say which unit is which, so that a unit is audited or not wherever it stands; None for
        its place.

    Raises:
      PolicyError: what is given is not what the policy is for.
    """
    _check_model(policy, model)
    values = as_compared(policy, confidence)
    check_scale(policy, values)
    place = group_places(policy, groups, len(values))
    code = np.full(len(values), len(policy.tiers), np.uint8)
    for number in range(len(policy.tiers) - 1, -1, -1):
        thresholds = policy.tiers[number].thresholds
        if place is None:
            code[_over(values, thresholds[0])] = number
            continue
        for index, threshold in enumerate(thresholds):
            inside = np.flatnonzero(place == index)
            code[inside[_over(values[inside], threshold)]] = number
    p_correct = None
    if policy.knots is not None:
        p_correct = np.interp(values.astype(np.float64), *policy.knots)
    audit = np.zeros(len(values), bool)
    if policy.audit_rate:
        audit = (code == 0) & (_uniform(keys, len(values), policy.audit_seed) < policy.audit_rate)
    return Decisions(code, (*(tier.name for tier in policy.tiers), policy.otherwise), p_correct, audit)


def read_combination(path: str | Path) -> Mapping[str, Any]:
    """Return what --mode=combine wrote: how several components' confidences become one; see `combine`.

    Raises:
      PolicyError: it is missing, or is no such file.
    """
    content = _read_json(path, 'combination')
    if not isinstance(content, Mapping) or content.get('format') != COMBINATION:
        raise PolicyError(f"'{path}' is no combination of this version: its 'format' is not '{COMBINATION}'")
    return content


def combine(combination: Mapping[str, Any], rule: str, confidences: Mapping[str, Any]) -> np.ndarray:
    """Return the confidence of the whole: [N] float64 in [0, 1]; of a line between two scores, float32, unbounded.

    Args:
      combination: see `read_combination`.
      rule: one of `combination['rules']`, each of which says what it assumes.
      confidences: component -> [N] real numbers.

    Raises:
      PolicyError: a component is missing, or they do not go together.
    """
    if rule not in combination['rules']:
        raise PolicyError(f"there is no rule '{rule}' (there are: {', '.join(combination['rules'])})")
    columns = []
    for component in combination['components']:
        name = component['name']
        if name not in confidences:
            raise PolicyError(f"the component '{name}' is missing; give the confidences of all of them")
        values = np.asarray(confidences[name])
        if values.ndim != 1 or values.dtype.kind not in 'biuf' or (columns and len(values) != len(columns[0])):
            raise PolicyError(f"the component '{name}' is {values.dtype} of shape {values.shape}; give (N,) each")
        if values.dtype.kind == 'f' and np.isnan(values).any():
            raise PolicyError(f"the component '{name}' holds {int(np.isnan(values).sum())} NaN")
        if 'calibrator' in component:
            knots = component['calibrator']['knots']
            columns.append(np.interp(values.astype(np.float64), knots['confidence'], knots['probability']))
        else:
            center, scale, weight = (np.float32(component[key]) for key in ('center', 'scale', 'weight'))
            columns.append((values.astype(np.float32) - center) * (weight / scale))
    if 'calibrator' not in combination['components'][0]:
        return columns[0] + columns[1]
    p = np.stack(columns, axis=1)
    if rule == 'logistic':
        p = np.clip(p, _SMALLEST, 1 - _SMALLEST)
        fitted = combination['rules'][rule]
        return 1 / (1 + np.exp(-(np.log(p / (1 - p)) @ np.array(fitted['weights']) + fitted['intercept'])))
    means = {'product': p.prod, 'minimum': p.min, 'mean': p.mean}
    return means[rule](axis=1) if rule in means else 1 - (1 - p).prod(axis=1)


def _read_json(path: str | Path, what: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise PolicyError(f"'{path}' cannot be read as a {what}: {error}") from error


def _check_model(policy: Policy, model: str | None) -> None:
    if model is not None and model != policy.model:
        raise PolicyError(
            f"the policy belongs to the model '{policy.model}', but the confidences come from '{model}': what it "
            'promises holds for its own model alone; certify a policy for this one (--mode=decide)'
        )


def as_compared(policy: Policy, confidence: Any) -> np.ndarray:
    """Return confidences [N] as the thresholds are to be compared with them."""
    values = np.asarray(confidence)
    if values.ndim != 1:
        raise PolicyError(f'confidence has shape {values.shape}; give one value per unit, (N,)')
    if values.dtype.kind not in 'biuf':
        raise PolicyError(f'confidence has type {values.dtype}; give real numbers')
    if values.dtype.kind == 'f' and np.isnan(values).any():
        raise PolicyError(f'confidence holds {int(np.isnan(values).sum())} NaN; a unit without one cannot be decided')
    if policy.dtype == 'integer':
        if values.dtype.kind == 'f':
            raise PolicyError(f"confidence has type {values.dtype}, but the score '{policy.score}' is an integer")
        return values.astype(np.int8) if values.dtype.kind == 'b' else values
    return values.astype(np.float32 if policy.dtype == 'float32' else np.float64)


def check_scale(policy: Policy, values: np.ndarray) -> None:
    """Raise a PolicyError for confidences [N] that are on another scale than the policy's, such as percentages.

    Where the policy says that its score is a probability, each value must be in [0, 1]. Of another score, whose map
    was fitted within [0, 1], single values may lie anywhere, but half of them over 2 are on another scale.
    """
    if not len(values):
        return
    low, high = float(values.min()), float(values.max())
    if policy.content.get('is_probability'):
        if low >= -_ROUNDING and high <= 1 + _ROUNDING:
            return
        own = 'is a probability in [0, 1]'
    else:
        if high <= 2 or policy.knots is None or not len(policy.knots[0]):
            return
        first, last = policy.content['calibrator'].get('range', (policy.knots[0].min(), policy.knots[0].max()))
        if first < 0 or last > 1 or float(np.median(values)) <= 2:
            return
        own = f'is from {first:.4g} to {last:.4g} in the units that its map was fitted on'
    hint = '; are these percentages? divide them by 100' if low >= 0 and high <= 100 else ''
    raise PolicyError(
        f"the confidences are from {low:.6g} to {high:.6g}, but the policy's score '{policy.score}' {own}{hint}"
    )


def _over(values: np.ndarray, threshold: int | float) -> np.ndarray:
    """Return where values are strictly over a threshold; an integer is compared exactly, however large."""
    if math.isinf(threshold):
        return np.full(len(values), threshold < 0)
    if values.dtype.kind in 'iu':
        ends = np.iinfo(values.dtype)
        if not ends.min <= threshold <= ends.max:
            return np.full(len(values), threshold < ends.min)
    return values > values.dtype.type(threshold)


def group_places(policy: Policy, groups: Any, num_units: int) -> np.ndarray | None:
    """Return which group of the policy each unit is in, [N] int with -1 for none; None where it has no groups."""
    if not policy.groups:
        return None
    if groups is None:
        known = ', '.join(policy.groups[:5])
        raise PolicyError(f'the policy has thresholds per group ({known}, ...): give the group of each unit, groups=')
    given = np.asarray(groups)
    if given.shape != (num_units,):
        raise PolicyError(f'groups has shape {given.shape}; give one per unit, ({num_units},)')
    if given.dtype.kind in 'iuf' and (lost := [name for name in policy.groups if _is_lost(name)]):
        raise PolicyError(
            f"groups are numbers, and no number is written as the policy's group '{lost[0]}': give groups as words, as "
            'the file has them (pandas.read_csv: dtype=str)'
        )
    if given.dtype.kind in 'MO':
        given = np.array([str(x) for x in (given.astype('M8[us]') if given.dtype.kind == 'M' else given).tolist()])
    found, of = np.unique(given, return_inverse=True)
    numbers = dict(zip(policy.groups, range(len(policy.groups)), strict=True))
    place = {_folded(name): number for name, number in numbers.items()} | numbers
    return np.array([place.get(name, place.get(_folded(name), -1)) for name in map(str, found)], np.int64)[of]


def _folded(name: str) -> str:
    """Return a group's name the same in all types: 3 for 3.0, true for True, '' for nan, and a day as its midnight."""
    if (whole := name.strip().removesuffix('.0')).lstrip('-').isdecimal():
        return whole
    if found := _TIME.fullmatch(name):
        return f'{found[1]} {found[2] or "00:00"}{found[3] or ":00"}{(found[4] or "").rstrip(".0")}'
    lowered = name.lower()
    return '' if name in ('nan', 'None', 'NaT', '<NA>') else lowered if lowered in ('true', 'false') else name


def _is_lost(name: str) -> bool:
    """Return whether a name is a number but not as Python writes it, such as 1.10 and 0123."""
    try:
        return name != str(float(name)) and not (name.lstrip('-').isdecimal() and name == str(int(name)))
    except ValueError:
        return False


def _uniform(keys: Any, num_units: int, seed: int) -> np.ndarray:
    """Return a number in [0, 1) for each key: [N] float64, the same for the same key and seed (SplitMix64)."""
    given = np.arange(num_units) if keys is None else np.asarray(keys)
    if given.shape != (num_units,) or given.dtype.kind not in 'iu':
        raise PolicyError(f'keys has type {given.dtype} and shape {given.shape}; give one integer per unit')
    state = given.astype(np.uint64) + np.uint64(seed * 0xD1342543DE82EF95 % 2**64)
    state = (state + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((state ^ (state >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _number(value: Any) -> int | float:
    """Return a threshold: JSON has no infinities, so they are words."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or math.isnan(float(value)):
        raise ValueError(f'{value!r} is no threshold')
    return float(value) if isinstance(value, str) else value
