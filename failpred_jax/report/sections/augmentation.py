"""Training images as training saw them: a mistake in augmentation shows at a glance, and nowhere else."""

import numpy as np

from failpred_jax.report import figures_images
from failpred_jax.report.html import tag
from failpred_jax.report.section import Section
from failpred_jax.report.sections.segmentation import paint_labels
from failpred_jax.report.view import View, as_mapping

STORED = 'as stored'


def make(view: View) -> Section | None:
    """Return the section, or None where training changed no image."""
    drawn = view.results.augmented
    if not drawn or not len(drawn.get('image', ())):
        return None
    section = Section('augmentation', 'Augmented images', 'Did training see what it should?')
    section.text(
        f'Training images, as stored and as random changes showed them{_words(view)}. They should still look like '
        'their class' + (', and image and label map should have moved together.' if 'label' in drawn else '.')
    )
    pictures, captions = _pictures(view, drawn)
    columns = drawn['image'].shape[1]
    small = max(drawn['image'].shape[2:4]) <= 64
    for start in range(0, len(pictures), columns):
        shown = list(zip(pictures, captions, strict=True))[start : start + columns]
        cards = [
            tag(
                'li',
                tag(
                    'img',
                    src=figures_images.data_uri(picture, max_side=160),
                    alt=caption,
                    class_='pixelated' if small else None,
                    loading='lazy',
                ),
                tag('div', caption, class_='classes'),
            )
            for picture, caption in shown
        ]
        section.add(tag('figure', tag('ul', cards, class_='cards'), class_='images'))
    section.figures['augmentation'] = figures_images.image_grid(pictures, captions, 'Augmented images', columns)
    return section


def _pictures(view: View, drawn: dict[str, np.ndarray]) -> tuple[list[np.ndarray], list[str]]:
    """Return pictures [H, W, ...] uint8, row by row, label maps in rows of their own, and what each is."""
    pictures, captions = [], []
    for row, index in enumerate(drawn['index']):
        names = [f'image {int(index)}, {STORED}', *(f'draw {r}' for r in range(1, drawn['image'].shape[1]))]
        pictures += list(drawn['image'][row])
        captions += names
        if 'label' in drawn:
            pictures += [paint_labels(label, len(view.class_names)) for label in drawn['label'][row]]
            captions += [f'labels of {name}' for name in names]
    return pictures, captions


def _words(view: View) -> str:
    """Return the changes that were on, as the config names them, in brackets."""
    config = as_mapping(as_mapping(as_mapping(view.context.get('config')).get('data')).get('augment'))
    active = [name if value is True else f'{name} {value}' for name, value in config.items() if value]
    return f' ({", ".join(active)})' if active else ''
