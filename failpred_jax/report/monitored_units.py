"""What moved in a monitored stream, and units to look at from before and after."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import htpy as h
import numpy as np
from PIL import Image

from failpred_jax.monitor import Monitor
from failpred_jax.monitor.examples import Shown, spread_over, tenths
from failpred_jax.report import figures_images, figures_monitoring, words
from failpred_jax.report.section import Section
from failpred_jax.report.tables import Column, Table

_MOST_CLASSES = 15
_SIDE = 160


def add_moved(monitor: Monitor, section: Section, name: str) -> None:
    """Add where confidences lie now and in the reference, and which predicted classes changed."""
    found, first = monitor.examples.lowest, monitor.examples.first
    if found is None or first is None:
        return
    which = 'window of the alarm' if monitor.examples.is_over else 'latest window'
    confidence = monitor.reference.confidence
    spreads = {'reference': spread_over(confidence, tenths(confidence)), 'first window': first.spread}
    spreads[which] = found.spread
    section.add_figure(
        f'{name}_spread', figures_monitoring.spread_bars(spreads),
        'If nothing has changed, every tenth holds a tenth of the units (but for ties).',
        'Share of units in each tenth of the confidences of the reference.',
    )  # fmt: skip
    rows = _class_rows(monitor, found)
    if not rows:
        return
    section.add_table(
        Table(
            f'{name}_classes',
            f'By class predicted, those first whose estimated errors grew most; now is the {which}, {found.window}. '
            f'The last '
            'column is how many of 100 units are wrong there now that were not before, by P(correct).',
            [
                Column('name', 'predicted'),
                Column('before', 'share, reference', _percent, True),
                Column('now', 'share, now', _percent, True),
                Column('error_before', 'P(error), reference', _percent, True),
                Column('error_now', 'P(error), now', _percent, True),
                Column('more', 'more errors in 100', lambda v, _: words.number(100 * v, 2), True),
            ],
            rows[:_MOST_CLASSES],
        )
    )


def _percent(value: Any, row: Mapping[str, Any]) -> str:
    return words.percent(value)


def _class_rows(monitor: Monitor, found: Shown) -> list[dict[str, Any]]:
    reference = monitor.reference
    if reference.predicted is None or not found.counts or reference.p_correct is None:
        return []
    total = sum(count for count, _ in found.counts.values())
    names = reference.class_names or tuple(map(str, range(reference.num_classes)))
    rows = []
    for number, name in enumerate(names):
        is_own = reference.predicted == number
        count, error = found.counts.get(str(number), (0, 0.0))
        before = float(np.sum(1 - reference.p_correct[is_own])) / len(reference)
        rows.append({
            'name': name,
            'before': float(is_own.mean()),
            'now': count / total,
            'error_before': float(np.mean(1 - reference.p_correct[is_own])) if is_own.any() else None,
            'error_now': error / count if count else None,
            'more': error / total - before,
        })  # fmt: skip
    return sorted(rows, key=lambda row: -row['more'])


def add_examples(monitor: Monitor, section: Section, pictures: Path | None) -> None:
    """Add units of the first window, of the window of the alarm (or the latest), and the least confident of that."""
    examples = monitor.examples
    which = 'the window of the alarm' if examples.is_over else 'the latest window'
    groups = [('Before: the first window', 'Drawn at random.', examples.first)]
    if examples.drawn is not None and examples.drawn.window > 1:
        groups.append((f'After: {which}', 'Drawn at random.', examples.drawn))
    groups.append((f'The least confident of {which}', 'The least confident first.', examples.lowest))
    if (
        examples.is_over
        and examples.latest is not None
        and examples.latest.window > (examples.lowest or examples.latest).window
    ):
        groups.append(('The least confident of the latest window', 'The least confident first.', examples.latest))
    for title, caption, found in groups:
        if found is None:
            continue
        section.heading(title)
        cards = [_card(monitor, unit, pictures) for unit in found.units]
        section.add(h.figure('.images')[h.ul('.cards')[cards], h.figcaption[f'Window {found.window}. {caption}']])
    if examples.first is not None and pictures is None:
        section.text('With --inputs=FOLDER the units are shown, if their ids are names of pictures there.')


def _card(monitor: Monitor, unit: Mapping[str, Any], pictures: Path | None) -> h.Element:
    names = monitor.reference.class_names
    number = unit['predicted']
    name = unit['id'] or f'unit {unit["unit"]:,}'
    said = names[number] if 0 <= number < len(names) else str(number) if number >= 0 else ''
    facts = {'confidence': words.number(unit['confidence'])}
    if unit['p_correct'] is not None:
        facts['P(correct)'] = words.percent(unit['p_correct'])
    if unit['correct'] is not None:
        facts['label'] = 'right' if unit['correct'] else 'wrong'
    source, is_small = _picture(unit['id'], pictures)
    picture = h.img(src=source, alt=name, class_={'pixelated': is_small}, loading='lazy') if source else None
    return h.li[
        picture,
        h.div('.classes', title=f'{name}, unit {unit["unit"]:,}')[f'\u2192 {said}' if said else name],
        h.dl[h.dt(title=name)[name] if said else None, h.dd if said else None,
             [[h.dt(title=key)[key], h.dd[value]] for key, value in facts.items()]],
    ]  # fmt: skip


def _picture(name: str, pictures: Path | None) -> tuple[str, bool]:
    """Return a picture as a data URI ('' where there is none of the name), and whether it is small."""
    if pictures is None or not name:
        return '', False
    path = (pictures / name).resolve()
    if not path.is_relative_to(pictures.resolve()) or not path.is_file():
        return '', False
    try:
        with Image.open(path) as picture:
            image = np.asarray(picture.convert('RGB'))
    except (OSError, ValueError, Image.DecompressionBombError):
        return '', False
    is_small = figures_images.is_small(image)
    return figures_images.data_uri(image, max_side=_SIDE, lossy=not is_small), is_small
