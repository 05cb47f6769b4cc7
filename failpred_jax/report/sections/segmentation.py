"""Segmentation: image, labels, prediction, errors and confidence maps side by side."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import htpy as h
import numpy as np

from failpred_jax.report import figures_classes, figures_images, paint, words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Table
from failpred_jax.report.view import View

MAX_SIDE = 280  # pixels of a map on the page
CONFIDENCE = 'confidence_'  # how the names of confidence maps start


class Panel(NamedTuple):
    """One picture of a row.

    Attributes:
      title: what it shows.
      picture: [H, W, 1 or 3] uint8.
      storage: how `figures_images.data_uri` stores it.
    """

    title: str
    picture: np.ndarray
    storage: dict[str, Any]


@report_section(
    'segmentation',
    order=70,
    title='Segmentation',
    question='Where in the image is the model wrong, and does the confidence show it?',
)
def fill(view: View, section: Section) -> None:
    """Add maps of a few images and the overlap of each class; nothing for a classifier."""
    maps = view.evaluation.maps
    if not view.is_segmentation and not maps:
        return
    if maps and len(maps.get('image', ())):
        _add_maps(section, view, maps)
    else:
        section.missing('Maps unavailable: the evaluation holds no maps of test images.')
    _add_iou(section, view)


def _add_maps(section: Section, view: View, maps: Mapping[str, np.ndarray]) -> None:
    num = len(maps['image'])
    try:
        pictures, note = figures_images.as_pictures(maps['image'])
    except ValueError as error:
        pictures, note = None, f'Images unavailable: {error}.'
    section.text(
        'Errors are dark orange. Confidence runs from dark (low) to pale (high), on one scale for all images of a '
        f'score, from its lowest 1{words.THIN}% to its highest. A good map is dark exactly where the errors are. Gray '
        'pixels are void: they are not evaluated.',
        note,
    )
    section.add(_class_key(view))
    titles = _titles(maps, num)
    order = np.argsort(-maps['accuracy'].astype(np.float64), kind='stable') if 'accuracy' in maps else range(num)
    for place, row in enumerate(order):
        title = titles[row]
        panels = _panels(view, maps, None if pictures is None else pictures[row], row)
        section.heading(title)
        items = [
            h.figure[
                h.img(
                    src=figures_images.data_uri(panel.picture, MAX_SIDE, **panel.storage),
                    alt=f'{panel.title} of {title}',
                    loading='lazy',
                ),
                h.figcaption[panel.title],
            ]
            for panel in panels
        ]
        section.add(h.div('.maps')[items])
        section.figures[f'maps_{place}'] = functools.partial(
            figures_images.image_grid,
            [panel.picture for panel in panels],
            [panel.title for panel in panels],
            title,
            columns=4,
            cell=240,
        )


def _panels(view: View, maps: Mapping[str, np.ndarray], picture: np.ndarray | None, row: int) -> list[Panel]:
    """Return the pictures of one image; those that the evaluation does not hold are left out."""
    size = len(view.class_names)
    label, prediction = (maps[name][row] if name in maps else None for name in ('label', 'prediction'))
    panels = [] if picture is None else [Panel('image', picture, {'lossy': True})]
    if label is not None:
        panels.append(Panel('label', paint.labels(label, size), {}))
    if prediction is not None:
        panels.append(Panel('prediction', paint.labels(prediction, size), {}))
    if label is not None and prediction is not None:
        panels.append(Panel('errors', paint.errors(label, prediction, size), {}))
    scores = [key.removeprefix(CONFIDENCE) for key in maps if key.startswith(CONFIDENCE)]
    for score in sorted(scores, key=lambda s: view.scores.index(s) if s in view.scores else len(view.scores)):
        values = maps[CONFIDENCE + score].astype(np.float64)
        finite = values[np.isfinite(values)]
        # Not from 0 to 1: of a score that is nearly always close to 1, all maps would look the same.
        low, high = np.quantile(finite, [0.01, 0.99]) if finite.size else (0.0, 1.0)
        panels.append(Panel(view.label(score), paint.confidence(values[row], low, high), {'num_colors': 32}))
    return panels


def _titles(maps: Mapping[str, np.ndarray], num: int) -> list[str]:
    """Return 'Among the best: ...', ... with number and accuracy of each image, as far as they are known."""
    accuracy = maps['accuracy'].astype(np.float64) if 'accuracy' in maps else None
    index = maps.get('index')
    ranks = np.full(num, -1)
    if accuracy is not None:
        ranks[np.argsort(-accuracy, kind='stable')] = np.arange(num)
    titles = []
    for row in range(num):
        third = 'Image'
        if accuracy is not None and num >= 3:
            place = ranks[row] / (num - 1)
            third = 'Among the best' if place < 1 / 3 else 'Among the worst' if place > 2 / 3 else 'Around the median'
        name = f'test image {int(index[row])}' if index is not None else f'image {row + 1}'
        right = f', {words.percent(accuracy[row])} of pixels correct' if accuracy is not None else ''
        titles.append(f'{third}: {name}{right}')
    return titles


def _class_key(view: View) -> h.Element:
    colors = paint.class_colors(len(view.class_names))
    names = list(zip(colors, view.class_names, strict=True))
    if view.dataset.ignore_label is not None and 0 <= view.dataset.ignore_label < len(names):
        del names[view.dataset.ignore_label]
    items = [
        h.li[h.i(style='background:#{:02x}{:02x}{:02x}'.format(*color)), name]
        for color, name in [*names, (paint.VOID, 'void')]
    ]
    return h.ul('.class-key')[items]


def _iou(view: View) -> np.ndarray | None:
    """Return [C] IoU per class as measured, or from a confusion matrix of every unit; NaN where undefined."""
    size = len(view.class_names)
    given = view.per_class.get('iou')
    if given is not None and len(given) == size:
        return np.asarray(given, np.float64)
    if view.confusion is None or (view.is_subsample and view.classifier.confusion is None):
        return None
    right, occurs, chosen = view.confusion.marginals()
    union = occurs + chosen - right
    return np.divide(right, union, out=np.full(size, np.nan), where=union > 0)


def _add_iou(section: Section, view: View) -> None:
    section.heading('Overlap of each class')
    iou = _iou(view)
    if iou is None or not np.isfinite(iou).any():
        section.missing('IoU per class unavailable: it was not measured, and the evaluation does not hold every pixel.')
        return
    mean = words.percent(float(np.nanmean(iou)))
    section.add_figure(
        'class_iou',
        figures_classes.class_bars(iou, view.class_names, 'IoU per class'),
        ['Intersection of prediction and truth over their union; the mean is ', h.b[mean], '.'],
        f'IoU of each class; mean {mean}. The values are in the table below.',
    )
    rows = [
        {'class': name, 'iou': float(value) if np.isfinite(value) else None}
        for name, value in zip(view.class_names, iou, strict=True)
    ]
    columns = [Column('class', 'class'), Column('iou', 'IoU', lambda value, _: words.metric_value(value, 1), True)]
    section.add_table(Table('iou', 'IoU per class, in percent.', columns, rows))
