"""Training images as training saw them: a mistake in augmentation shows at a glance here, and nowhere else."""

from collections.abc import Mapping

import htpy as h
import numpy as np

from failpred_jax.report import figures_images, paint
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.view import View

STORED = 'as stored'


@report_section(
    'augmentation',
    order=80,
    title='Augmented images',
    question='Do the training images still show their class after augmentation?',
)
def fill(view: View, section: Section) -> None:
    """Add a few training images as stored and under random changes; nothing where training changed none."""
    drawn = view.evaluation.augmented
    if not drawn or not len(drawn.get('image', ())):
        return
    try:
        images, note = figures_images.as_pictures(drawn['image'])
    except ValueError as error:
        section.missing(f'Images unavailable: {error}.')
        return
    section.text(
        f'Training images, as stored and after random changes{_changes(view)}. They should still look like their class'
        + (', and image and label map should have moved together.' if 'label' in drawn else '.'),
        note,
    )
    pictures, captions = _pictures(view, drawn, images)
    columns = images.shape[1]
    for start in range(0, len(pictures), columns):
        cards = [
            h.li[
                h.img(
                    src=figures_images.data_uri(picture, max_side=160),
                    alt=caption,
                    class_={'pixelated': figures_images.is_small(picture)},
                    loading='lazy',
                ),
                h.div('.classes')[caption],
            ]
            for picture, caption in list(zip(pictures, captions, strict=True))[start : start + columns]
        ]
        section.add(h.figure('.images')[h.ul('.cards')[cards]])
    section.figures['augmentation'] = figures_images.image_grid(pictures, captions, 'Augmented images', columns)


def _pictures(view: View, drawn: Mapping[str, np.ndarray], images: np.ndarray) -> tuple[list[np.ndarray], list[str]]:
    """Return pictures [H, W, ...] uint8, row by row, label maps in rows of their own, and what each is."""
    pictures, captions = [], []
    for row, index in enumerate(drawn['index']):
        names = [f'image {int(index)}, {STORED}', *(f'draw {r}' for r in range(1, images.shape[1]))]
        pictures += list(images[row])
        captions += names
        if 'label' in drawn:
            pictures += [paint.labels(label, len(view.class_names)) for label in drawn['label'][row]]
            captions += [f'labels of {name}' for name in names]
    return pictures, captions


def _changes(view: View) -> str:
    """Return the changes that were on, as the config names them, in brackets."""
    try:
        changes = view.run.config['data']['augment']
    except KeyError:
        return ''
    active = [name if value is True else f'{name} {value}' for name, value in changes.items() if value]
    return f' ({", ".join(active)})' if active else ''
