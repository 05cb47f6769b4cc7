"""Scores compared: which confidence score orders predictions best."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import htpy as h
import plotly.graph_objects as go

from failpred_jax.report import curves, figures_scores, style, words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Row, Table
from failpred_jax.report.view import View
from failpred_jax.results import Interval

CURVES = 'risk_coverage', 'roc', 'precision_recall_error'


@report_section('scores', order=20, title='Scores compared', question='Which confidence score should I use?')
def fill(view: View, section: Section) -> None:
    """Add the table of all scores by all metrics, their curves and their histograms."""
    if not view.scores:
        section.missing('Scores unavailable: the evaluation holds none.')
        return
    _add_table(section, view)
    _add_curves(section, view)
    _add_histograms(section, view)


def _add_table(section: Section, view: View) -> None:
    # Metrics at a single threshold are no columns: the section Which threshold shows them, and scores.csv holds them.
    metrics = view.columns
    columns = [Column('score', 'score', lambda _, row: _score_cell(view, row['score']))]
    for metric in metrics:
        facts = view.facts(metric)
        label = view.heading(metric) + view.arrow(metric)
        columns.append(Column(metric, label, _value_cell(view, metric), True, facts.definition or facts.meaning))
    rows, more = [], {}
    for score in view.scores:
        row: dict[str, Any] = {'score': score, 'role': view.role(score), '_muted': view.is_bound(score)}
        row['_marked'] = score == view.best
        for metric in view.metric_names:
            row[metric] = view.metric(score, metric)
            if ends := view.interval(score, metric):
                more |= {f'{metric}_low': None, f'{metric}_high': None}
                row[f'{metric}_low'], row[f'{metric}_high'] = ends
            if limits := view.limits(score, metric):
                more |= {f'{metric}_at_least': None, f'{metric}_at_most': None}
                row[f'{metric}_at_least'], row[f'{metric}_at_most'] = limits
        rows.append(row)
    keys = ['role', *(m for m in view.metric_names if m not in metrics)]
    section.add_table(Table('scores', _caption(view), columns, rows, [*keys, *more]))
    if notes := _notes(view):
        section.add(h.ul('.notes')[[h.li[note] for note in notes]])


def _caption(view: View) -> str:
    sentences = ['Shares in percent unless marked otherwise; an arrow shows which direction is better.']
    results = view.evaluation.scores.values()
    if any(result.intervals for result in results):
        # Of predictions from a file, pixels are resampled one by one; see docs/metrics.md.
        of_images = ', from resampling whole images' if view.evaluation.measures.curves else ''
        sentences.append(f'Small numbers are {view.run.interval * 100:g}{words.THIN}% intervals{of_images}.')
    if any(result.limits for result in results):
        sentences.append('Confidences are counted at levels: hover over a value for the limits of the exact one.')
    sentences.append(
        f'Sorted by {view.facts(view.verdict_metric).label}; the best usable score is highlighted. Click a heading to '
        'sort differently.'
    )
    if any(view.is_bound(score) for score in view.scores):
        sentences.append('An upper bound reads the true label: it shows what a perfect learner could reach.')
    return ' '.join(sentences)


def _notes(view: View) -> list[h.Node]:
    """Return what fits left, which scores are unavailable, and which intervals, with the reasons."""
    found = view.evaluation.scores
    notes: list[h.Node] = [
        [h.b[score], f': {note}'] for score in view.scores if score in found for note in found[score].notes
    ]
    notes += [[h.b[score], f' unavailable: {reason}'] for score, reason in view.evaluation.measures.unavailable.items()]
    reasons: dict[str, dict[str, None]] = {}
    for result in found.values():
        for metric, reason in result.no_interval.items():
            reasons.setdefault(reason, {})[view.facts(metric).label] = None
    notes += [f'No interval for {words.listed(list(labels))}: {reason}' for reason, labels in reasons.items()]
    return notes


def _score_cell(view: View, score: str) -> h.Node:
    bound = h.span('.badge')['upper bound'] if view.is_bound(score) else None
    best = h.span('.badge.best')['best'] if score == view.best else None
    return [h.span(title=view.description(score).description or None)[score], ' ', bound, best]


def _value_cell(view: View, metric: str) -> Callable[[Any, Row], h.Node]:
    def show(value: float | None, row: Row) -> h.Node:
        ends, limits = view.interval(row['score'], metric), view.limits(row['score'], metric)
        small = h.small[_range(view, metric, ends, 1)] if ends else None
        between = f'between {_range(view, metric, limits, 2)}' if limits else None
        return [h.span(title=between)[view.shown(metric, value)] if between else view.shown(metric, value), small]

    return show


def _range(view: View, metric: str, ends: Interval, digits: int) -> str:
    return f'{view.shown(metric, ends.low, digits)}{words.DASH}{view.shown(metric, ends.high, digits)}'


def _add_curves(section: Section, view: View) -> None:
    section.heading('Risk at every coverage')
    found = {view.label(score): view.figures(score) for score in view.scores}
    risk = {name: f.risk_coverage for name, f in found.items() if f.risk_coverage}
    if not risk:
        section.missing('Curves unavailable: the evaluation holds neither confidences of single units nor counts.')
        return
    lacking = [name for name in found if name not in risk]
    if lacking:
        section.missing(f'No curves for {words.listed(lacking)}: confidences are missing, or some are NaN.')
    shown = _shown(view, list(risk))
    section.add(_legend(list(risk), shown))
    section.add(
        _curve_figure(
            section,
            figures_scores.risk_coverage(risk, shown),
            'risk_coverage',
            'From left to right, more predictions are accepted, the most confident first. A lower line leaves fewer '
            'errors at the same coverage; all lines meet at the error rate of the model.',
            _curve_alt(view, 'Risk-coverage curves', view.verdict_metric),
        )
    )
    section.heading('Telling errors from correct predictions')
    recall = {name: f.precision_recall for name, f in found.items() if f.precision_recall}
    roc = {name: f.roc for name, f in found.items() if f.roc}
    if not roc:
        section.missing('ROC and precision-recall curves need at least one error and one correct prediction.')
        return
    section.add_grid([*_classification_curves(section, view, roc, recall, shown)], 'wide')


def _classification_curves(
    section: Section,
    view: View,
    roc: Mapping[str, curves.Curve],
    recall: Mapping[str, curves.Curve],
    shown: Sequence[str],
) -> list[h.Node]:
    return [
        _curve_figure(
            section,
            figures_scores.roc(roc, shown),
            'roc',
            'Higher and further left is better: correct predictions are accepted while errors are rejected. The dotted '
            'line is chance.',
            _curve_alt(view, 'ROC curves', 'auroc'),
        ),
        _curve_figure(
            section,
            figures_scores.precision_recall_error(recall, view.error_rate, shown),
            'precision_recall_error',
            'Higher and further right is better: what is rejected is truly wrong. The dotted line is rejecting at '
            'random.',
            _curve_alt(view, 'Precision-recall curves for errors', 'aupr_error'),
        ),
    ]


def _curve_figure(section: Section, figure: go.Figure, name: str, caption: str, alt: str) -> h.Element:
    """Return a figure whose lines the page's own legend switches, and keep its visible lines for the PNG."""
    visible = [trace for trace in _traces(figure) if trace.visible is True]
    section.figures[name] = functools.partial(go.Figure, visible, figure.layout)
    return section.figure_html(name, figure, caption, alt, has_legend=False)


def _traces(figure: go.Figure) -> Sequence[Any]:
    """Return a figure's traces, which Plotly does not type."""
    return cast(Any, figure).data


def _legend(names: Sequence[str], shown: Sequence[str]) -> h.Element:
    """Return one legend for all three figures; Plotly's own would leave no room for the lines of many scores."""
    buttons = []
    for index, name in enumerate(names):
        look = style.line_style(index)
        dashes = {'dash': '9 6', 'dot': '2 3', 'dashdot': '9 4 2 4', 'longdash': '14 7'}.get(look['dash'])
        line = h.line(x1='0', y1='5', x2='30', y2='5', stroke=look['color'], stroke_width='3', stroke_dasharray=dashes)
        key = h.button(
            type='button', data_line=figures_scores.line_name(name), aria_pressed='true' if name in shown else 'false'
        )
        buttons.append(key[h.svg(viewBox='0 0 30 10', aria_hidden='true')[line], name])
    label = 'Lines of the three figures below'
    return h.div('.legend', data_figures=' '.join(CURVES), role='group', aria_label=label)[buttons]


def _shown(view: View, names: Sequence[str]) -> list[str]:
    """Return the lines to start with: the best, the baseline, the learned ones and the bound."""
    wanted = [view.label(s) for s in view.scores if s == view.best or view.role(s)]
    ordered = dict.fromkeys([*wanted, *names])
    return [name for name in ordered if name in names][: figures_scores.MAX_LINES]


def _curve_alt(view: View, what: str, metric: str) -> str:
    values = [f'{score} {view.with_unit(metric, view.metric(score, metric), 1)}' for score in view.scores[:6]]
    return f'{what} of {len(view.scores)} scores; {view.facts(metric).label}: {", ".join(values)}.'


def _add_histograms(section: Section, view: View) -> None:
    found = {score: histogram for score in view.scores if (histogram := view.figures(score).histogram)}
    if not found:
        return
    section.heading('Confidence of correct and wrong predictions')
    section.text(
        'Counts are on a log axis. A useful score separates the two groups. Errors at the far right are those that it '
        'does not detect.'
    )
    section.add(
        h.div('.key')[
            h.span[h.i('.swatch-correct'), 'correct: wide, pale'], h.span[h.i('.swatch-wrong'), 'wrong: narrow, dark']
        ]
    )
    # The scores that start visible in the curves; the others are folded, which keeps the page short.
    first = _shown(view, [view.label(score) for score in found])
    figures, items, rest = [], [], []
    for index, (score, histogram) in enumerate(found.items()):
        figure = figures_scores.confidence_histogram(**histogram, name=view.label(score))
        figure.update_layout(showlegend=False)
        figures.append(figure)
        wrong, correct = (words.number(int(histogram[key].sum())) for key in ('wrong', 'correct'))
        alt = f'Histogram of {score} over {correct} correct and {wrong} wrong predictions.'
        placed = items if view.label(score) in first else rest
        placed.append(section.figure_html(f'histogram_{index}', figure, '', alt))
    section.add_grid(items, 'four')
    if rest:
        section.add(
            h.details[h.summary[f'Histograms of {words.count(len(rest), "other score")}'], h.div('.grid.four')[rest]]
        )
    section.add_combined('confidence_histograms', figures, 'Confidence of correct and wrong predictions', 3)
