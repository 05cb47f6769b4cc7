"""The evaluation folder: what is in it, written whole, and read back as `Results`.

metrics.json      {'classifier': {metric: value}, 'scores': {score: {metric: value, 'ci': {metric: [low, high]}}},
                  ...}; an undefined value is null, with its reason under 'undefined'
table.md          the same for people
predictions.npz   labels, logits, correct, confidence_<score>: one row a unit (of a segmentation: of a uniform sample)
images.npz        images, where they were kept for the report
maps.npz          segmentation: image, label (-1 for void), prediction, confidence_<score>, each [M, H, W, ...], of M
                  images with their number 'index' [M] in the test set and their 'accuracy' [M]
augmentation.npz  where training changes images at random: image [M, R, H, W, channels], M training images as stored
                  (first of R) and under random changes, their places 'index' [M]; segmentation: label [M, R, H, W]
curves.json       segmentation: {score: {'counts': {threshold, units, correct}, 'histogram': {edges, correct, wrong}}}
                  over all pixels
context.json      what the report says of the run besides its figures
history.json      the stages' curves
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.files import DAMAGE, read_json, read_npz, whole_files, write_json, write_npz, write_text
from failpred_jax.results import Results

PREFIX = 'confidence_'


def without_nan(value: Any) -> Any:
    """Return nested containers with NaN as None, plain Python numbers, and tuples as lists, for JSON."""
    if isinstance(value, dict):
        return {str(k): without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(v) for v in value]
    if isinstance(value, np.ndarray):
        return without_nan(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_results(results: Results, table: str, folder: Path) -> None:
    """Write an evaluation folder; metrics.json comes last, so a folder that has it is complete."""
    arrays = {'labels': results.labels, 'logits': results.logits, 'correct': results.correct}
    arrays |= {PREFIX + name: value for name, value in results.confidences.items()}
    metrics = dict(results.metrics)
    curves = metrics.pop('curves', None)
    # Not every evaluation has these; what an earlier one left of them goes.
    optional = {
        'images.npz': None if results.images is None else {'images': results.images},
        'maps.npz': results.maps,
        'augmentation.npz': results.augmented,
        'curves.json': curves,
    }
    with whole_files(folder, last='metrics.json') as aside:
        write_npz(aside / 'predictions.npz', arrays)
        for name, kept in optional.items():
            if kept is not None and name.endswith('.npz'):
                write_npz(aside / name, kept)
        if curves is not None:
            write_json(aside / 'curves.json', without_nan(curves))
        write_json(aside / 'context.json', without_nan(dict(results.context)))
        write_json(aside / 'history.json', without_nan({k: dict(v) for k, v in results.history.items()}))
        write_text(aside / 'table.md', table)
        write_json(aside / 'metrics.json', without_nan(metrics))
    for name, kept in optional.items():
        if kept is None:
            (folder / name).unlink(missing_ok=True)


def read_results(folder: Path) -> Results:
    """Read an evaluation folder.

    Raises:
      UserError: it is missing, incomplete or damaged.
    """
    if not (folder / 'metrics.json').exists():
        raise UserError(f'{folder} holds no evaluation (metrics.json is missing); run --mode=evaluate first')
    try:
        arrays = read_npz(folder / 'predictions.npz')
        images, maps, curves = (folder / name for name in ('images.npz', 'maps.npz', 'curves.json'))
        augmented = folder / 'augmentation.npz'
        metrics = read_json(folder / 'metrics.json')
        if curves.exists():
            metrics['curves'] = read_json(curves)
        return Results(
            metrics=metrics,
            context=read_json(folder / 'context.json'),
            labels=arrays['labels'],
            logits=arrays['logits'],
            correct=arrays['correct'],
            confidences={k.removeprefix(PREFIX): v for k, v in arrays.items() if k.startswith(PREFIX)},
            images=read_npz(images)['images'] if images.exists() else None,
            history=read_json(folder / 'history.json'),
            maps=read_npz(maps) if maps.exists() else None,
            augmented=read_npz(augmented) if augmented.exists() else None,
        )
    except DAMAGE as error:
        raise UserError(
            f'{folder} cannot be read ({type(error).__name__}: {error}); run --mode=evaluate again'
        ) from error
