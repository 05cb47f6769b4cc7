"""A model's outputs as people have them: what they are is found by looking at the values, and said.

Logits, probabilities or log-probabilities, of any type, for all classes or for class 1 of two, rounded or quantized,
with -inf for classes that are masked: all become logits or log-probabilities [..., C] in float32 that predict the same
class.
"""

import numpy as np

from failpred_jax.prediction_file.rows import Conversion, Rows, to_float32

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
_LOOKED_AT = 2000


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
    rows = Rows(outputs, kept)
    found = _looked_at(rows, name, full, notes, problems)
    if found is None:
        return None
    kind, convert = found
    return rows.converted(convert, (*shape, outputs.shape[-1])), kind


def _looked_at(
    rows: Rows, name: str, full: str, notes: list[str], problems: list[str]
) -> tuple[str, Conversion | None] | None:
    """Return what rows are and how a block of them [M, C] float64 becomes logits or log-probabilities.

    Without a conversion they are raw logits; None if they are not usable.
    """
    low, high = rows.range()
    if not high < np.inf or np.isnan(low):
        count, first = rows.count_bad()
        problems.append(
            f"'{full}' holds {count:,} values that are NaN or +infinity, first in unit {first}; every class of a unit "
            'needs a number'
        )
        return None
    if max(-rows.lowest_finite(low), high) > LARGEST:
        problems.append(f"'{full}' holds values beyond {LARGEST:.0e}, which no softmax tells apart; rescale them")
        return None
    if name == 'probs':
        return _probabilities(rows, (low, high), full, notes, problems)
    if low >= 0 and np.abs(rows.each(_sums) - 1).max() <= SUM_TOLERANCE:
        notes.append(f"the rows of '{full}' sum to 1: treated as probabilities, not as {name}")
        return 'probabilities', lambda block: _log(block / block.sum(axis=-1, keepdims=True))
    if low == -np.inf:
        masked = rows.each(lambda block: np.isneginf(block).sum(axis=-1))
        if (masked == rows.num_classes).any():
            whole = int(np.count_nonzero(masked == rows.num_classes))
            problems.append(f"'{full}' holds -infinity for every class of {whole:,} units")
            return None
        notes.append(
            f"'{full}' holds -infinity for {int(masked.sum()):,} classes of units: those classes are masked, so their "
            'probability is 0, and scores that need every logit are unavailable'
        )
        return 'log-probabilities', _normalized
    is_normalized = high <= 1e-6 and np.abs(rows.each(_logsumexp)).max() <= SUM_TOLERANCE
    if name == 'log_probs' and not is_normalized:
        problems.append(
            f"'{full}' are no log-probabilities: the exponentials of row 0 sum to "
            f"{np.exp(_logsumexp(rows.first()))[0]:.4g}; logits are named '{full.replace('log_probs', 'logits')}'"
        )
        return None
    if not is_normalized:
        return 'logits', None
    if name != 'log_probs':
        notes.append(f"the exponentials of the rows of '{full}' sum to 1: treated as log-probabilities")
    return 'log-probabilities', _normalized


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
    result[kept] = to_float32(rows)
    return result, kind


def _probabilities(
    rows: Rows, ends: tuple[float, float], full: str, notes: list[str], problems: list[str]
) -> tuple[str, Conversion] | None:
    """Return how class probabilities are made to sum to 1, or None if these are something else."""
    low, high = ends
    sums = rows.each(_sums)
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
    allowed = max(ROUNDED_TOLERANCE, rows.num_classes * _rounding_step(rows) / 2)
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

    def convert(block: np.ndarray) -> np.ndarray:
        block = np.clip(block, 0, None)
        return _log(block / block.sum(axis=-1, keepdims=True))

    return 'probabilities', convert


def _rounding_step(rows: Rows) -> float:
    """Return 10^-d if all values of some rows have d decimals (d of 1 to 6), else 0."""
    for decimals in range(1, _MOST_DECIMALS + 1):
        scaled = (block * 10.0**decimals for block in rows.some(_LOOKED_AT))
        allowed = 1e-3 * 10.0 ** (decimals - _MOST_DECIMALS)
        if all(np.abs(block - np.round(block)).max() < allowed for block in scaled):
            return 10.0**-decimals
    return 0.0


def _sums(rows: np.ndarray) -> np.ndarray:
    return rows.sum(axis=-1)


def _log(probs: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probs, SMALLEST))


def _logsumexp(rows: np.ndarray) -> np.ndarray:
    largest = rows.max(axis=-1)
    return largest + np.log(np.exp(rows - largest[..., None]).sum(axis=-1))


def _normalized(rows: np.ndarray) -> np.ndarray:
    """Return log-probabilities, none below the floor."""
    return np.maximum(rows - _logsumexp(rows)[..., None], LOG_FLOOR)
