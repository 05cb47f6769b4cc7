"""Look at the images: the most confident ones, the errors, and where two scores disagree."""

import functools
from typing import NamedTuple

import htpy as h
import numpy as np

from failpred_jax.report import figures_images, words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.view import View

MOST_SHOWN = 18
TAIL = 0.01  # the share of a group that counts as its most confident
AT_LEAST = 12  # images shown of a group that has so many
LOW_TRUE_PROBABILITY = 0.3
DISAGREEMENT = 0.1  # in rank


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


@report_section(
    'images',
    order=60,
    title='Look at the images',
    question='Where is the model wrong, and are these images difficult for people too?',
)
def fill(view: View, section: Section) -> None:
    """Add grids of test images, or why there are none."""
    images = view.evaluation.images
    lacking = _lacking(view)
    if images is None or lacking:
        section.missing(lacking)
        return
    try:
        pictures, note = figures_images.as_pictures(images)
    except ValueError as error:
        section.missing(f'Images unavailable: {error}.')
        return
    learned = f', and the learned confidence ({view.learned})' if view.learned else ''
    section.text(
        f'Below each image: true class \u2192 predicted class, the probabilities of both{learned}. Some errors are '
        'wrong labels, and some images are unclear to people too.',
        note,
    )
    for group in groups_of(view):
        section.heading(group.title)
        num = len(group.chosen)
        if not num:
            section.missing(f'There are no such images. {group.caption}')
            continue
        shown = group.chosen[:MOST_SHOWN]
        more = f' The first {len(shown)} of {words.number(num)}.' if num > len(shown) else ''
        section.add(
            h.figure('.images')[
                h.ul('.cards')[[_card(view, pictures[i], int(i)) for i in shown]],
                h.figcaption[f'{group.caption}{more}'],
            ]
        )
        captions = ['\n'.join(_lines(view, int(i))) for i in shown]
        section.figures[f'images_{group.name}'] = functools.partial(
            figures_images.image_grid, pictures[shown], captions, group.title
        )


def _lacking(view: View) -> str:
    """Return what is missing for this section in one sentence, or nothing."""
    images = view.evaluation.images
    if view.is_segmentation:
        return 'The units of this model are pixels; its images are in the section Segmentation.'
    if images is None or not len(images):
        return (
            'Images unavailable: the evaluation was made from predictions alone, or the test images are larger than '
            'config.evaluate.keep_images_mb allows.'
        )
    if not view.has_units or len(images) != len(view.test.labels):
        return 'Images unavailable: the evaluation holds images, but not the labels and logits that go with them.'
    return ''


def groups_of(view: View) -> list[Group]:
    """Return the groups of test images to look at."""
    correct, probability = view.test.correct, view.class_probability
    learned = view.confidence(view.learned) if view.learned else None
    low = view.true_probability < LOW_TRUE_PROBABILITY
    share = f'{TAIL * 100:g}{words.THIN}%'
    groups = [
        Group(
            'confident_correct',
            'Most confident and correct',
            f'The {share} of correct predictions with the highest class probability (at least {AT_LEAST}), highest '
            'first.',
            _tail(probability, correct),
        ),
        Group(
            'confident_wrong',
            'Most confident and wrong',
            f'The {share} of wrong predictions with the highest class probability (at least {AT_LEAST}), highest '
            'first.',
            _tail(probability, ~correct),
        ),
        Group(
            'right_low_tcp',
            f'Correct, with a true-class probability below {LOW_TRUE_PROBABILITY}',
            'Correct predictions that were a close call among many classes, lowest first.',
            _ordered(correct & low, -view.true_probability),
        ),
    ]
    if learned is not None:
        gap = np.abs(_rank(learned) - _rank(probability))
        groups[2:2] = [
            Group(
                'wrong_high_confidence',
                f'Wrong, with high learned confidence ({view.learned})',
                'Wrong predictions whose learned confidence is above the median of all, most confident first: the '
                'errors that it does not detect.',
                _ordered(~correct & (learned >= np.median(learned)), learned),
            )
        ]
        groups.append(
            Group(
                'disagreement',
                f'Where {view.learned} and the class probability disagree most',
                'Largest difference in rank between the two confidences, which does not depend on their scales.',
                _ordered(gap > DISAGREEMENT, gap),
            )
        )
    return groups


def _tail(confidence: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the most confident 1 % of `among`, but at least twelve where there are so many."""
    chosen = _ordered(among, confidence)
    return chosen[: max(AT_LEAST, int(np.ceil(TAIL * len(chosen))))]


def _ordered(among: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the indices where `among` is True, largest value first, ties in input order."""
    chosen = np.flatnonzero(among)
    return chosen[np.argsort(-value[chosen], kind='stable')]


def _rank(values: np.ndarray) -> np.ndarray:
    """Return ranks in [0, 1]; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts + ends - 1) / 2 / max(len(values) - 1, 1))[inverse]


class _Facts(NamedTuple):
    """What is written below an image."""

    true: str
    predicted: str
    prob_true: float
    prob_predicted: float
    learned: float | None


def _facts(view: View, unit: int) -> _Facts:
    values = view.confidence(view.learned) if view.learned else None
    return _Facts(
        view.class_names[view.test.labels[unit]],
        view.class_names[view.predicted[unit]],
        float(view.true_probability[unit]),
        float(view.class_probability[unit]),
        None if values is None else float(values[unit]),
    )


def _lines(view: View, unit: int) -> list[str]:
    facts = _facts(view, unit)
    lines = [f'{facts.true} \u2192 {facts.predicted}', f'p {facts.prob_true:.3f} \u2192 {facts.prob_predicted:.3f}']
    return lines if facts.learned is None else [*lines, f'learned {facts.learned:.3f}']


def _card(view: View, picture: np.ndarray, unit: int) -> h.Element:
    facts = _facts(view, unit)
    is_right = bool(view.test.correct[unit])
    is_small = figures_images.is_small(picture)
    rows = {
        'p(true)': facts.prob_true,
        'p(predicted)': None if is_right else facts.prob_predicted,
        'learned': facts.learned,
    }
    return h.li[
        h.img(
            src=figures_images.data_uri(picture, max_side=160, lossy=not is_small),
            alt=f'Test image {unit}: {facts.true}, predicted {facts.predicted}',
            class_={'pixelated': is_small},
            loading='lazy',
        ),
        h.div('.classes', title=f'{facts.true} \u2192 {facts.predicted}, test image {unit}')[
            h.span[facts.true], ' \u2192 ', h.span(class_='right' if is_right else 'wrong')[facts.predicted]
        ],
        h.dl[[[h.dt(title=name)[name], h.dd[f'{value:.3f}']] for name, value in rows.items() if value is not None]],
    ]
