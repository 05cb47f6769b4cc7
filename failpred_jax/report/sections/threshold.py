"""Which threshold: what is accepted, rejected and still wrong at each setting of a score."""

from collections.abc import Mapping
from typing import Any

import htpy as h
import numpy as np

from failpred_jax.metrics import ThresholdCounts
from failpred_jax.report import curves, words
from failpred_jax.report.section import Section, json_block, report_section
from failpred_jax.report.tables import Column, Row, Table
from failpred_jax.report.view import View

SLIDER_POINTS = 400
COMPARED = (0.95, 0.9, 0.8, 0.5)  # those of them at which all scores are compared
# The parts of the bar under the slider, by their class in page.css.
PARTS = {
    'accepted-correct': 'accepted, correct',
    'accepted-wrong': 'accepted, wrong',
    'rejected-wrong': 'rejected, wrong',
    'rejected-correct': 'rejected, correct',
}
OUTPUTS = {
    'accepted': 'accepted',
    'rejected': 'rejected',
    'errors': 'errors remaining',
    'risk': 'error rate among accepted',
    'caught': 'errors rejected',
    'lost': 'correct rejected',
}


@report_section(
    'threshold',
    order=30,
    title='Which threshold',
    question='How much confidence should a prediction need to be accepted?',
)
def fill(view: View, section: Section) -> None:
    """Add the slider, the operating points of the best score, and all scores at the same coverage and risk."""
    found = {score: view.figures(score).counts for score in view.scores}
    counts = {score: c for score, c in found.items() if c is not None}
    if not counts:
        section.missing('Thresholds unavailable: the evaluation holds neither confidences of single units nor counts.')
        return
    first = view.best if view.best in counts else next(iter(counts))
    section.text(
        f'A prediction is accepted when its confidence is at least the threshold. All counts are exact, over the test '
        f'{view.unit}s. A threshold chosen here looks better than it is: choose it on validation data, or expect '
        'slightly more risk than shown.'
    )
    marked = [score for score, found in view.marks.items() if found]
    if marked:
        section.text(
            f'Triangles mark the certified thresholds of {marked[0]}, of which the policy accepts what is over them, '
            'and not what is equal to them; Promises says what they are worth.'
        )
    section.add(_slider(view, counts, first))
    section.data.append(json_block('data-thresholds', _slider_data(view, counts)))
    section.heading(['Working points of ', first])
    section.add_table(_working_points(view, counts[first], first))
    section.heading('All scores at the same coverage and at the same risk')
    section.add_table(_all_scores(view, counts))


def _slider_data(view: View, counts: Mapping[str, ThresholdCounts]) -> dict[str, Any]:
    scores, marks = {}, view.marks
    for score, exact in counts.items():
        thinned = curves.thin_counts(
            exact,
            SLIDER_POINTS,
            [
                *(curves.row_at_coverage(exact, share) for share in curves.COVERAGES),
                *_rows_of(marks.get(score, {}), exact),
            ],
        )
        threshold = np.clip(thinned.threshold, np.finfo(np.float64).min, np.finfo(np.float64).max)
        with np.errstate(over='ignore'):
            is_single = np.array_equal(threshold.astype(np.float32), threshold)
        # From accepting everything to the strictest: the slider's left end rejects nothing.
        scores[score] = {
            'threshold': [float(f'{v:.9g}') if is_single else float(v) for v in threshold[::-1]],
            'accepted': thinned.units[::-1].tolist(),
            'errors': thinned.errors[::-1].tolist(),
        }
    return {'unit': view.unit, 'scores': scores, 'marks': marks}


def _rows_of(marks: Mapping[str, float], counts: ThresholdCounts) -> list[int]:
    """Return the rows of the strictest thresholds that accept what lies over each mark."""
    rows = (curves.rows_over(counts, threshold) - 1 for threshold in marks.values())
    return [row for row in rows if row >= 0]


def _slider(view: View, counts: Mapping[str, ThresholdCounts], first: str) -> h.Element:
    outputs = [
        h.div[h.dt[label], h.dd[h.output(id=f'threshold-{name}')[words.DASH]]] for name, label in OUTPUTS.items()
    ]
    bar = [h.span(class_=['bar', part], id=f'bar-{part}', title=meaning) for part, meaning in PARTS.items()]
    key = [h.span[h.i(class_=['bar', part]), meaning] for part, meaning in PARTS.items()]
    return h.div('#threshold-tool.slider')[
        h.div('.controls')[
            h.label[
                'Score ',
                h.select('#threshold-score')[[h.option(value=s, selected=s == first)[view.label(s)] for s in counts]],
            ],
            h.label['Threshold ', h.output('#threshold-value', for_='threshold-slider')],
        ],
        h.input(
            '#threshold-slider',
            type='range',
            min='0',
            max='1',
            value='0',
            step='1',
            aria_label='Threshold, from accepting everything to the strictest',
        ),
        h.div('#threshold-marks.marks', aria_label='Certified thresholds'),
        h.div('.ends')[h.span['accept all'], h.span['strictest']],
        h.div('.bars', role='img', aria_label='Shares of accepted and rejected predictions')[bar],
        h.div('.key')[key],
        h.dl('.outputs')[outputs],
    ]


def _working_points(view: View, counts: ThresholdCounts, score: str) -> Table:
    rows, seen = [], set()
    for coverage in curves.COVERAGES:
        index = curves.row_at_coverage(counts, coverage)
        if index in seen:
            continue
        seen.add(index)
        accepted, errors = int(counts.units[index]), counts.errors[index].item()
        low, high = words.wilson(errors, accepted)
        rows.append(
            {
                'threshold': float(counts.threshold[index]),
                'coverage': accepted / counts.units[-1],
                'accepted': accepted,
                'rejected': counts.units[-1] - accepted,
                'errors_remaining': errors,
                'risk': errors / accepted,
                'risk_low': low,
                'risk_high': high,
                'errors_rejected': (counts.errors[-1] - errors) / counts.errors[-1] if counts.errors[-1] else None,
            }
        )

    def risk(value: float, row: Row) -> h.Node:
        # Neighboring pixels are wrong together: Wilson's interval assumes independence, so it would be too narrow.
        ends = None if view.is_segmentation else h.small[words.interval(row['risk_low'], row['risk_high'])]
        return [words.percent(value, 2), ends]

    columns = [
        Column('coverage', 'coverage', lambda v, _: words.percent(v), True, 'share accepted'),
        Column('threshold', 'threshold', lambda v, _: words.number(v, 4), True, 'accepted from this confidence on'),
        Column('accepted', 'accepted', lambda v, _: words.number(v), True),
        Column('rejected', 'rejected', lambda v, _: words.number(v), True),
        Column('errors_remaining', 'errors remaining', lambda v, _: words.number(v), True),
        Column('risk', 'error rate', risk, True, 'errors among accepted'),
        Column('errors_rejected', 'errors rejected', lambda v, _: words.percent(v), True, 'share of all errors'),
    ]
    intervals = '' if view.is_segmentation else f' Small numbers are 95{words.THIN}% Wilson intervals.'
    caption = f'Each row is the strictest threshold of {score} that accepts at least that share.{intervals}'
    return Table('working_points', caption, columns, rows, [] if view.is_segmentation else ['risk_low', 'risk_high'])


def _all_scores(view: View, counts: Mapping[str, ThresholdCounts]) -> Table:
    any_counts = next(iter(counts.values()))
    base = any_counts.errors[-1] / any_counts.units[-1]
    risks = [risk for risk in curves.RISKS if risk < base][:3]
    rows = []
    for score, c in counts.items():
        row: dict[str, Any] = {'score': view.label(score), '_muted': view.is_bound(score)}
        row['_marked'] = score == view.best
        for coverage in COMPARED:
            index = curves.row_at_coverage(c, coverage)
            row[f'risk_at_{coverage:g}'] = c.errors[index] / c.units[index]
        for risk in risks:
            index = curves.row_at_risk(c, risk)
            row[f'coverage_at_{risk:g}'] = 0.0 if index is None else c.units[index] / c.units[-1]
        rows.append(row)
    columns = [Column('score', 'score')]
    for coverage in COMPARED:
        label = f'error rate at {coverage:.0%} coverage'.replace('%', f'{words.THIN}%')
        columns.append(Column(f'risk_at_{coverage:g}', label, lambda v, _: words.percent(v, 2), True))
    for risk in risks:
        label = f'coverage at {risk * 100:g}{words.THIN}% errors'
        columns.append(Column(f'coverage_at_{risk:g}', label, lambda v, _: words.percent(v), True))
    caption = (
        'Left: errors among the accepted when at least that share is accepted. Right: the largest share that can be '
        'accepted at that error rate; 0 if no threshold reaches it.'
    )
    return Table('thresholds', caption, columns, rows)
