"""The evaluation folder: what is in it, written whole, and read back.

metrics.json      {'classifier': {metric: value}, 'scores': {score: {metric: value, 'ci': {metric: [low, high]}}},
                  'per_class': the failure metrics within each predicted class, ...}; an undefined value is null, with
                  its reason under 'undefined'
table.md          the same for people
predictions.npz   labels, logits, correct, confidence_<score>: one row per unit (of a segmentation: a uniform sample);
                  of a file of predictions also its id, group, weight and further columns
validation.npz    the same of the validation units
calibration.npz   the same of the units that certificates alone read, where the config keeps some
confusion.npz     with more than 100 classes: label, predicted, count [M], the cells that are not zero, and num_classes
images.npz        images, where they were kept for the report
maps.npz          segmentation: image, label (-1 for void), prediction, confidence_<score>, each [M, H, W, ...], of M
                  images with their number 'index' [M] in the test set and their 'accuracy' [M]
augmentation.npz  where training changes images at random: image [M, R, H, W, channels], M training images as stored
                  (first of R) and under random changes, their places 'index' [M]; segmentation: label [M, R, H, W]
curves.json       segmentation: {score: {'counts': {threshold, units, correct}, 'histogram': {edges, correct, wrong}}}
                  over all pixels
context.json      what the report says of the run besides its figures
history.json      the stages' curves
fitted/           of a run: what the evaluation fitted, for new images; see fits.py
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.files import DAMAGE, read_json, read_npz, whole_files, write_json, write_npz, write_text
from failpred_jax.results import codec
from failpred_jax.results.evaluation import About, Evaluation, Predictions
from failpred_jax.results.fits import write_fits

PREFIX = 'confidence_'
_OPTIONAL = (
    'images.npz', 'validation.npz', 'calibration.npz', 'confusion.npz', 'maps.npz', 'augmentation.npz', 'curves.json',
)  # fmt: skip
OWN = ('labels', 'logits', 'probs', 'correct', 'id', 'group', 'weight')


def write_evaluation(evaluation: Evaluation, table: str, folder: Path) -> None:
    """Write an evaluation folder; metrics.json comes last, so a folder that has it is complete."""
    measures, confusion = evaluation.measures, evaluation.classifier.confusion
    is_wide = confusion is not None and confusion.num_classes > codec.MAX_DENSE_CLASSES
    # Not every evaluation has these; what an earlier one left of them goes.
    optional: dict[str, Any] = {
        'images.npz': None if evaluation.images is None else {'images': evaluation.images},
        'validation.npz': None if evaluation.validation is None else _arrays(evaluation.validation),
        'calibration.npz': None if evaluation.calibration is None else _arrays(evaluation.calibration),
        'confusion.npz': {name: np.asarray(x) for name, x in vars(confusion).items()} if is_wide else None,
        'maps.npz': evaluation.maps,
        'augmentation.npz': evaluation.augmented,
        'curves.json': codec.curves_to_json(measures.curves) if measures.curves else None,
    }
    # First: they name the evaluation that they belong to, and are of no use to another.
    write_fits(evaluation.fits, folder)
    with whole_files(folder, last='metrics.json') as aside:
        write_npz(aside / 'predictions.npz', _arrays(evaluation.test))
        for name, kept in optional.items():
            if kept is not None:
                (write_npz if name.endswith('.npz') else write_json)(aside / name, kept)
        write_json(aside / 'context.json', codec.run_to_json(evaluation.run, evaluation.seeds))
        write_json(aside / 'history.json', codec.to_json(evaluation.history))
        write_text(aside / 'table.md', table)
        write_json(aside / 'metrics.json', codec.measures_to_json(measures))
    for name, kept in optional.items():
        if kept is None:
            (folder / name).unlink(missing_ok=True)


def read_evaluation(folder: Path) -> Evaluation:
    """Read an evaluation folder.

    Raises:
      UserError: it is missing, incomplete or damaged.
    """
    if not (folder / 'metrics.json').exists():
        raise UserError(f'{folder} holds no evaluation (metrics.json is missing); run --mode=evaluate first')
    try:
        optional = {
            name: (read_npz if name.endswith('.npz') else read_json)(folder / name)
            for name in _OPTIONAL
            if (folder / name).exists()
        }
        run, seeds = codec.run_from_json(read_json(folder / 'context.json'))
        measures = codec.measures_from_json(
            read_json(folder / 'metrics.json'), optional.get('curves.json'), optional.get('confusion.npz')
        )
        return Evaluation(
            measures=measures,
            run=run,
            test=_predictions(read_npz(folder / 'predictions.npz')),
            validation=_predictions(optional['validation.npz']) if 'validation.npz' in optional else None,
            calibration=_predictions(optional['calibration.npz']) if 'calibration.npz' in optional else None,
            images=optional['images.npz']['images'] if 'images.npz' in optional else None,
            history=read_json(folder / 'history.json'),
            maps=optional.get('maps.npz'),
            augmented=optional.get('augmentation.npz'),
            seeds=seeds,
        )
    except DAMAGE as error:
        raise UserError(
            f'{folder} cannot be read ({type(error).__name__}: {error}); run --mode=evaluate again'
        ) from error


def _arrays(found: Predictions) -> dict[str, np.ndarray]:
    about = found.about
    known = {'id': about.ids, 'group': about.group, 'weight': about.weight, **about.columns}
    # Without classes, only what is right is known.
    own = {'labels': found.labels, 'logits': found.logits} if len(found.labels) else {}
    own |= {} if found.probs is None else {'probs': found.probs}
    own |= {'correct': found.correct} | {PREFIX + name: value for name, value in found.confidences.items()}
    return own | {name: value for name, value in known.items() if value is not None and name not in own}


def _predictions(arrays: Mapping[str, np.ndarray]) -> Predictions:
    confidences = {k.removeprefix(PREFIX): v for k, v in arrays.items() if k.startswith(PREFIX)}
    columns = {k: v for k, v in arrays.items() if k not in OWN and not k.startswith(PREFIX)}
    about = About(arrays.get('id'), arrays.get('group'), arrays.get('weight'), columns)
    labels, logits = arrays.get('labels', np.zeros(0, np.int32)), arrays.get('logits', np.zeros((0, 0), np.float32))
    return Predictions(labels, logits, arrays['correct'], confidences, about, arrays.get('probs'))
