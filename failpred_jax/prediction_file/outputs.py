"""A model's outputs as people have them: what they are is found by looking at the values, and said.

Logits, probabilities or log-probabilities, of any type, for all classes or for class 1 of two, rounded or quantized,
with -inf for classes that are masked: all become logits or log-probabilities [..., C] in float32 that predict the same
class. Probabilities are kept beside their logarithms, since these do not give back the numbers that were given.
"""

from typing import NamedTuple

import numpy as np

from failpred_jax.errors import numbered
from failpred_jax.prediction_file.odd_rows import (
    ROUNDED_TOLERANCE,
    SUM_TOLERANCE,
    Named,
    few_others,
    mostly_probabilities,
)
from failpred_jax.prediction_file.places import Places
from failpred_jax.prediction_file.rows import Conversion, Rows, to_float32

# Below this a probability is taken as it.
SMALLEST = 1e-300
# Beyond it, sums of logits leave float32.
LARGEST = 1e30
LOG_FLOOR = np.float32(np.log(SMALLEST))
_MOST_DECIMALS = 6
_LOOKED_AT = 2000
# What the rows of percentages, and of probabilities in bytes, sum to.
_WHOLES = (100, 255, 256)
_MOST_OFF = 0.05


class Outputs(NamedTuple):
    """Outputs in the form that everything here reads.

    Attributes:
      logits: [..., C] float32, logits or log-probabilities; zeros for units that are not kept.
      kind: what was found: 'logits', 'probabilities' or 'log-probabilities'.
      probs: [..., C] float32 in [0, 1], the probabilities as given, not divided by anything; None for other kinds.
    """

    logits: np.ndarray
    kind: str
    probs: np.ndarray | None = None


def read_outputs(
    outputs: np.ndarray,
    name: str,
    shape: tuple[int, ...],
    prefix: str,
    kept: np.ndarray,
    notes: list[str],
    problems: list[str],
    places: Places | None = None,
) -> Outputs | None:
    """Return outputs in the form that everything here reads, or None if they are not usable.

    Args:
      outputs: [..., C], or [...] for the one column of class 1 of two.
      name: 'logits', 'probs' or 'log_probs', as the user calls them.
      shape: of the units, [...].
      prefix: of the part, for messages.
      kept: [...] bool; what the other units hold does not matter.
      notes, problems: sentences for the user, added to.
      places: where the units are in the file; None where that is not known.
    """
    full = prefix + name
    if outputs.dtype.kind not in 'biuf':
        problems.append(f"'{full}' has type {outputs.dtype}; it must hold numbers")
        return None
    if outputs.shape == shape or (outputs.shape == (*shape, 1)):
        return _binary(outputs.reshape(shape), name, full, kept, notes, problems, places)
    if outputs.shape[:-1] != shape or outputs.ndim != len(shape) + 1:
        hint = ''
        if len(shape) == 1 and outputs.ndim == 2 and outputs.shape[1] == shape[0]:
            hint = f'; transpose it: {full}.T'
        elif len(shape) == 3 and outputs.ndim == 4 and (outputs.shape[0], *outputs.shape[2:]) == shape:
            hint = f'; the classes come last: {full}.transpose(0, 2, 3, 1)'
        problems.append(
            f"'{full}' has shape {outputs.shape}; it must be {(*shape, 'C')}, the shape of labels and classes{hint}"
        )
        return None
    if outputs.shape[-1] < 2 or not kept.any():
        if outputs.shape[-1] < 2:
            problems.append(f"'{full}' has {outputs.shape[-1]} classes; there must be at least 2")
        return None
    rows = Rows(outputs, kept)

    def named(which: np.ndarray) -> str:
        return '' if places is None else f' ({places.named(rows.among_all(which))})'

    found = _looked_at(rows, name, full, notes, problems, named)
    if found is None:
        return None
    kind, convert = found
    full_shape = (*shape, outputs.shape[-1])
    probs = rows.probabilities(full_shape) if kind == 'probabilities' else None
    return Outputs(rows.converted(convert, full_shape), kind, probs)


def _looked_at(
    rows: Rows, name: str, full: str, notes: list[str], problems: list[str], named: Named
) -> tuple[str, Conversion | None] | None:
    """Return what rows are and how a block of them [M, C] float64 becomes logits or log-probabilities.

    Without a conversion they are raw logits; None if they are not usable. `named` says where rows are.
    """
    low, high = rows.range()
    if not high < np.inf or np.isnan(low):
        bad = rows.each(lambda block: (np.isnan(block) | np.isposinf(block)).sum(axis=-1))
        what = 'value that is' if bad.sum() == 1 else 'values that are'
        problems.append(
            f"'{full}' holds {int(bad.sum()):,} {what} NaN or +infinity{named(bad > 0)}; every class of a unit needs a "
            'number'
        )
        return None
    if max(-rows.lowest_finite(low), high) > LARGEST:
        problems.append(f"'{full}' holds values beyond {LARGEST:.0e}, which no softmax tells apart; rescale them")
        return None
    if name == 'probs':
        return _probabilities(rows, (low, high), full, notes, problems, named)
    if low >= -SUM_TOLERANCE:
        sums = rows.each(_sums)
        if high <= 1 + ROUNDED_TOLERANCE and _sum_to_one(sums, _allowed(rows)).all():
            notes.append(f"the rows of '{full}' sum to 1: treated as probabilities, not as {name}")
            return _probabilities(rows, (low, high), full, notes, problems, named)
        whole = _whole_of(sums, rows)
        if low >= 0 and whole:
            problems.append(
                f"'{full}' sums to about {whole} in every row, as percentages or bytes do; divide by it: "
                f'{name} / {name}.sum(-1, keepdims=True); raw logits can do without a constant: {name} - 1'
            )
            return None
    if low == -np.inf:
        masked = rows.each(lambda block: np.isneginf(block).sum(axis=-1))
        if (masked == rows.num_classes).any():
            whole = masked == rows.num_classes
            units = numbered(int(whole.sum()), 'unit')
            problems.append(f"'{full}' holds -infinity for every class of {units}{named(whole)}")
            return None
        notes.append(
            f"'{full}' holds -infinity for {int(masked.sum()):,} classes of units: those classes are masked, so their "
            'probability is 0, and scores that need every logit are unavailable'
        )
        return 'log-probabilities', _normalized
    is_normalized = high <= 1e-6 and np.abs(rows.each(log_sum_exp)).max() <= SUM_TOLERANCE
    if name == 'log_probs' and not is_normalized:
        problems.append(_no_log_probs(rows, full, named))
        return None
    if not is_normalized:
        notes += mostly_probabilities(rows, name, full, _allowed(rows), named)
        return 'logits', None
    if name != 'log_probs':
        notes.append(f"the exponentials of the rows of '{full}' sum to 1: treated as log-probabilities")
    return 'log-probabilities', _normalized


def _no_log_probs(rows: Rows, full: str, named: Named) -> str:
    totals = rows.each(log_sum_exp)
    off = (np.abs(totals) > SUM_TOLERANCE) | rows.each(lambda block: block.max(axis=-1) > 1e-6)
    return (
        f"'{full}' are no log-probabilities: in {numbered(int(off.sum()), 'unit')}{named(off)} their exponentials "
        f'do not sum to 1 (but to such as {np.exp(min(totals[off][0], 99)):.4g}); logits are named '
        f"'{full.replace('log_probs', 'logits')}'"
    )


def _binary(
    column: np.ndarray,
    name: str,
    full: str,
    kept: np.ndarray,
    notes: list[str],
    problems: list[str],
    places: Places | None,
) -> Outputs | None:
    """Return the two classes of a single column, which is that of class 1."""
    values = column[kept].astype(np.float64)
    if not values.size:
        return None

    def named(which: np.ndarray) -> str:
        bad = np.zeros(kept.shape, bool)
        bad[kept] = which
        return '' if places is None else f' ({places.named(bad)})'

    is_usable = np.abs(values) <= LARGEST
    if not is_usable.all():
        count = numbered(int((~is_usable).sum()), 'value')
        problems.append(f"'{full}' holds {count} not finite, or beyond {LARGEST:.0e}{named(~is_usable)}")
        return None
    if name == 'log_probs':
        values, name = np.exp(values), 'probs'
    # As logits they would all predict class 1; nobody's logits of many units lie there by chance.
    looks_like_probs = name == 'logits' and values.min() >= 0 and values.max() <= 1
    if looks_like_probs:
        notes.append(f"the column '{full}' lies within [0, 1]: treated as probabilities, not as logits")
        name = 'probs'
    if name == 'probs':
        outside = (values < 0) | (values > 1)
        if outside.any():
            problems.append(
                f"'{full}' is one column, of class 1 of two, and has {numbered(int(outside.sum()), 'value')} outside "
                f'[0, 1]{named(outside)}'
            )
            return None
        probs = _both_classes(values, column.dtype)
        rows, kind = _log(probs), 'probabilities'
    else:
        probs = None
        rows, kind = np.stack([np.zeros_like(values), values], axis=-1), 'logits'
    notes.append(
        f"'{full}' is one column: treated as {'the probability' if name == 'probs' else 'the logit'} of class 1 of 2"
    )
    found = [np.zeros((*column.shape, 2), np.float32) for _ in range(2)]
    found[0][kept] = to_float32(rows)
    if probs is None:
        return Outputs(found[0], kind)
    found[1][kept] = probs
    return Outputs(found[0], kind, found[1])


def _both_classes(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the probabilities of class 0 and class 1, [M, 2] float64, of those of class 1 of some type.

    Decimals are those of float64: 1 less the float32 next to 0.99 is not the float32 next to 0.01, and units of equal
    confidence would be told apart.
    """
    places = range(1, _MOST_DECIMALS + 1) if dtype == np.float32 else ()
    decimals = next((d for d in places if _are_decimals(values[:_LOOKED_AT], d) and _are_decimals(values, d)), 0)
    values = np.round(values, decimals) if decimals else values
    return np.stack([1 - values, values], axis=-1)


def _probabilities(
    rows: Rows, ends: tuple[float, float], full: str, notes: list[str], problems: list[str], named: Named
) -> tuple[str, Conversion] | None:
    """Return how class probabilities are made to sum to 1, or None if these are something else."""
    low, high = ends
    sums, allowed = rows.each(_sums), _allowed(rows)
    is_outside = low < -SUM_TOLERANCE or high > 1 + ROUNDED_TOLERANCE
    off = np.abs(sums - 1)
    is_one = _sum_to_one(sums, allowed)
    if (is_outside or not is_one.all()) and (told := few_others(rows, sums, full, allowed, named)):
        problems.append(told)
        return None
    if is_outside:
        if low >= 0 and sums[0] > 1.5 and np.abs(sums - sums[0]).max() < 0.05 * sums[0]:
            problems.append(
                f"'{full}' sums to about {sums[0]:.4g} in every row, as percentages or bytes do; divide by it: "
                'probs / probs.sum(-1, keepdims=True)'
            )
        else:
            # Of samples there are probabilities alone.
            remedy = f"name them '{full.replace('probs', 'logits')}'"
            if full.endswith(('mc_probs', 'ensemble_probs')):
                remedy = f'give their softmax, scipy.special.softmax({full}, axis=-1)'
            problems.append(
                f"'{full}' has values outside [0, 1], from {low:.4g} to {high:.4g}; are they logits? Then {remedy}"
            )
        return None
    if not is_one.all():
        unit = int(np.where(is_one, 0, off).argmax())
        problems.append(
            f"'{full}' does not sum to 1 for {numbered(int((~is_one).sum()), 'unit')}{named(~is_one)}, such as "
            f'{sums[unit]:.4g}; if unnormalized, divide each row by its sum: probs / probs.sum(-1, keepdims=True); '
            'the sigmoids of several yes-or-no labels are not the probabilities of classes'
        )
        return None
    if off.max() > SUM_TOLERANCE:
        notes.append(
            f"'{full}' was rounded: {int((off > SUM_TOLERANCE).sum()):,} rows are off 1, by {off.max():.2g} at most; "
            'confidences are computed from the numbers as they are, and for the log-likelihood and fits every row is '
            'divided by its sum'
        )

    def convert(block: np.ndarray) -> np.ndarray:
        block = np.clip(block, 0, None)
        return _log(block / block.sum(axis=-1, keepdims=True))

    return 'probabilities', convert


def _allowed(rows: Rows) -> float:
    """Return how far rounding may take the sums of rows from 1."""
    return max(ROUNDED_TOLERANCE, rows.num_classes * _rounding_step(rows) / 2)


def _sum_to_one(sums: np.ndarray, allowed: float) -> np.ndarray:
    """Return which sums are 1 up to rounding; one of 0 never is."""
    return (np.abs(sums - 1) <= allowed) & (sums > 0)


def _whole_of(sums: np.ndarray, rows: Rows) -> int:
    """Return what rows of no probabilities all sum to up to rounding, as percentages do; 0 if it is nothing known."""
    for whole in _WHOLES:
        step = _rounding_step(rows, 100) if whole == 100 else 1 / whole
        allowed = min(_MOST_OFF, max(ROUNDED_TOLERANCE, rows.num_classes * step / 2))
        if np.abs(sums / whole - 1).max() <= allowed:
            return whole
    return 0


def _rounding_step(rows: Rows, whole: int = 1) -> float:
    """Return 10^-d if all values of some rows, as shares of a whole, have d decimals (d of 1 to 6), else 0."""
    for decimals in range(1, _MOST_DECIMALS + 1):
        if all(_are_decimals(block / whole, decimals) for block in rows.some(_LOOKED_AT)):
            return 10.0**-decimals
    return 0.0


def _are_decimals(values: np.ndarray, decimals: int) -> bool:
    """Return whether values [...] float64 have so many decimals, to float32's rounding."""
    return bool((np.round(values, decimals).astype(np.float32) == values.astype(np.float32)).all())


def _sums(rows: np.ndarray) -> np.ndarray:
    return rows.sum(axis=-1)


def _log(probs: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probs, SMALLEST))


def log_sum_exp(rows: np.ndarray) -> np.ndarray:
    """Return log(sum(exp(row))) of rows [M, C] float64: [M]."""
    largest = rows.max(axis=-1)
    return largest + np.log(np.exp(rows - largest[..., None]).sum(axis=-1))


def _normalized(rows: np.ndarray) -> np.ndarray:
    """Return log-probabilities, none below the floor."""
    return np.maximum(rows - log_sum_exp(rows)[..., None], LOG_FLOOR)
