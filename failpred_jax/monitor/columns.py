"""From a stream's arrays, as prediction files have them, to the checked units that a monitor counts."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from failpred_jax import apply
from failpred_jax.errors import NoRowsError, UserError, nearest
from failpred_jax.monitor.estimates import pairwise_agreement
from failpred_jax.monitor.reading import class_numbers, correctness, words
from failpred_jax.monitor.reference import Reference
from failpred_jax.monitor.scoring import score_of
from failpred_jax.prediction_file.file import as_numpy
from failpred_jax.prediction_file.names import SYNONYMS, plain_names
from failpred_jax.prediction_file.outputs import read_outputs

OUTPUTS = ('logits', 'probs', 'log_probs')
TIMES = ('time', 'timestamp', 'date')
_MEMBER = 'predicted_'


class Rows(NamedTuple):
    """Rows of a stream, in their order.

    Attributes:
      confidence: [n] in the type that the policy compares; NaN (of integers: see `is_known`) where it is missing.
      is_known: [n] bool, whether the row has a confidence; others are left out and counted.
      p_correct: [n] float64; NaN without a map.
      code: [n] uint8, the policy's tier of each row.
      predicted: [n] int64, class numbers, -1 where not known.
      correct: [n] float64: 1, 0, or NaN without a label.
      agreement: [n] float64, of several models; NaN where not known.
      skipped: [n] int64, rows of the stream before it that had no confidence; 0 until a monitor counts them.
      ids, times, group: [n] words; '' where there are none.
    """

    confidence: np.ndarray
    is_known: np.ndarray
    p_correct: np.ndarray
    code: np.ndarray
    predicted: np.ndarray
    correct: np.ndarray
    agreement: np.ndarray
    skipped: np.ndarray
    ids: np.ndarray
    times: np.ndarray
    group: np.ndarray

    def take(self, rows: Any) -> 'Rows':
        """Return some of the rows."""
        return Rows(*(column[rows] for column in self))

    def plus(self, other: 'Rows') -> 'Rows':
        """Return these rows and others after them."""
        return Rows(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))


class Signature(NamedTuple):
    """What all parts of a stream must have in common.

    Attributes:
      confidence: the column that it comes from: 'confidence_<score>', or the outputs that it is computed from.
      classes: C; 0 where outputs are not there.
      outputs_are: 'logits', 'probabilities', 'log-probabilities', or ''.
      predicted: whether classes are predicted.
      group: whether rows belong to groups.
      models: how many models predict; 0 for one.
    """

    confidence: str
    classes: int
    outputs_are: str
    predicted: bool
    group: bool
    models: int


def read_rows(
    arrays: Mapping[str, Any], policy: apply.Policy, reference: Reference, where: str
) -> tuple[Rows, Signature]:
    """Return the rows that arrays hold, and what they have in common with the rest of the stream.

    Args:
      arrays: name -> [n] or [n, C], as docs/monitoring.md lists them; others are ignored.
      policy, reference: what the rows are compared with.
      where: what is read, for messages.

    Raises:
      UserError: saying what is wrong with them.
    """
    given = _named(arrays, where, policy.score)
    outputs = next((name for name in OUTPUTS if name in given), '')
    source = f'confidence_{policy.score}'
    if source not in given and not outputs:
        raise UserError(_lacking(given, policy, where))
    first = given[source] if source in given else given[outputs]
    num = len(first) if first.ndim else 0
    if not num:
        raise NoRowsError(f'{where} holds no rows')
    classes, logits, outputs_are, probs = _outputs(given, outputs, num, reference, where)
    names = _class_names(given, classes, reference, where)
    _check_lengths(given, num, where)
    if source in given:
        confidence, is_known = _confidence(given[source], source, policy, where)
    else:
        assert logits is not None
        is_known = np.asarray(np.isfinite(logits).all(axis=1))
        known = np.where(is_known[:, None], logits, 0)
        confidence = _filled(score_of(policy.score, known, outputs_are, probs), policy)
    of_classes = names, classes or reference.num_classes, where
    predicted, chosen = _predicted(given, logits, *of_classes)
    correct = correctness(given, predicted, chosen, *of_classes)
    members = _members(given)
    found = _decided(policy, np.where(is_known, confidence, 0), _by(given, policy, chosen, where), where)
    rows = Rows(
        confidence=confidence,
        is_known=is_known,
        p_correct=np.full(num, np.nan) if found.p_correct is None else np.clip(found.p_correct, 0, 1),
        code=found.code,
        predicted=predicted,
        correct=correct,
        agreement=np.full(num, np.nan) if members is None else pairwise_agreement(members),
        skipped=np.zeros(num, np.int64),
        ids=words(given.get('id'), num),
        times=words(next((given[name] for name in TIMES if name in given), None), num),
        group=words(given.get('group'), num),
    )
    if 'group' in given and (rows.group == '').any():
        raise UserError(f"{where}: 'group' is missing for some rows; a row that belongs to no other needs its own")
    return rows, Signature(
        source if source in given else outputs,
        classes,
        '' if source in given else outputs_are,
        chosen is not None,
        'group' in given,
        0 if members is None else members.shape[1],
    )


def _named(arrays: Mapping[str, Any], where: str, score: str) -> dict[str, np.ndarray]:
    found, ours = {}, plain_names(arrays)
    for name, value in arrays.items():
        try:
            array = as_numpy(value)
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"{where}: '{name}' cannot be made an array: {error}") from error
        if array.ndim == 2 and array.shape[1] == 1 and ours[name] not in OUTPUTS:
            array = array[:, 0]
        stem = SYNONYMS.get(ours[name], ours[name])
        stem = _folded(stem) if _folded(stem) in TIMES else stem
        if stem in found:
            raise UserError(f"{where}: '{name}' and '{stem}' mean the same; keep one")
        found[stem] = array
    source = f'confidence_{score}'
    alike = [name for name in found if _folded(name) == _folded(source)]
    if source not in found and len(alike) == 1:
        found[source] = found.pop(alike[0])
    return found


def _folded(name: str) -> str:
    """Return a name without its capitals, and with one underscore for blanks, dots and dashes."""
    return re.sub(r'[\s._-]+', '_', name.strip().lower())


def _lacking(given: Mapping[str, np.ndarray], policy: apply.Policy, where: str) -> str:
    wanted = f'confidence_{policy.score}'
    there = ', '.join(list(given)[:12]) or 'nothing'
    # Another score under this name would be decided by thresholds that are not its own: only a misspelling is named.
    spelled = [name for name in given if not name.startswith('confidence_') or name.lower() == wanted.lower()]
    meant = nearest(wanted, spelled, 0.8) or '.'
    return (
        f"{where} has no column '{wanted}'{meant} The policy decides by the score "
        f"'{policy.score}' and by no other: give that column, or outputs (logits or probs) that it can be computed "
        f'from. The columns are: {there}'
    )


def _outputs(
    given: Mapping[str, np.ndarray], name: str, num: int, reference: Reference, where: str
) -> tuple[int, np.ndarray | None, str, np.ndarray | None]:
    """Return (C, logits or log-probabilities [n, C], what they are, probabilities [n, C] as given or None).

    A row with a NaN is NaN, and as likely of every class among the probabilities.
    """
    if not name:
        return 0, None, '', None
    values = given[name]
    if values.dtype.kind not in 'biuf':
        raise UserError(f"{where}: '{name}' has type {values.dtype}; it must hold numbers")
    kept = np.asarray(~np.isnan(values.reshape(num, -1).astype(np.float64)).any(axis=1))
    problems: list[str] = []
    found = read_outputs(
        np.where(kept.reshape(-1, *[1] * (values.ndim - 1)), values, 0), name, (num,), '', kept, [], problems
    )
    if problems:
        raise UserError(f'{where}: {problems[0]}')
    if found is None:
        # Every row is missing.
        return (values.shape[1] if values.ndim == 2 else 2), np.full((num, 2), np.nan), '', None
    logits, kind, probs = found
    if reference.num_classes and logits.shape[1] != reference.num_classes:
        raise UserError(
            f"{where} has {logits.shape[1]} classes ('{name}'), but the policy was made for {reference.num_classes}"
        )
    probs = None if probs is None else np.where(kept[:, None], probs, np.float32(1 / logits.shape[1]))
    return logits.shape[1], np.where(kept[:, None], logits, np.nan), kind, probs


def _class_names(given: Mapping[str, np.ndarray], classes: int, reference: Reference, where: str) -> tuple[str, ...]:
    names = tuple(map(str, given['class_names'].tolist())) if 'class_names' in given else ()
    if names and classes and len(names) != classes:
        raise UserError(f"{where}: 'class_names' has {len(names)} names, but there are {classes} classes")
    numbered = tuple(map(str, range(len(names))))
    if names and reference.class_names and names not in (reference.class_names, numbered):
        raise UserError(
            f'{where} has other classes ({", ".join(names[:5])}) than the policy '
            f'({", ".join(reference.class_names[:5])}), '
            'or in another order'
        )
    return reference.class_names or names


def _check_lengths(given: Mapping[str, np.ndarray], num: int, where: str) -> None:
    for name, array in given.items():
        is_read = name in ('labels', 'correct', 'predicted', 'id', 'group', *TIMES) or name.startswith(_MEMBER)
        if is_read and (array.ndim != 1 or len(array) != num):
            raise UserError(f"{where}: '{name}' has shape {array.shape}; it must be ({num},), as the confidences")


def _confidence(values: np.ndarray, name: str, policy: apply.Policy, where: str) -> tuple[np.ndarray, np.ndarray]:
    if values.ndim != 1:
        raise UserError(f"{where}: '{name}' has shape {values.shape}; it must be one value per row, ({len(values)},)")
    if values.dtype.kind not in 'biuf':
        bad = next((str(x) for x in values.tolist() if not _is_number(x)), '')
        raise UserError(f"{where}: '{name}' has type {values.dtype}, such as '{bad}'; it must hold numbers")
    is_known = ~np.isnan(values) if values.dtype.kind == 'f' else np.ones(len(values), bool)
    if policy.dtype == 'integer' and values.dtype.kind == 'f':
        if (values[is_known] != np.round(values[is_known])).any():
            raise UserError(f"{where}: '{name}' holds fractions, but the policy's score is an integer")
        values = np.where(is_known, values, 0).astype(np.int64)
    try:
        apply.check_scale(policy, values[is_known])
    except apply.PolicyError as error:
        raise UserError(f"{where}: '{name}': {error}") from error
    return _filled(values, policy), is_known


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _filled(values: np.ndarray, policy: apply.Policy) -> np.ndarray:
    """Return confidences in the type that the policy compares; NaN stays."""
    if policy.dtype == 'integer':
        return values.astype(np.int64)
    return values.astype(np.float32 if policy.dtype == 'float32' else np.float64)


def _predicted(
    given: Mapping[str, np.ndarray], logits: np.ndarray | None, names: tuple[str, ...], num_classes: int, where: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the predicted class numbers [n] (-1 where not known), and what was predicted as given, or None."""
    if 'predicted' in given:
        numbers = class_numbers(given['predicted'], names, num_classes, 'predicted', where)
        unknown = np.full(len(given['predicted']), -1)
        return unknown if numbers is None else numbers, given['predicted']
    if logits is None:
        num = len(next(iter(given.values())))
        return np.full(num, -1), None
    is_known = np.asarray(np.isfinite(logits).all(axis=1))
    chosen = np.where(is_known, np.argmax(np.where(is_known[:, None], logits, 0), axis=1), -1)
    return chosen, chosen


def _members(given: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Return what several models predict, [n, T], or None where fewer than two are there."""
    if 'ensemble_probs' in given:
        probs = given['ensemble_probs']
        return np.argmax(probs, axis=-1) if probs.ndim == 3 and probs.shape[1] > 1 else None
    columns = [
        words(given[name], len(given[name]))
        for name in sorted(given)
        if name.startswith(_MEMBER) and name.removeprefix(_MEMBER).removeprefix('seed').lstrip('_').isdecimal()
    ]
    return np.stack(columns, axis=1) if len(columns) > 1 else None


def _decided(policy: apply.Policy, confidence: np.ndarray, by: np.ndarray | None, where: str) -> apply.Decisions:
    try:
        return apply.decide(policy, confidence, groups=by)
    except apply.PolicyError as error:
        raise UserError(f'{where}: {error}') from error


def _by(
    given: Mapping[str, np.ndarray], policy: apply.Policy, chosen: np.ndarray | None, where: str
) -> np.ndarray | None:
    """Return the group of each row that the policy has a threshold for, or None where it has one for all."""
    if not policy.groups:
        return None
    by = str(policy.content.get('by') or 'predicted')
    values = chosen if by == 'predicted' else given.get(by)
    if values is None:
        raise UserError(f"{where} has no column '{by}', by which the policy has thresholds of their own")
    # What numbers cannot name is refused there.
    return values if values.dtype.kind in 'iuf' else words(values, len(values))


def unknown_groups(arrays: Mapping[str, Any], policy: apply.Policy) -> set[str]:
    """Return the groups in the column by which a policy has thresholds that it has none for, in words."""
    by = str(policy.content.get('by') or 'predicted')
    values = np.asarray(arrays[by]) if policy.groups and by in arrays else np.empty(0)
    if values.ndim != 1 or not len(values):
        return set()
    distinct = np.unique(words(values, len(values)))
    places = apply.group_places(policy, distinct, len(distinct))
    return set() if places is None else set(distinct[places < 0].tolist())
