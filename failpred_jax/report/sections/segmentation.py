"""Segmentation: image, labels, prediction, errors and confidence maps side by side."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from failpred_jax.report import figures_classes, figures_images, words
from failpred_jax.report.html import Html, join, tag
from failpred_jax.report.section import Section
from failpred_jax.report.tables import Column, Table
from failpred_jax.report.view import View, as_mapping

MAX_SIDE = 280  # pixels of a map on the page
IGNORED = (128, 128, 128)
ERROR, AGREEMENT = (213, 94, 0), (228, 232, 235)


def make(view: View) -> Section | None:
    """Return the section, or None for a classifier."""
    maps = view.results.maps
    if not view.is_segmentation and not maps:
        return None
    section = Section('segmentation', 'Segmentation', 'Where in the image is it wrong, and does confidence show it?')
    if maps and len(np.asarray(maps.get('image', ()))):
        _add_maps(section, view, maps)
    else:
        section.missing('The evaluation folder holds no maps of test images.')
    _add_iou(section, view)
    return section


def class_colors(num_classes: int) -> np.ndarray:
    """Return [C, 3] uint8 colors, neighbors in number far apart in hue, lightness in two steps."""
    hue = (np.arange(num_classes) * 0.61803398875) % 1.0
    light = np.where(np.arange(num_classes) % 2, 0.42, 0.66)
    # A cosine wheel: three phases a third of a turn apart, around the lightness.
    wheel = np.cos(2 * np.pi * (hue[:, None] - np.array([0.0, 1 / 3, 2 / 3])))
    return np.clip((light[:, None] + 0.3 * wheel) * 255, 0, 255).astype(np.uint8)


def paint_labels(label: Any, num_classes: int) -> np.ndarray:
    """Return a label map [H, W] int as [H, W, 3] uint8; labels outside [0, C) (void) are gray."""
    label = np.asarray(label)
    known = (label >= 0) & (label < num_classes)
    painted = class_colors(num_classes)[np.where(known, label, 0)]
    return np.where(known[..., None], painted, np.uint8(IGNORED))


def paint_errors(label: Any, prediction: Any, num_classes: int) -> np.ndarray:
    """Return [H, W, 3] uint8: vermillion where prediction and label differ, pale where equal, gray for void."""
    label = np.asarray(label)
    known = (label >= 0) & (label < num_classes)
    painted = np.where((label != prediction)[..., None], np.uint8(ERROR), np.uint8(AGREEMENT))
    return np.where(known[..., None], painted, np.uint8(IGNORED))


def paint_confidence(confidence: Any, low: float, high: float) -> np.ndarray:
    """Return a confidence map [H, W] as [H, W, 3] uint8 from vermillion-black (low) to pale (high), in 48 steps.

    Args:
      confidence: [H, W] float; NaN is gray.
      low: shown darkest.
      high: shown lightest.
    """
    confidence = np.asarray(confidence, np.float64)
    anchors = np.array([(46, 18, 8), (160, 60, 10), (238, 146, 60), (250, 215, 165), (252, 248, 240)], np.float64)
    scaled = np.clip((np.nan_to_num(confidence) - low) / max(high - low, 1e-12), 0, 1)
    steps = np.round(scaled * 47) / 47 * (len(anchors) - 1)
    painted = np.stack([np.interp(steps, np.arange(len(anchors)), anchors[:, c]) for c in range(3)], axis=-1)
    return np.where(np.isnan(confidence)[..., None], np.uint8(IGNORED), painted.astype(np.uint8))


def _panels(view: View, maps: Mapping[str, Any], row: int) -> list[tuple[str, np.ndarray, dict]]:
    """Return (title, [H, W, 3] uint8, how to store it) for one image."""
    size = len(view.class_names)
    label, prediction = (np.asarray(maps[name][row]) if name in maps else None for name in ('label', 'prediction'))
    panels: list[tuple[str, np.ndarray, dict]] = [('image', np.asarray(maps['image'][row]), {'lossy': True})]
    if label is not None:
        panels.append(('label', paint_labels(label, size), {}))
    if prediction is not None:
        panels.append(('prediction', paint_labels(prediction, size), {}))
    if label is not None and prediction is not None:
        panels.append(('errors', paint_errors(label, prediction, size), {}))
    names = [key.removeprefix('confidence_') for key in maps if key.startswith('confidence_')]
    for score in sorted(names, key=lambda s: view.scores.index(s) if s in view.scores else len(view.scores)):
        values = np.asarray(maps[f'confidence_{score}'], np.float64)
        finite = values[np.isfinite(values)]
        # Not from 0 to 1: of a score that is nearly always near 1, all maps would look the same.
        low, high = np.quantile(finite, [0.01, 0.99]) if finite.size else (0.0, 1.0)
        panels.append((view.label(score), paint_confidence(values[row], low, high), {'num_colors': 32}))
    return panels


def _add_maps(section: Section, view: View, maps: Mapping[str, Any]) -> None:
    num = len(np.asarray(maps['image']))
    section.text(
        'Errors are dark orange. Confidence runs from dark (unsure) to pale (sure), on one scale for all images of a '
        'score, from its lowest to its highest per cent: a good map is dark exactly where the errors are. Gray is '
        'void, which counts nowhere.'
    )
    section.add(_class_key(view))
    titles = _titles(maps, num)
    order = np.argsort(-np.asarray(maps['accuracy'], np.float64), kind='stable') if 'accuracy' in maps else range(num)
    for place, row in enumerate(order):
        title = titles[row]
        panels = _panels(view, maps, row)
        section.heading(title)
        items = [
            tag(
                'figure',
                tag(
                    'img',
                    src=figures_images.data_uri(image, MAX_SIDE, **storage),
                    alt=f'{name} of {title}',
                    loading='lazy',
                ),
                tag('figcaption', name),
            )
            for name, image, storage in panels
        ]
        section.add(tag('div', items, class_='maps'))
        captions = [name for name, _, _ in panels]
        section.figures[f'maps_{place}'] = figures_images.image_grid(
            [image for _, image, _ in panels], captions, title, columns=4, cell=240
        )


def _titles(maps: Mapping[str, Any], num: int) -> list[str]:
    """Return 'Best image', 'Median image', ... with number and accuracy, as far as they are known."""
    accuracy = np.asarray(maps['accuracy'], np.float64) if 'accuracy' in maps else None
    index = np.asarray(maps['index']) if 'index' in maps else None
    ranks = np.full(num, -1)
    if accuracy is not None:
        ranks[np.argsort(-accuracy, kind='stable')] = np.arange(num)
    titles = []
    for row in range(num):
        third = 'Image'
        if accuracy is not None and num >= 3:
            place = ranks[row] / max(num - 1, 1)
            third = 'Among the best' if place < 1 / 3 else 'Among the worst' if place > 2 / 3 else 'Around the median'
        name = f'test image {int(index[row])}' if index is not None else f'image {row + 1}'
        right = f', {words.percent(accuracy[row])} of pixels right' if accuracy is not None else ''
        titles.append(f'{third}: {name}{right}')
    return titles


def _class_key(view: View) -> Html:
    colors = class_colors(len(view.class_names))
    ignored = view.dataset.get('ignore_label')
    items = [
        tag('li', tag('i', style='background:#{:02x}{:02x}{:02x}'.format(*color)), name)
        for i, (color, name) in enumerate(zip(colors, view.class_names, strict=True))
        if i != ignored
    ]
    items.append(tag('li', tag('i', style='background:#{:02x}{:02x}{:02x}'.format(*IGNORED)), 'void'))
    return tag('ul', items, class_='class-key')


def _iou(view: View) -> np.ndarray | None:
    """Return [C] IoU per class from metrics.json or a confusion matrix; NaN where undefined, None where unknown."""
    size = len(view.class_names)
    given: Any = view.classifier.get('iou')
    if isinstance(given, list | tuple) and len(given) == size:
        return np.array([v if words.is_number(v) else np.nan for v in given], np.float64)
    if view.confusion is None or (view.is_subsample and view.classifier.get('confusion') is None):
        return None
    counts = view.confusion
    union = counts.sum(axis=0) + counts.sum(axis=1) - np.diag(counts)
    return np.divide(np.diag(counts), union, out=np.full(size, np.nan), where=union > 0)


def _add_iou(section: Section, view: View) -> None:
    section.heading('Overlap of each class')
    iou = _iou(view)
    if iou is None or not np.isfinite(iou).any():
        section.missing('IoU per class was not evaluated, and the evaluation folder does not hold every pixel.')
        return
    mean = float(np.nanmean(iou))
    section.add_figure(
        'class_iou',
        figures_classes.class_bars(iou, view.class_names, 'IoU per class'),
        join('Overlap of prediction and truth over their union; the mean is ', tag('b', words.percent(mean)), '.'),
        f'IoU of each class; mean {words.percent(mean)}. The values are in the table below.',
    )
    per_class = as_mapping(view.results.metrics.get('classes'))
    rows = []
    for name, value in zip(view.class_names, iou, strict=True):
        row = {'class': name, 'iou': None if np.isnan(value) else float(value)}
        row.update({k: v for k, v in as_mapping(per_class.get(name)).items() if words.is_number(v)})
        rows.append(row)
    extra = list(dict.fromkeys(key for row in rows for key in row if key not in ('class', 'iou')))

    def shown(metric: str):
        return lambda value, _: words.metric_value(metric, value, 1)

    columns = [Column('class', 'class'), Column('iou', 'IoU', shown('iou'), True)]
    columns += [Column(key, words.metric_words(key).label, shown(key), True) for key in extra]
    section.add_table(Table('iou', 'Per class, in percent.', columns, rows))
