"""Candidates for wrong labels of a run or of a file of predictions, into the WORKDIR's folder `labelling`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import softmax

from failpred_jax.config import read_saved
from failpred_jax.console import say
from failpred_jax.data import load_data
from failpred_jax.data.sources import images_of
from failpred_jax.errors import UserError
from failpred_jax.files import DAMAGE, read_json, read_npz
from failpred_jax.label.issues import check_held_out, find_issues
from failpred_jax.label.sheet import make_sheet
from failpred_jax.labelled import gallery_of, now
from failpred_jax.prediction_file import read_predictions
from failpred_jax.results import read_evaluation
from failpred_jax.results.labelled import FOLDER, MOST_SHOWN, TABLES, Labelled, write_labelled

ORIGINS = ('crossfit', 'insample')


class Part(NamedTuple):
    """Units whose labels are looked at.

    Attributes:
      name: 'test' or 'train'.
      probs: [N, C], by a model that has not seen these labels.
      labels: [N] int.
      ids: [N] words, or None for their numbers.
      images: places [M] -> images [M, H, W, channels] uint8; None where there are none.
    """

    name: str
    probs: np.ndarray
    labels: np.ndarray
    ids: np.ndarray | None = None
    images: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def accuracy(self) -> float:
        """Share of the units whose prediction is their label."""
        return float(np.mean(self.probs.argmax(axis=1) == self.labels))


def issues_of_run(workdir: Path) -> list[Path]:
    """Write the candidates among a run's test labels, and among its training labels if these were cross-fitted.

    Raises:
      UserError: the run was not evaluated, or classifies no single units.
    """
    evaluation = read_evaluation(workdir / 'evaluation')
    test = evaluation.test
    if evaluation.run.is_segmentation or not len(test.labels):
        raise UserError('label issues are of units with one label and class probabilities each; there are none here')
    kept = evaluation.images
    images = None if kept is None or len(kept) != len(test.labels) else lambda rows: kept[rows]
    names = tuple(map(str, evaluation.run.dataset.class_names))
    parts = [Part('test', _softmax(test.logits), test.labels, test.about.ids, images)]
    held_out = workdir / 'crossfit' / 'logits.npz'
    notes = []
    if held_out.exists():
        try:
            parts.append(_crossfitted(workdir, held_out))
        except UserError as error:
            notes.append(f'the training labels were not looked at: {error}')
    elif (workdir / 'config.json').exists():
        notes.append(
            'the training labels were not looked at: a model that has seen them hides what is wrong; train with '
            '--config.confidence.targets=crossfit for predictions by classifiers that have not'
        )
    return _write(parts, names, workdir, str(workdir), notes)


def _crossfitted(workdir: Path, file: Path) -> Part:
    """Return the training units of a run with their held-out predictions."""
    config = read_saved(read_json(workdir / 'config.json'))
    train = load_data(config.data, workdir / 'split.npz').train
    try:
        logits = read_npz(file)['logits']
    except DAMAGE as error:
        raise UserError(f"'{file}' cannot be read ({error}); restore it") from error
    if len(logits) != len(train.labels):
        raise UserError(f'{len(train.labels):,} training images are there, and {len(logits):,} held-out predictions')
    return Part('train', _softmax(logits), train.labels, None, lambda rows: images_of(train)[rows])


def issues_of_file(
    path: Path, workdir: Path, train_origin: str = '', ignore_label: int | str | None = None
) -> list[Path]:
    """Write the candidates among the labels of a file of predictions.

    Args:
      path: the file. Its units are taken to be held out, as those of every evaluation.
      workdir: gets the folder `labelling`.
      train_origin: 'crossfit' where the predictions of the train_ part are of models that had not seen these units;
        '' leaves that part alone.
      ignore_label: units of this label are left out.

    Raises:
      UserError: there are no labels with probabilities, or the origin of the training part does not allow for it.
    """
    check_origin(train_origin)
    found = read_predictions(path, ignore_label)
    parts, notes = [], []
    for name, prefix in (('evaluated', 'test'), ('training', 'train')):
        units = found.get(name)
        if units is None or (name == 'training' and not train_origin):
            continue
        if units.labels is None or units.logits is None or units.is_segmentation:
            raise UserError("label issues need 'labels' and 'logits' or 'probs', one row per unit")
        probs = units.probabilities
        assert probs is not None
        parts.append(Part(prefix, probs.astype(np.float64), units.labels, units.ids))
    if 'training' in found and not train_origin:
        notes.append(
            'the train_... part was not looked at: say where its predictions come from (--train_origin=crossfit if '
            'each is by a model that was trained without the unit)'
        )
    return _write(parts, found['evaluated'].class_names, workdir, path.name, notes)


def check_origin(train_origin: str) -> None:
    """Raise a UserError for an origin of training predictions that is none, or from which no label can be doubted."""
    if train_origin and train_origin not in ORIGINS:
        raise UserError(f"--train_origin is '{train_origin}'; it must be one of: {', '.join(ORIGINS)}")
    if train_origin == 'insample':
        raise UserError(
            'predictions of a model on the labels that it was trained on hide label errors, since it has learned '
            'them; give cross-fitted ones (each unit by a model trained without it), and --train_origin=crossfit'
        )


def _softmax(logits: np.ndarray) -> np.ndarray:
    return softmax(logits.astype(np.float64), axis=1)


def _write(parts: Sequence[Part], names: tuple[str, ...], workdir: Path, source: str, notes: list[str]) -> list[Path]:
    """Look at every part before the first is written, and return the folders."""
    reference, made = parts[0], []
    warnings = [
        check_held_out(part.accuracy, len(part.labels), reference.accuracy, len(reference.labels))
        if part is not reference
        else check_held_out(part.accuracy, len(part.labels), np.nan, 0)
        for part in parts
    ]
    for part, warning in zip(parts, warnings, strict=True):
        made.append(_write_part(part, names, workdir, source, [*filter(None, [warning]), *notes]))
    return made


def _write_part(part: Part, names: tuple[str, ...], workdir: Path, source: str, notes: list[str]) -> Path:
    found = find_issues(part.probs, part.labels)
    words = np.array(names or [str(i) for i in range(part.probs.shape[1])])
    rows: list[dict[str, Any]] = [
        {
            'rank': rank + 1,
            'id': str(row) if part.ids is None else part.ids[row],
            'row': row,
            'given': words[part.labels[row]],
            'suggested': words[found.suggested[rank]],
            'confidence': float(part.probs[row, found.suggested[rank]]),
            'confidence_given': float(part.probs[row, part.labels[row]]),
            'margin': float(found.margin[rank]),
            'candidate': int(found.is_candidate[rank]),
        }
        for rank, row in enumerate(found.rows.tolist())
    ]
    images = gallery_of(part.images, found.rows[:MOST_SHOWN])
    captions = [
        [f'{row["rank"]}: {row["id"]}', f'{row["given"]} -> {row["suggested"]}?', f'margin {row["margin"]:.3f}']
        for row in rows[: 0 if images is None else len(images)]
    ]
    labelled = Labelled(
        kind='issues',
        name=f'issues-{part.name}',
        strategy=part.name,
        units=len(part.labels),
        score='margin of the suggested class',
        made=now(),
        source=source,
        candidates=int(found.is_candidate.sum()),
        accuracy=part.accuracy,
        notes=(*found.notes, *notes),
        images=images,
    )
    sheet = None if images is None else make_sheet(images, captions)
    place = write_labelled(labelled, rows, workdir / FOLDER, sheet=sheet)
    say(
        f'{part.name}: {labelled.candidates:,} of {len(part.labels):,} labels are doubted, and {len(rows):,} '
        f'predictions differ from theirs: {place / TABLES["issues"]}'
    )
    for note in labelled.notes:
        say(f'  note: {note}')
    return place
