"""The same predictions given twice, as logits and as probabilities: one of the two is read."""

from collections.abc import Mapping

import numpy as np

from failpred_jax.prediction_file.fields import OUTPUTS
from failpred_jax.prediction_file.outputs import SUM_TOLERANCE, log_sum_exp
from failpred_jax.prediction_file.places import Places

# Rows looked at in float64 at once hold so many values.
_BLOCK_VALUES = 1 << 20


def without_repeated(
    given: Mapping[str, np.ndarray], prefix: str, notes: list[str], problems: list[str], in_file: np.ndarray | None
) -> Mapping[str, np.ndarray]:
    """Return the arrays of a part with one kind of outputs, where several are of the same predictions.

    Probabilities stay beside log-probabilities, since they are the numbers that were computed with; raw logits stay
    beside either, since these do not have their scale.

    Args:
      given: arrays by name, without their prefix.
      prefix: of the part, for messages.
      notes: sentences for the user, added to.
      problems: the same; on outputs that are not of the same predictions.
      in_file: where the units stood in the file, from 0; None where it holds no others.
    """
    names = [name for name in OUTPUTS if name in given]
    if len(names) < 2:
        return given
    arrays = {name: np.asarray(given[name]) for name in names}
    shapes = {array.shape for array in arrays.values()}
    is_usable = [a.ndim > 1 and a.shape[-1] > 1 and a.dtype.kind in 'fiu' for a in arrays.values()]
    if len(shapes) > 1 or not all(is_usable):
        problems.append(f"'{prefix}{names[0]}' and '{prefix}{names[1]}' are both there; keep one")
        return given
    rows = {name: array.reshape(-1, array.shape[-1]) for name, array in arrays.items()}
    count, num_classes = rows[names[0]].shape
    places = Places(in_file, int(np.prod(arrays[names[0]].shape[1:-1])))
    differs = np.zeros(count, bool)
    step, is_raw = max(1, _BLOCK_VALUES // num_classes), False
    for start in range(0, count, step):
        blocks = {name: array[start : start + step].astype(np.float64) for name, array in rows.items()}
        probs, raw = _as_probabilities(blocks)
        is_raw |= raw
        first = probs.pop(names[0])
        for other in probs.values():
            same = np.isclose(first, other, rtol=0, atol=SUM_TOLERANCE, equal_nan=True)
            differs[start : start + step] |= ~same.all(axis=-1)
    if differs.any():
        both = ' and '.join(f"'{prefix}{name}'" for name in names)
        problems.append(f'{both} are both there and do not agree in {places.named(differs)}; keep one')
        return given
    kept = 'logits' if is_raw else 'probs' if 'probs' in names else names[0]
    dropped = [f"'{prefix}{name}'" for name in names if name != kept]
    say = 'says' if len(dropped) == 1 else 'say'
    notes.append(f"{' and '.join(dropped)} {say} the same as '{prefix}{kept}', which is read")
    return {name: array for name, array in given.items() if name == kept or name not in names}


def _as_probabilities(blocks: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], bool]:
    """Return probabilities of each kind of outputs [M, C], and whether the logits are more than their logarithms."""
    found, is_raw = {}, False
    with np.errstate(invalid='ignore', over='ignore'):
        for name, rows in blocks.items():
            total = np.zeros(len(rows)) if name == 'probs' else log_sum_exp(rows)
            found[name] = rows if name == 'probs' else np.exp(rows - total[:, None])
            is_raw |= name == 'logits' and bool((np.abs(total) > SUM_TOLERANCE).any())
    return found, is_raw
