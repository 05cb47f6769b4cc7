"""Look at the images: the surest, the wrongest, and where two scores disagree."""

from typing import Any, NamedTuple

import numpy as np

from failpred_jax.report import figures_images, words
from failpred_jax.report.html import Html, join, tag
from failpred_jax.report.section import Section
from failpred_jax.report.view import View

MOST_SHOWN = 18
TAIL = 0.01  # the share of a group that counts as its most confident
LOW_TRUE_PROBABILITY = 0.3


class Group(NamedTuple):
    """Images to look at.

    Attributes:
      name: of its PNG.
      title: its heading.
      caption: what is shown, in which order.
      chosen: [M] int indices of units, all that belong, first shown first.
    """

    name: str
    title: str
    caption: str
    chosen: np.ndarray


def make(view: View) -> Section:
    """Return the section with the image grids."""
    section = Section('images', 'Look at the images', 'Where does it fail, and does it look like it should?')
    lacking = _lacking(view)
    if lacking:
        section.missing(lacking)
        return section
    section.text(
        'Under each image: true class \u2192 predicted class, the probabilities of both, and '
        f'{_learned_words(view)}. Some errors are wrong labels, and some images say little to a human either.'
    )
    for group in _groups(view):
        section.heading(group.title)
        num = len(group.chosen)
        if not num:
            section.missing(f'None. {group.caption}')
            continue
        shown = group.chosen[:MOST_SHOWN]
        more = f' The first {len(shown)} of {words.number(num)}.' if num > len(shown) else ''
        section.add(
            tag(
                'figure',
                tag('ul', [_card(view, int(i)) for i in shown], class_='cards'),
                tag('figcaption', f'{group.caption}{more}'),
                class_='images',
            )
        )
        captions = ['\n'.join(_lines(view, int(i))) for i in shown]
        images = [view.results.images[i] for i in shown]
        section.figures[f'images_{group.name}'] = figures_images.image_grid(images, captions, group.title)
    return section


def _lacking(view: View) -> str:
    """Return what is missing for this section in one sentence, or nothing."""
    if view.is_segmentation:
        return 'The units of this model are pixels; its images are in the section Segmentation.'
    if view.results.images is None or not len(view.results.images):
        return (
            'The evaluation folder holds no test images: it was made from predictions alone, or they are larger than '
            'config.evaluate.keep_images_mb allows.'
        )
    if not view.has_units or len(view.results.images) != len(view.results.labels):
        return 'The evaluation folder holds images, but not the labels and logits that go with them.'
    return ''


def _groups(view: View) -> list[Group]:
    correct = np.asarray(view.results.correct, bool)
    mcp = view.probabilities.max(axis=-1)
    learned = view.confidence(view.learned) if view.learned else None
    surest = _tail(mcp, correct)
    wrongest = _tail(mcp, ~correct)
    groups = [
        Group(
            'confident_correct',
            'Surest and correct',
            'The 1 % of correct predictions with the highest class probability, surest first.',
            surest,
        ),
        Group(
            'confident_wrong',
            'Surest and wrong',
            'The 1 % of wrong predictions with the highest class probability (at least twelve), surest first.',
            wrongest,
        ),
    ]
    if learned is not None:
        groups.append(
            Group(
                'wrong_high_confidence',
                f'Wrong, with high learned confidence ({view.learned})',
                'Wrong predictions that the learned confidence puts among the more confident half of '
                'all, most confident first: the errors it cannot see.',
                _ordered(~correct & (learned >= np.median(learned)), learned),
            )
        )
    low = view.true_probability < LOW_TRUE_PROBABILITY
    groups.append(
        Group(
            'right_low_tcp',
            f'Right, with a true-class probability below {LOW_TRUE_PROBABILITY}',
            'Correct predictions that were a close call among many classes, lowest first.',
            _ordered(correct & low, -view.true_probability),
        )
    )
    if learned is not None:
        gap = np.abs(_rank(learned) - _rank(mcp))
        groups.append(
            Group(
                'disagreement',
                f'Where {view.learned} and MCP disagree most',
                'Largest difference in rank between the two confidences, which does not depend on their scales.',
                _ordered(gap > 0.1, gap),
            )
        )
    return groups


def _tail(confidence: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the most confident 1 % of `among`, but at least twelve where there are so many."""
    chosen = _ordered(among, confidence)
    return chosen[: max(12, int(np.ceil(TAIL * len(chosen))))]


def _ordered(among: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the indices where `among` is True, largest value first, ties in input order."""
    chosen = np.flatnonzero(among)
    return chosen[np.argsort(-value[chosen], kind='stable')]


def _rank(values: np.ndarray) -> np.ndarray:
    """Return ranks in [0, 1]; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts + ends - 1) / 2 / max(len(values) - 1, 1))[inverse]


def _learned_words(view: View) -> str:
    return f'the learned confidence ({view.learned})' if view.learned else 'no learned confidence, as there is none'


def _learned(view: View, unit: int) -> list[tuple[str, float]]:
    """Return the learned confidence as one line under an image, if there is one."""
    values = view.confidence(view.learned) if view.learned else None
    return [] if values is None else [('learned', float(values[unit]))]


def _facts(view: View, unit: int) -> tuple[str, str, float, float]:
    true, predicted = int(view.results.labels[unit]), int(view.predicted[unit])
    probabilities = view.probabilities[unit]
    return (
        view.class_names[true],
        view.class_names[predicted],
        float(probabilities[true]),
        float(probabilities[predicted]),
    )


def _lines(view: View, unit: int) -> list[str]:
    true, predicted, p_true, p_predicted = _facts(view, unit)
    lines = [f'{true} \u2192 {predicted}', f'p {p_true:.3f} \u2192 {p_predicted:.3f}']
    return lines + [f'{name} {value:.3f}' for name, value in _learned(view, unit)]


def _card(view: View, unit: int) -> Html:
    image = np.asarray(view.results.images[unit])
    true, predicted, p_true, p_predicted = _facts(view, unit)
    right = bool(view.results.correct[unit])
    small = max(image.shape[:2]) <= 64
    rows: list[Any] = [('p(true)', p_true)]
    if not right:
        rows.append(('p(predicted)', p_predicted))
    rows += _learned(view, unit)
    facts = [join(tag('dt', name, title=name), tag('dd', f'{value:.3f}')) for name, value in rows]
    return tag(
        'li',
        tag(
            'img',
            src=figures_images.data_uri(image, max_side=160, lossy=not small and image.shape[-1] == 3),
            alt=f'Test image {unit}: {true}, predicted {predicted}',
            class_='pixelated' if small else None,
            loading='lazy',
        ),
        tag(
            'div',
            tag('span', true),
            join(' \u2192 ', tag('span', predicted, class_='right' if right else 'wrong')),
            class_='classes',
            title=f'{true} \u2192 {predicted}, test image {unit}',
        ),
        tag('dl', facts),
    )
