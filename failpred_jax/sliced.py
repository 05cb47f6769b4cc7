"""Where a run or a file of predictions fails, and which kinds of low confidence grew, into the WORKDIR's `slices`."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from failpred_jax.console import say
from failpred_jax.errors import UserError, numbered
from failpred_jax.label.pool import Pool
from failpred_jax.label.sheet import make_sheet
from failpred_jax.labelled import gallery_of, now
from failpred_jax.pools import features_of, pool_of_file
from failpred_jax.prediction_file import Units, read_predictions
from failpred_jax.prediction_file.outcome_columns import outcome_columns
from failpred_jax.predictor import load
from failpred_jax.results import read_evaluation
from failpred_jax.results.failing import (
    FOLDER,
    SHEET,
    TABLE,
    Failing,
    grown_line,
    write_failing,
    wrong_line,
)
from failpred_jax.slicing import SliceUnits, find_failing, find_grown
from failpred_jax.slicing.conditions import chosen_columns
from failpred_jax.slicing.search import Search

# Units shown of each confirmed slice.
NUM_EXEMPLARS = 10
# What --mode=predict writes besides the predictions, which is no property of a unit.
DERIVED = ('calibrated_', 'decision', 'audit')
# What a file's own column of predictions is called: it is a condition of its own.
PREDICTED = 'predicted_class'


class Known(NamedTuple):
    """What is searched, and what is shown of it.

    Attributes:
      units: N of them.
      ids: [N] words.
      labels: [N] words, or None.
      images: places [M] -> images; None where there are none.
      source: in words, from where it is.
      notes: sentences.
      class_names, score: by which two files are told to be of one model.
    """

    units: SliceUnits
    ids: np.ndarray
    labels: np.ndarray | None
    images: Callable[[np.ndarray], np.ndarray] | None
    source: str
    notes: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    score: str = ''


class Asked(NamedTuple):
    """What is asked for: names of columns (None for all), and the seed."""

    columns: Sequence[str] | None = None
    seed: int = 0


def slices_of_run(workdir: Path, asked: Asked) -> Path:
    """Search the test units of an evaluated run, with the network's features where its images were kept.

    Raises:
      UserError: the run was not evaluated, or there is nothing to search.
    """
    evaluation = read_evaluation(workdir / 'evaluation')
    test = evaluation.test
    if evaluation.run.is_segmentation:
        raise UserError('pixels of one image err together, so slices of pixels are not searched')
    correct = _right_or_wrong(test.correct)
    has_classes = len(test.labels) == len(correct)
    names = np.array([str(name) for name in evaluation.run.dataset.class_names])
    kept = evaluation.images if evaluation.images is not None and len(evaluation.images) == len(correct) else None
    features, notes = _features(workdir, kept, test.logits if has_classes else None)
    pool = Pool(np.arange(len(correct)).astype(str), test.confidences)
    confidence = pool.confidence()[0] if test.confidences else None
    about = test.about
    labels = names[test.labels] if has_classes else about.columns.get('true_class')
    predicted = names[test.logits.argmax(axis=1)] if has_classes else about.columns.get(PREDICTED)
    columns, left = properties(about.columns, asked.columns, correct, labels)
    known = Known(
        SliceUnits(
            wrong=~correct,
            confidence=confidence,
            predicted=predicted,
            columns=columns,
            features=features,
            group=about.group,
        ),
        pool.ids if about.ids is None else about.ids,
        labels,
        None if kept is None else lambda rows: kept[rows],
        str(workdir),
        (*notes, *left),
    )
    return _write('errors', known, find_failing(known.units, _further(asked), asked.seed), workdir, asked)


def _features(
    workdir: Path, images: np.ndarray | None, logits: np.ndarray | None
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the features of a run's test images, or else their logits, and a sentence on which."""
    why = 'the run kept no images'
    if images is not None and (workdir / 'config.json').exists():
        try:
            return features_of(load(workdir), images), ()
        except UserError as error:
            why = str(error)
    if logits is None:
        return None, ()
    return logits, (f'clusters are of the logits, since there are no features ({why})',)


def _right_or_wrong(correct: np.ndarray) -> np.ndarray:
    if correct.dtype != bool:
        raise UserError(
            'slices are of right and wrong: say from which grade on a prediction is right, --right_at=GRADE'
        )
    return correct


def properties(
    columns: Mapping[str, np.ndarray],
    names: Sequence[str] | None,
    correct: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the columns that are properties of the units, and a sentence on those that say what is right.

    Args:
      columns: name -> [N].
      names: of the columns that are asked for; None for all.
      correct: [N] bool, or None where it is not known.
      labels: [N], or None where they are not known.

    Raises:
      UserError: a column is asked for that says what is right.
    """
    told = outcome_columns(columns, correct, labels)
    for name in names or ():
        if name in told:
            raise UserError(
                f"the column '{name}' holds {told[name]}, which say which predictions are wrong; a slice by it would "
                'only repeat that: name others, --columns=NAMES'
            )
    found = {
        name: values
        for name, values in columns.items()
        if not name.startswith(DERIVED) and name not in told and name != PREDICTED
    }
    left = ', '.join(f"'{name}' ({what})" for name, what in told.items())
    return found, (f'not searched, since it says which predictions are wrong: {left}',) if left else ()


def _further(asked: Asked) -> Sequence[str] | None:
    """Return the names of columns that are asked for, without the class predicted, which is searched in any case."""
    return None if asked.columns is None else [name for name in asked.columns if name != PREDICTED]


def check_columns_of_file(
    path: Path, names: Sequence[str], ignore_label: int | str | None = None, right_at: float | None = None
) -> None:
    """Raise UserError for names that are no columns to search, before anything is evaluated."""
    units = read_predictions(path, ignore_label, right_at)['evaluated']
    columns, _ = _properties_of(units, names)
    chosen_columns(columns, _further(Asked(names)))


def _properties_of(units: Units, names: Sequence[str] | None) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    correct = units.correct
    if correct is None and units.logits is not None and not units.is_segmentation:
        correct = units.logits.argmax(axis=1) == units.labels
    return properties(units.slices, names, correct, units.labels)


def slices_of_file(
    path: Path, workdir: Path, asked: Asked, ignore_label: int | str | None = None, right_at: float | None = None
) -> Path:
    """Search the units of a file of predictions.

    Raises:
      UserError: naming what is wrong with the file, or there is nothing to search.
    """
    units = read_predictions(path, ignore_label, right_at)['evaluated']
    if units.is_segmentation:
        raise UserError('pixels of one image err together, so slices of pixels are not searched')
    if units.logits is not None and units.labels is not None:
        correct = units.logits.argmax(axis=1) == units.labels
    else:
        assert units.correct is not None
        correct = units.correct
    correct = _right_or_wrong(correct)
    names = np.array(units.class_names)
    has_classes = units.logits is not None and units.labels is not None
    pool = Pool(np.arange(len(correct)).astype(str), units.confidences, units.probabilities)
    columns, left = _properties_of(units, asked.columns)
    labels = names[units.labels] if has_classes else units.slices.get('true_class')
    predicted = units.slices.get(PREDICTED) if units.logits is None else names[units.logits.argmax(axis=1)]
    notes = () if units.features is not None or units.logits is None else (
        "clusters are of the logits, since there are no 'features'",
    )  # fmt: skip
    known = Known(
        SliceUnits(
            wrong=~correct,
            confidence=pool.confidence()[0],
            predicted=predicted,
            columns=columns,
            features=units.logits if units.features is None else units.features,
            group=units.group,
        ),
        pool.ids if units.ids is None else units.ids,
        labels,
        None,
        path.name,
        (*notes, *left),
    )
    return _write('errors', known, find_failing(known.units, _further(asked), asked.seed), workdir, asked)


def grown_of_files(reference: Path, path: Path, workdir: Path, asked: Asked) -> Path:
    """Search for kinds of low confidence that are more frequent in a file of predictions than in a reference.

    Raises:
      UserError: naming what is wrong with a file, or the two are not of one model.
    """
    old, new = (_unlabeled(one, asked.columns) for one in (reference, path))
    if old.class_names != new.class_names:
        raise UserError(
            f"'{reference}' has {len(old.class_names)} classes, '{path}' has {len(new.class_names)}, or other names; "
            'give '
            'predictions of the same model'
        )
    if old.score != new.score:
        raise UserError(
            f"the confidence of '{reference}' is '{old.score}', that of '{path}' is '{new.score}'; give both the same"
        )
    return _write('grown', new, find_grown(old.units, new.units, _further(asked), asked.seed), workdir, asked)


def _unlabeled(path: Path, names: Sequence[str] | None) -> Known:
    source = pool_of_file(path)
    pool = source.pool
    features = pool.features
    if features is None and pool.probs is not None:
        features = np.log(np.maximum(pool.probs, 1e-6))
    confidence, score = pool.confidence()
    columns, left = properties(source.columns, names)
    units = SliceUnits(
        None, np.asarray(confidence), None if pool.predicted is None else pool.predicted_names,
        columns, features, source.group,
    )  # fmt: skip
    return Known(units, pool.ids, None, None, path.name, left, pool.class_names, score)


def _write(kind: str, known: Known, found: Search, workdir: Path, asked: Asked) -> Path:
    """Write a search, and return its folder."""
    rows, slices, places = [], [], []
    for one, mask in found.slices:
        if not one.is_confirmed:
            slices.append(one)
            continue
        chosen = exemplars(known.units, found.distance, mask)
        slices.append(dataclasses.replace(one, exemplars=(len(rows), len(chosen))))
        rows += [_row(one.name, known, int(row)) for row in chosen]
        places += chosen.tolist()
    images = gallery_of(known.images, np.array(places, np.int64))
    captions = [
        [row['id'], f'{row["label"]} as {row["predicted"]}' if row['label'] else row['predicted']]
        for row in rows[: 0 if images is None else len(images)]
    ]
    failing = Failing(
        kind=kind,
        name=kind,
        unit=found.unit,
        units=len(known.ids),
        searched=int(found.searched.sum()),
        rate=found.rate,
        tried=found.tried,
        columns=found.columns,
        seed=asked.seed,
        made=now(),
        source=known.source,
        slices=tuple(slices),
        rows=tuple(rows),
        notes=(*known.notes, *found.notes),
        images=images,
    )
    place = write_failing(failing, workdir / FOLDER, None if images is None else make_sheet(images, captions))
    _tell(failing, place)
    return place


def exemplars(units: SliceUnits, distance: np.ndarray | None, mask: np.ndarray) -> np.ndarray:
    """Return the units of a slice to look at: wrong ones, the most typical first (else the most confident)."""
    rows = np.flatnonzero(mask if units.wrong is None else mask & units.wrong)
    if distance is not None:
        order = distance[rows]
    else:
        order = np.zeros(len(rows)) if units.confidence is None else -np.asarray(units.confidence, np.float64)[rows]
    return rows[np.argsort(order, kind='stable')][:NUM_EXEMPLARS]


def _row(name: str, known: Known, row: int) -> dict[str, Any]:
    units = known.units
    has_labels = units.wrong is not None and known.labels is not None
    return {
        'slice': name,
        'id': str(known.ids[row]),
        'row': row,
        'label': str(known.labels[row]) if has_labels and known.labels is not None else '',
        'predicted': '' if units.predicted is None else str(units.predicted[row]),
        'confidence': np.nan if units.confidence is None else float(units.confidence[row]),
    }


def _tell(found: Failing, place: Path) -> None:
    is_grown, confirmed = found.kind == 'grown', found.confirmed
    if is_grown:
        tested = f'{numbered(found.tried, "kind")} of low confidence tested'
    else:
        tested = f'{numbered(found.tried, "slice")} searched, {len(found.slices)} tested'
    say(f'{tested}, {len(confirmed)} confirmed: {place / TABLE}')
    for one in confirmed:
        say(f'  {one.name}: {grown_line(one, found.unit) if is_grown else wrong_line(one, found.unit)}')
    if not confirmed:
        say('  none stands out beyond chance')
    for note in found.notes:
        say(f'  note: {note}')
    if (place / SHEET).exists():
        say(f'  exemplars: {place / SHEET}')
