"""Labels that came back: which units of an audit they are of, and whether the predictions were right."""

from collections.abc import Mapping

import numpy as np

from failpred_jax.errors import UserError

LABELS = ('label', 'labels', 'y_true', 'target')


class OtherAuditError(Exception):
    """The labels are of other units than an audit asked for; the message says how one can tell."""


def matched(
    table: Mapping[str, np.ndarray], design: Mapping[str, np.ndarray], where: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the ranks [n] that have a label, from 0 and rising, whether each prediction is wrong, and sentences.

    Args:
      table: what came back, name -> column; see `labelled.estimate`.
      design: of the audit: id [N], row [budget], inclusion [N], predicted_name [N], and perhaps predicted [N] and
        class_names [C].
      where: the name of the file, for messages.

    Raises:
      OtherAuditError: the labels are of other units.
      UserError: they contradict one another, or are no classes.
    """
    label = next((table[name] for name in LABELS if name in table), None)
    given = table.get('correct') if label is None else label
    if given is None or not {'id', 'row'} & table.keys():
        raise UserError(
            f"'{where}' must have a column 'label' (or 'correct') and a column 'id' or 'row', as the audit's "
            f'to_label.csv; it has: {", ".join(table)}'
        )
    has = ~_is_empty(given)
    if not has.any():
        raise UserError(f"'{where}' holds no label: fill in its column '{'correct' if label is None else 'label'}'")
    ranks = _ranks(table, design, has)
    if 'probability' in table and table['probability'].dtype.kind == 'f':
        expected = design['inclusion'][design['row'][ranks]]
        if not np.allclose(table['probability'][has], expected, rtol=1e-6, atol=0):
            raise OtherAuditError('its sampling probabilities are others, so it was drawn from another pool')
    values = given[has]
    wrong = _is_wrong(values, design, design['row'][ranks]) if label is not None else ~_as_bool(values, where)
    order = np.argsort(ranks, kind='stable')
    ranks, wrong, words = ranks[order], wrong[order], _words(values)[order]
    again = np.flatnonzero(np.diff(ranks) == 0)
    differ = [int(ranks[i]) for i in again if words[i] != words[i + 1]]
    if differ:
        names = ', '.join(repr(str(design['id'][design['row'][rank]])) for rank in dict.fromkeys(differ[:5]))
        raise UserError(f"'{where}' gives {len(set(differ)):,} units two different labels: {names}; keep one of each")
    notes = [f'{len(again):,} labels were returned twice, with the same value'] if len(again) else []
    first = np.concatenate([[True], np.diff(ranks) > 0])
    return ranks[first], wrong[first], notes


def _ranks(table: Mapping[str, np.ndarray], design: Mapping[str, np.ndarray], has: np.ndarray) -> np.ndarray:
    """Return the rank, from 0, of each row that has a label."""
    ids, rows = design['id'], design['row']
    if 'row' in table and table['row'].dtype.kind in 'iuf':
        rank_of = {int(row): rank for rank, row in enumerate(rows)}
        keys = table['row'][has].astype(np.int64).tolist()
        if 'id' in table:
            named = _words(table['id'][has])
            strange = [n for k, n in zip(keys, named, strict=True) if not 0 <= k < len(ids) or str(ids[k]) != n]
            if strange:
                raise OtherAuditError(f'{len(strange):,} ids are not those of its pool, such as {strange[0]!r}')
    else:
        named = _words(table['id'][has])
        drawn = ids[rows].astype(str)
        if len(np.unique(drawn)) < len(drawn):
            raise UserError("the pool calls several units by one id; return the column 'row' of to_label.csv too")
        rank_of = {name: rank for rank, name in enumerate(drawn.tolist())}
        keys = named.tolist()
    unknown = [key for key in keys if key not in rank_of]
    if unknown:
        raise OtherAuditError(
            f'{len(unknown):,} of the labels are of units that it did not draw, such as {unknown[0]!r}'
        )
    return np.array([rank_of[key] for key in keys], np.int64)


def _is_empty(values: np.ndarray) -> np.ndarray:
    return np.isnan(values) if values.dtype.kind == 'f' else _words(values) == '' if values.dtype.kind in 'SU' else (
        np.zeros(len(values), bool)
    )  # fmt: skip


def _words(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == 'f' and np.isfinite(values).all() and (values == np.round(values)).all():
        values = values.astype(np.int64)
    if values.dtype.kind == 'S':
        values = np.char.decode(values, 'utf-8', 'replace')
    return np.char.strip(values.astype(str))


def _is_wrong(values: np.ndarray, design: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return whether each prediction is wrong, from true classes by name or by number."""
    words, names = _words(values), design['predicted_name'].astype(str)
    known = design.get('class_names')
    if known is None:
        if (names == '').all():
            raise UserError(
                'the pool does not say what was predicted, so a label cannot tell whether it is right: return '
                "'correct' "
                '(1 or 0) instead'
            )
        return words != names[rows]
    if np.isin(words, known).all():
        return words != names[rows]
    numbers = [str(number) for number in range(len(known))]
    if np.isin(words, numbers).all():
        return words != design['predicted'][rows].astype(str)
    strange = [word for word in dict.fromkeys(words.tolist()) if word not in known]
    raise UserError(
        f'the labels hold {len(strange):,} that are no classes, such as {strange[0]!r}; the classes are '
        f'{", ".join(map(str, known[:12]))}{", ..." if len(known) > 12 else ""}'
    )


def _as_bool(values: np.ndarray, where: str) -> np.ndarray:
    words = np.char.lower(_words(values))
    if np.isin(words, ('true', 'false', '1', '0')).all():
        return np.isin(words, ('true', '1'))
    raise UserError(f"'{where}': 'correct' must hold 1 and 0 (or true and false); it holds {words[0]!r}")


def share_labeled(ranks: np.ndarray, num_drawn: int, design: Mapping[str, np.ndarray]) -> tuple[float, list[str]]:
    """Return which share of the drawn units is labeled: from the top alone, since the order of the ranks is random.

    Raises:
      UserError: some are left out in between, as what is hard to label would be.
    """
    if len(ranks) == num_drawn:
        return 1.0, []
    if ranks[-1] == len(ranks) - 1:
        return len(ranks) / num_drawn, [
            f'the first {len(ranks):,} of {num_drawn:,} units are labeled; their order is random, so they are a '
            'sample too, unless labelling was stopped because of what was seen'
        ]
    left = np.setdiff1d(np.arange(ranks[-1]), ranks)
    names = ', '.join(repr(str(design['id'][design['row'][rank]])) for rank in left[:5])
    raise UserError(
        f'{len(left):,} units have no label although later ones do: {names}{", ..." if len(left) > 5 else ""}; label '
        'them too, as leaving out what is hard to label biases the estimate (only the last ranks may be left out)'
    )
