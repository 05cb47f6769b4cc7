"""Shifted inputs: what corruptions do, which score tells errors and strangers, and the strangers that are accepted."""

import math
from collections.abc import Sequence
from typing import Any

import htpy as h
import numpy as np

from failpred_jax.report import figures_images, figures_shift, words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Table
from failpred_jax.report.view import View
from failpred_jax.results import Interval
from failpred_jax.results.decisions import digest_of_policy
from failpred_jax.results.shift_choice import recommend, strangers_of
from failpred_jax.results.shifted import Severity, Shifted, ShiftedSet

WORDS = {'errors': 'errors', 'strangers': 'strangers', 'joint_10': '10 % shifted', 'joint_50': '50 % shifted'}


@report_section(
    'shifts',
    order=36,
    title='Shifted inputs and strangers',
    question='Which score should I use if inputs may be corrupted, or of no class?',
)
def fill(view: View, section: Section) -> None:
    """Add the recommendation, the figures and the galleries; nothing where no shifted set was measured."""
    shifted = view.evaluation.shifted
    if shifted is None or not shifted.sets:
        return
    choice = recommend(shifted)
    if choice is not None:
        section.text([h.b[f'{choice.score}: '], ' '.join(choice.sentences)])
    section.text(
        'Errors are those of the classifier; strangers are inputs of no class, of which no prediction is right. '
        'A corrupted image that is classified right counts as right. Where the test set and a shifted set are mixed, '
        'weights make the share, so that every unit counts.'
    )
    # What a corruption does is in the table of severities.
    others = [found for found in shifted.sets if found.description and not found.severities]
    if others:
        section.text('; '.join(f'{found.name}: {found.description}, {found.units:,} units' for found in others) + '.')
    _add_severities(view, shifted, section)
    _add_matrix(shifted, section)
    _add_table(shifted, section)
    for found in strangers_of(shifted):
        _add_gallery(view, shifted, found, section)
    section.text(*shifted.notes)


def _add_severities(view: View, shifted: Shifted, section: Section) -> None:
    """Add accuracy, confidence and the errors among what is accepted, by severity."""
    corrupted = [found for found in shifted.sets if found.severities]
    if not corrupted:
        return

    def curve(value_of: Any) -> dict[str, list[float]]:
        of = {found.name: {0: shifted.unshifted} | {s.severity: s for s in found.severities} for found in corrupted}
        return {
            name: [value_of(rows[level]) if level in rows else math.nan for level in range(6)]
            for name, rows in of.items()
        }  # fmt: skip

    def of_score(field: str, name: str) -> Any:
        return lambda row: getattr(row, field).get(name, math.nan)

    shown = {'accuracy': curve(lambda row: row.accuracy)}
    means = list(shifted.unshifted.mean)[:3]
    shown |= {f'mean {name}': curve(of_score('mean', name)) for name in means}
    judged = [name for name in dict.fromkeys([shifted.reference, *means]) if name in shifted.unshifted.accepted_error]
    shown |= {f'errors accepted by {name}': curve(of_score('accepted_error', name)) for name in judged[:2]}
    for name, value_of in (
        ('errors accepted by the policy', lambda row: row.policy_error),
        ('prediction sets that hold the class', lambda row: row.set_coverage),
    ):
        found = curve(value_of)
        if any(math.isfinite(value) for values in found.values() for value in values):
            shown[name] = found
    section.add_figure(
        'severity',
        figures_shift.by_severity(shown, 'Accuracy, confidence and accepted errors by severity', 'percent'),
        f'Thick lines are means over {len(corrupted)} corruption{"s" if len(corrupted) > 1 else ""}, thin ones single '
        f'corruptions. A score accepts what is over the threshold that accepts 95 % of {shifted.threshold_from} units. '
        'Where the mean confidence stays above the accuracy, the score does not notice that it is wrong.',
        'Lines of accuracy, mean confidence and errors among accepted images over the severity of corruptions.',
    )
    section.add_table(_severity_table(corrupted, shifted))
    section.text(f'Prediction sets: {shifted.sets_are}.' if shifted.sets_are else '', _made_anew(view, shifted))


def _made_anew(view: View, shifted: Shifted) -> str:
    """Return a sentence where the run's decisions are others than those that the shifted sets were judged by, or ''."""
    decided = view.evaluation.decisions
    if decided is None or not shifted.judged_by or digest_of_policy(decided.policy) == shifted.judged_by:
        return ''
    return (
        'The decisions were made anew after the shifted inputs were measured: what is accepted by the policy and the '
        'prediction sets here are those of the earlier ones; --mode=evaluate measures them by the new ones.'
    )


def _severity_table(corrupted: Sequence[ShiftedSet], shifted: Shifted) -> Table:
    rows = [_severity_row('none', shifted.unshifted, shifted)]
    rows += [_severity_row(found.name, row, shifted) for found in corrupted for row in found.severities]
    hints = {
        'ece': '15 bins of equal width',
        'set_coverage': 'share of prediction sets that hold the true class',
    }
    columns = [Column('corruption', 'corruption'), Column('severity', 'severity', lambda v, _: str(v), True)]
    for key, title in (
        ('accuracy', 'accuracy'), ('ece', f'ECE of {shifted.reference}'), ('auroc', f'AUROC of {shifted.reference}'),
        ('accepted', 'accepted'), ('accepted_error', 'errors among accepted'),
        ('policy_accepted', 'accepted by the policy'), ('policy_error', 'errors among these'),
        ('set_coverage', 'set holds class'),
    ):  # fmt: skip
        if any(math.isfinite(row[key] or math.nan) or row[key] == 0 for row in rows if row[key] is not None):
            columns.append(Column(key, title, lambda v, _: words.percent(v, 1), True, hints.get(key, '')))
    columns.append(Column('set_size', 'classes in a set', lambda v, _: words.number(v, 3), True))
    return Table('severity', 'What each corruption does; severity 0 is the test set.', columns, rows)


def _severity_row(name: str, row: Severity, shifted: Shifted) -> dict[str, Any]:
    reference = shifted.reference
    values = {
        'accuracy': row.accuracy, 'ece': row.ece, 'auroc': row.auroc.get(reference, math.nan),
        'accepted': row.accepted.get(reference, math.nan),
        'accepted_error': row.accepted_error.get(reference, math.nan),
        'policy_accepted': row.policy_accepted, 'policy_error': row.policy_error, 'set_coverage': row.set_coverage,
        'set_size': row.set_size,
    }  # fmt: skip
    kept = {key: value if math.isfinite(value) else None for key, value in values.items()}
    return {'corruption': name, 'severity': row.severity, **kept}


def _columns(shifted: Shifted) -> list[tuple[ShiftedSet, str]]:
    return [(found, 'strangers' if found.is_strangers else 'errors') for found in shifted.sets]


def _add_matrix(shifted: Shifted, section: Section) -> None:
    """Add AUROC of every score on every set."""
    columns = _columns(shifted)
    scores = list(shifted.errors)
    nan = math.nan
    values = [
        [shifted.errors[name].metrics.get('auroc', nan)]
        + [
            found.scores[name][setting].metrics.get('auroc', nan) if setting in found.scores.get(name, {}) else nan
            for found, setting in columns
        ]
        for name in scores
    ]
    names = ['test: errors', *(f'{found.name}: {WORDS[setting]}' for found, setting in columns)]
    section.add_figure(
        'shift_matrix',
        figures_shift.matrix(scores, names, values, 'AUROC of every score on every set (%)'),
        'Each column by itself: dark is best there. Of strangers, how well they are told from the test set; of labeled '
        'sets, how well their errors are told from what is right.',
        'A table of scores and shifted sets with the AUROC in percent.',
    )


def _add_table(shifted: Shifted, section: Section) -> None:
    """Add every value with its interval and its difference from the reference, as a table that is written as CSV."""
    rows = []
    for found, _ in _columns(shifted):
        for name, settings in found.scores.items():
            for setting, of in settings.items():
                if setting == 'errors':
                    continue
                rows.append(
                    {
                        'set': found.name, 'rejects': WORDS[setting], 'score': name,
                        'aurc': _known(of.metrics.get('aurc', math.nan)),
                        'fpr_at_95tpr': _known(of.metrics.get('fpr_at_95tpr', math.nan)),
                        'auroc': _known(of.metrics.get('auroc', math.nan)),
                        '_aurc': of.intervals.get('aurc'), '_difference': of.differences.get('aurc'),
                    }
                )  # fmt: skip
    rows = [row for row in rows if row['rejects'] != WORDS['joint_50']]

    def thousand(value: float | None, row: Any) -> h.Node:
        ends: Interval | None = row['_aurc']
        shown = words.number(None if value is None else 1000 * value, 4)
        return [shown, h.small[f'{1000 * ends[0]:.3g} to {1000 * ends[1]:.3g}']] if ends else shown

    def difference(_: Any, row: Any) -> h.Node:
        ends: Interval | None = row['_difference']
        return f'{1000 * ends[0]:+.3g} to {1000 * ends[1]:+.3g}' if ends else words.number(None, 1)

    columns = [
        Column('set', 'set'),
        Column('rejects', 'to reject'),
        Column('score', 'score'),
        Column('auroc', 'AUROC', lambda v, _: words.percent(v, 2), True),
        Column('fpr_at_95tpr', 'FPR at 95 % TPR', lambda v, _: words.percent(v, 2), True),
        Column('aurc', 'AURC x1000', thousand, True, 'lower is better'),
        Column('_difference', f'AURC x1000 less {shifted.reference or "the reference"}', difference, True, 'paired'),
    ]
    caption = (
        f'Small numbers are {shifted.interval:.0%} bootstrap intervals. All metrics and shares are in shift/table.csv.'
    )
    table = Table('shifted_sets', caption, columns, rows)
    section.add(h.details[h.summary[f'All {len(rows)} values'], section.table_html(table)])


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _add_gallery(view: View, shifted: Shifted, found: ShiftedSet, section: Section) -> None:
    """Add the strangers that are accepted with most confidence."""
    kept = view.evaluation.strangers
    place = next((k.partition('__')[2] for k in kept if k.startswith('set__') and str(kept[k]) == found.name), None)
    if place is None or not len(kept[f'image__{place}']):
        return
    score = str(kept[f'score__{place}'])
    section.heading(f'Strangers of {found.name} that {score} accepts')
    share = found.accepted.get(score, math.nan)
    section.text(
        f'{share:.1%} of them are over the threshold that accepts 95 % of the {shifted.threshold_from} {view.unit}s; '
        'the most confident first.'
    )
    images, note = figures_images.as_pictures(np.asarray(kept[f'image__{place}']))
    section.text(note)
    names, values = view.class_names, kept[f'confidence__{place}']
    cards = []
    for number, picture in enumerate(images):
        said = names[int(kept[f'predicted__{place}'][number])]
        caption = f'taken for {said}, {score} {float(values[number]):.3g}'
        cards.append(
            h.li[
                h.img(
                    src=figures_images.data_uri(picture, max_side=160),
                    alt=caption,
                    class_={'pixelated': figures_images.is_small(picture)},
                    loading='lazy',
                ),
                h.div('.classes')[caption],
            ]
        )
    section.add(h.figure('.images')[h.ul('.cards')[cards]])
