"""What is kept of a part as it is given: confidences, columns to slice by, groups, ids, weights, features, samples."""

from collections.abc import Mapping

import numpy as np

from failpred_jax.prediction_file.belonging import read_group, read_ids, read_weight
from failpred_jax.prediction_file.labels import missing_problem
from failpred_jax.prediction_file.outputs import read_outputs
from failpred_jax.prediction_file.places import Places
from failpred_jax.readers.columns import is_number

CONFIDENCE = 'confidence_'
OUTPUTS = ('logits', 'probs', 'log_probs')
SAMPLES = ('mc_probs', 'ensemble_probs')
# What has a meaning of its own, so that it is no further column to slice by.
NO_SLICES = (*OUTPUTS, 'labels', 'predicted', 'correct', 'features', 'mask', 'group', 'id', 'weight')

# Where only these say what is right, units can be told apart by them.
COMPARED = {'labels': 'true_class', 'predicted': 'predicted_class'}


def taken(rows: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Return the rows of [..., D] that are kept: [N, D]; all of them are not copied."""
    rows = rows.reshape(-1, rows.shape[-1])
    return rows if flat.all() else rows[flat]


def flattened(
    given: Mapping[str, np.ndarray], flat: np.ndarray, prefix: str, problems: list[str], places: Places
) -> dict:
    """Return the fields of Units that are kept as they are given, of the units that are kept.

    Args:
      given: arrays by name, without their prefix.
      flat: [N] bool, which units are kept.
      prefix: of the part, for messages.
      problems: sentences for the user, added to.
      places: where the units are in the file.
    """
    confidences, slices, samples = {}, {}, {}
    for name, array in given.items():
        if name.startswith(CONFIDENCE):
            values = array.reshape(-1)[flat]
            confidences[name.removeprefix(CONFIDENCE)] = values
            problem = _confidence_problem(array.reshape(-1), flat, f'{prefix}{name}', prefix, places)
            if problem:
                problems.append(problem)
        elif name in SAMPLES:
            rows = places.of_kept(flat, array.shape[-2])
            samples[name] = _samples(array.reshape(-1, *array.shape[-2:])[flat], prefix + name, problems, rows)
        elif name not in NO_SLICES:
            slices[name] = array.reshape(-1)[flat]
        elif name in COMPARED and not any(output in given for output in OUTPUTS):
            slices[COMPARED[name]] = array.reshape(-1)[flat]
    features = given.get('features')
    if features is not None:
        features = taken(features, flat)
        if features.dtype.kind not in 'biuf' or not np.isfinite(features).all():
            problems.append(f"'{prefix}features' holds values that are not finite numbers")
        else:
            features = features.astype(np.float32, copy=False)
    group, group_names = read_group(given, flat, prefix, problems, places)
    return {
        'confidences': confidences, 'slices': slices, 'samples': samples, 'features': features, 'group': group,
        'group_names': group_names, 'ids': read_ids(given, flat, prefix, problems),
        'weight': read_weight(given, flat, prefix, problems),
    }  # fmt: skip


def _confidence_problem(values: np.ndarray, flat: np.ndarray, name: str, prefix: str, places: Places) -> str:
    if values.dtype.kind in 'US':
        bad = flat & ~np.array([is_number(word) for word in values.tolist()])
        if not bad.any():
            return f"'{name}' holds numbers as words (type {values.dtype}); give them as numbers"
        return (
            f"'{name}' holds words, such as '{values[bad][0]!s}' ({places.named(bad)}); it must hold numbers, without "
            'thousands separators and units'
        )
    if values.dtype.kind not in 'biuf':
        return f"'{name}' has type {values.dtype}; it must hold numbers"
    if values.dtype.kind == 'f' and (missing := flat & np.isnan(values)).any():
        return f'{missing_problem(missing, name, prefix, places)}; a ranking needs numbers (infinities are allowed)'
    return ''


def _samples(array: np.ndarray, name: str, problems: list[str], places: Places) -> np.ndarray:
    if array.shape[1] < 2:
        problems.append(f"'{name}' holds {array.shape[1]} distribution per unit; there must be at least 2")
    every = np.ones(array.shape[:2], bool)
    found = read_outputs(array, 'probs', array.shape[:2], name.removesuffix('probs'), every, [], problems, places)
    return array if found is None or found.probs is None else found.probs
