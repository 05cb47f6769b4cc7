"""Labels that came back: which units of an audit they are of, and whether the predictions were right."""

from collections.abc import Mapping

import numpy as np

from failpred_jax.errors import UserError, nearest, numbered

LABELS = ('label', 'labels', 'y_true', 'target')


class OtherAuditError(Exception):
    """The labels are of other units than an audit asked for; the message says how one can tell.

    Attributes:
      share: of the labels that are of units of the audit all the same.
    """

    def __init__(self, message: str, share: float = 0.0) -> None:
        super().__init__(message)
        self.share = share


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
        raise UserError(
            f"'{where}' gives {numbered(len(set(differ)), 'unit')} two different labels: {names}; keep one of each"
        )
    were = 'was' if len(again) == 1 else 'were'
    notes = [f'{numbered(len(again), "label")} {were} returned twice, with the same value'] if len(again) else []
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
                is_not = 'id is not that' if len(strange) == 1 else 'ids are not those'
                raise OtherAuditError(
                    f"{len(strange):,} {is_not} of its row in the pool, such as '{strange[0]}'",
                    1 - len(strange) / len(keys),
                )
    else:
        named = _words(table['id'][has])
        drawn = ids[rows].astype(str)
        if len(np.unique(drawn)) < len(drawn):
            raise UserError("the pool calls several units by one id; return the column 'row' of to_label.csv too")
        rank_of = {name: rank for rank, name in enumerate(drawn.tolist())}
        keys = named.tolist()
    unknown = [key for key in keys if key not in rank_of]
    if unknown:
        called = ids[unknown[0]] if isinstance(unknown[0], int) and 0 <= unknown[0] < len(ids) else unknown[0]
        of = (
            'label is of a unit'
            if len(keys) == 1
            else 'labels is of a unit'
            if len(unknown) == 1
            else 'labels are of units'
        )
        raise OtherAuditError(
            f"{len(unknown):,} of {len(keys):,} {of} that it did not draw, such as '{called}'",
            1 - len(unknown) / len(keys),
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
    is_no = 'is no class' if len(strange) == 1 else 'are no classes'
    raise UserError(
        f"the labels hold {numbered(len(strange), 'word')} that {is_no}, such as '{strange[0]}'"
        f'{_meant(strange[0], known)}; the classes are '
        f'{", ".join(map(str, known[:12]))}{", ..." if len(known) > 12 else ""}'
    )


def _meant(word: str, known: np.ndarray) -> str:
    """Return a hint at the class that is meant: written in other letters, or nearly so."""
    same = [name for name in known.tolist() if name.casefold() == word.casefold()]
    return f"; did you mean '{same[0]}'?" if same else nearest(word, known.tolist(), 0.75)


def _as_bool(values: np.ndarray, where: str) -> np.ndarray:
    words = np.char.lower(_words(values))
    if np.isin(words, ('true', 'false', '1', '0')).all():
        return np.isin(words, ('true', '1'))
    raise UserError(f"'{where}': 'correct' must hold 1 and 0 (or true and false); it holds '{words[0]}'")


def share_labeled(ranks: np.ndarray, num_drawn: int, design: Mapping[str, np.ndarray]) -> tuple[float, list[str]]:
    """Return which share of the drawn units is labeled: from the top alone, since the order of the ranks is random.

    Raises:
      UserError: some are left out in between, as what is hard to label would be.
    """
    if len(ranks) == num_drawn:
        return 1.0, []
    if ranks[-1] == len(ranks) - 1:
        are = 'is' if len(ranks) == 1 else 'are'
        return len(ranks) / num_drawn, [
            f'the first {len(ranks):,} of {numbered(num_drawn, "unit")} {are} labeled; their order is '
            'random, so they are a sample too, unless labelling was stopped because of what was seen'
        ]
    left = np.setdiff1d(np.arange(ranks[-1]), ranks)
    names = ', '.join(repr(str(design['id'][design['row'][rank]])) for rank in left[:5])
    have = 'has' if len(left) == 1 else 'have'
    raise UserError(
        f'{numbered(len(left), "unit")} {have} no label although later ones do: {names}'
        f'{", ..." if len(left) > 5 else ""}; label them too, as leaving out what is hard to label biases the estimate '
        '(only the last ranks may be left out)'
    )
