"""A model's outputs as people have them: what they are is found by looking at the values, and said.

Logits, probabilities or log-probabilities, of any type, for all classes or for class 1 of two, rounded or quantized,
with -inf for classes that are masked: all become logits or log-probabilities [..., C] in float32 that predict the same
class.
"""

import numpy as np

# A row of probabilities that sums to 1 within this is one.
SUM_TOLERANCE = 1e-3
# Rounding may take a row this far from 1, whatever its type; it is divided by its sum, and that is said.
ROUNDED_TOLERANCE = 0.01
# Below this a probability is taken as it.
SMALLEST = 1e-300
# Beyond it, sums of logits leave float32.
LARGEST = 1e30
LOG_FLOOR = np.float32(np.log(SMALLEST))
_MOST_DECIMALS = 6


def read_outputs(
    outputs: np.ndarray,
    name: str,
    shape: tuple[int, ...],
    prefix: str,
    kept: np.ndarray,
    notes: list[str],
    problems: list[str],
) -> tuple[np.ndarray, str] | None:
    """Return (logits or log-probabilities [..., C] float32, what they are), or None if they are not usable.

    Args:
      outputs: [..., C], or [...] for the one column of class 1 of two.
      name: 'logits', 'probs' or 'log_probs', as the user calls them.
      shape: of the units, [...].
      prefix: of the part, for messages.
      kept: [...] bool; what the other units hold does not matter.
      notes, problems: sentences for the user, added to.

    Returns:
      What they are: 'logits', 'probabilities' or 'log-probabilities'. Units that are not kept hold zeros.
    """
    full = prefix + name
    if outputs.dtype.kind not in 'biuf':
        problems.append(f"'{full}' has type {outputs.dtype}; it must hold numbers")
        return None
    if outputs.shape == shape or (outputs.shape == (*shape, 1)):
        return _binary(outputs.reshape(shape), name, full, kept, notes, problems)
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
    rows = outputs[kept].astype(np.float64)
    found, kind = _rows(rows, name, full, notes, problems)
    if found is None:
        return None
    result = np.zeros((*shape, outputs.shape[-1]), np.float32)
    result[kept] = _to_float32(found)
    return result, kind


def _rows(
    rows: np.ndarray, name: str, full: str, notes: list[str], problems: list[str]
) -> tuple[np.ndarray | None, str]:
    """Return rows [N, C] float64 as logits or log-probabilities, and what they are; None if they are not usable."""
    if np.isnan(rows).any() or np.isposinf(rows).any():
        bad = np.isnan(rows) | np.isposinf(rows)
        problems.append(
            f"'{full}' holds {int(bad.sum()):,} values that are NaN or +infinity, first in unit "
            f'{int(bad.any(axis=-1).argmax())}; every class of a unit needs a number'
        )
        return None, ''
    if np.abs(rows[np.isfinite(rows)]).max(initial=0) > LARGEST:
        problems.append(f"'{full}' holds values beyond {LARGEST:.0e}, which no softmax tells apart; rescale them")
        return None, ''
    if name == 'probs':
        normalized = _probabilities(rows, full, notes, problems)
        return (None, '') if normalized is None else (_log(normalized), 'probabilities')
    if (rows >= 0).all() and _sum_to_one(rows):
        notes.append(f"the rows of '{full}' sum to 1: treated as probabilities, not as {name}")
        return _log(rows / rows.sum(axis=-1, keepdims=True)), 'probabilities'
    masked = np.isneginf(rows)
    if masked.all(axis=-1).any():
        problems.append(f"'{full}' holds -infinity for every class of {int(masked.all(axis=-1).sum()):,} units")
        return None, ''
    normal = _log_softmax(rows)
    is_normalized = (rows <= 1e-6).all() and np.abs(_logsumexp(rows)).max() <= SUM_TOLERANCE
    if masked.any():
        notes.append(
            f"'{full}' holds -infinity for {int(masked.sum()):,} classes of units: those classes are masked, so their "
            'probability is 0, and scores that need every logit are unavailable'
        )
        return np.maximum(normal, LOG_FLOOR), 'log-probabilities'
    if is_normalized or name == 'log_probs':
        if name == 'log_probs' and not is_normalized:
            problems.append(
                f"'{full}' are no log-probabilities: the exponentials of row 0 sum to "
                f"{np.exp(_logsumexp(rows))[0]:.4g}; logits are named '{full.replace('log_probs', 'logits')}'"
            )
            return None, ''
        if name != 'log_probs':
            notes.append(f"the exponentials of the rows of '{full}' sum to 1: treated as log-probabilities")
        return np.maximum(normal, LOG_FLOOR), 'log-probabilities'
    return rows, 'logits'


def _binary(
    column: np.ndarray, name: str, full: str, kept: np.ndarray, notes: list[str], problems: list[str]
) -> tuple[np.ndarray, str] | None:
    """Return the two classes of a single column, which is that of class 1."""
    values = column[kept].astype(np.float64)
    if not values.size:
        return None
    is_usable = np.abs(values) <= LARGEST
    if not is_usable.all():
        problems.append(
            f"'{full}' holds {int((~is_usable).sum()):,} values that are not finite, or beyond {LARGEST:.0e}"
        )
        return None
    if name == 'log_probs':
        values, name = np.exp(values), 'probs'
    # As logits they would all predict class 1; nobody's logits of many units lie there by chance.
    looks_like_probs = name == 'logits' and values.min() >= 0 and values.max() <= 1
    if looks_like_probs:
        notes.append(f"the column '{full}' lies within [0, 1]: treated as probabilities, not as logits")
        name = 'probs'
    if name == 'probs':
        if values.min() < 0 or values.max() > 1:
            problems.append(f"'{full}' is one column, of class 1 of two, and has values outside [0, 1]")
            return None
        rows, kind = _log(np.stack([1 - values, values], axis=-1)), 'probabilities'
    else:
        rows, kind = np.stack([np.zeros_like(values), values], axis=-1), 'logits'
    notes.append(
        f"'{full}' is one column: treated as {'the probability' if name == 'probs' else 'the logit'} of class 1 of 2"
    )
    result = np.zeros((*column.shape, 2), np.float32)
    result[kept] = _to_float32(rows)
    return result, kind


def _probabilities(rows: np.ndarray, full: str, notes: list[str], problems: list[str]) -> np.ndarray | None:
    """Return class probabilities that sum to 1, or None if these are something else."""
    sums = rows.sum(axis=-1)
    low, high = rows.min(), rows.max()
    if low < -SUM_TOLERANCE or high > 1 + ROUNDED_TOLERANCE:
        if low >= 0 and np.abs(sums / sums[0] - 1).max() < 0.05 and sums[0] > 1.5:
            problems.append(
                f"'{full}' sums to about {sums[0]:.4g} in every row, as percentages or bytes do; divide by it: "
                'probs / probs.sum(-1, keepdims=True)'
            )
        else:
            problems.append(
                f"'{full}' has values outside [0, 1], from {low:.4g} to {high:.4g}; are they logits? Then name them "
                f"'{full.replace('probs', 'logits')}'"
            )
        return None
    off = np.abs(sums - 1)
    allowed = max(ROUNDED_TOLERANCE, rows.shape[-1] * _rounding_step(rows) / 2)
    if off.max() > allowed:
        unit = int(off.argmax())
        problems.append(
            f"'{full}' does not sum to 1 for {int((off > allowed).sum()):,} units, such as {sums[unit]:.4g} for "
            f'unit {unit}; if unnormalized, divide each row by its sum: probs / probs.sum(-1, keepdims=True); '
            'the sigmoids of several yes-or-no labels are not the probabilities of classes'
        )
        return None
    if off.max() > SUM_TOLERANCE:
        notes.append(
            f"'{full}' was rounded: {int((off > SUM_TOLERANCE).sum()):,} rows are off 1, by {off.max():.2g} at most; "
            'every row is divided by its sum'
        )
    rows = np.clip(rows, 0, None)
    return rows / rows.sum(axis=-1, keepdims=True)


def _rounding_step(rows: np.ndarray) -> float:
    """Return 10^-d if all values have d decimals (d of 1 to 6), else 0."""
    sample = rows[:: max(1, len(rows) // 2000)]
    for decimals in range(1, _MOST_DECIMALS + 1):
        scaled = sample * 10.0**decimals
        if np.abs(scaled - np.round(scaled)).max() < 1e-3 * 10.0 ** (decimals - _MOST_DECIMALS):
            return 10.0**-decimals
    return 0.0


def _sum_to_one(rows: np.ndarray) -> bool:
    return bool(np.abs(rows.sum(axis=-1) - 1).max() <= SUM_TOLERANCE)


def _log(probs: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probs, SMALLEST))


def _logsumexp(rows: np.ndarray) -> np.ndarray:
    largest = rows.max(axis=-1)
    return largest + np.log(np.exp(rows - largest[..., None]).sum(axis=-1))


def _log_softmax(rows: np.ndarray) -> np.ndarray:
    return rows - _logsumexp(rows)[..., None]


def _to_float32(rows: np.ndarray) -> np.ndarray:
    """Return float64 rows as float32 of which each predicts the same class; a tie by rounding is broken as before."""
    cast = rows.astype(np.float32)
    predicted = rows.argmax(axis=-1)
    units = np.flatnonzero(cast.argmax(axis=-1) != predicted)
    if units.size:
        largest = cast[units].max(axis=-1)
        cast[units, predicted[units]] = np.nextafter(largest, np.float32(np.inf))
    return cast
