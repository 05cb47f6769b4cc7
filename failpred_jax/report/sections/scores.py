"""Scores compared: which confidence score orders predictions best."""

import plotly.graph_objects as go

from failpred_jax.report import figures_scores, paper, style, words
from failpred_jax.report.html import Html, join, tag
from failpred_jax.report.section import Section
from failpred_jax.report.tables import Column, Table
from failpred_jax.report.view import View, as_mapping


def make(view: View) -> Section:
    """Return the section that compares the scores."""
    section = Section('scores', 'Scores compared', 'Which confidence score should I use?')
    if not view.scores:
        section.missing('The evaluation holds no scores.')
        return section
    _add_table(section, view)
    _add_paper(section, view)
    _add_curves(section, view)
    _add_histograms(section, view)
    _add_differences(section, view)
    return section


def _add_table(section: Section, view: View) -> None:
    every = [m for m in view.metric_names if m not in ('accuracy', 'num_errors', 'num_units')]
    # Operating points have a table of their own in the next section; the CSV holds them all.
    metrics = [m for m in every if not m.startswith(('risk_at', 'coverage_at'))]
    definitions = as_mapping(view.definitions.get('metrics'))
    columns = [Column('score', 'score', lambda _, row: _score_cell(view, row['score']))]
    for metric in metrics:
        known = view.metric_words(metric)
        arrow = {'higher': '\u00a0\u2191', 'lower': '\u00a0\u2193'}.get(known.better, '')
        hint = as_mapping(definitions.get(metric)).get('definition') or known.meaning
        columns.append(Column(metric, known.label + arrow, _value_cell(view, metric), True, str(hint)))
    rows = []
    for score in view.scores:
        row = {'score': score, 'upper_bound': view.reads_label(score), '_muted': view.reads_label(score)}
        row['_marked'] = score == view.best
        for metric in every:
            row[metric] = view.metric(score, metric)
            row[f'{metric}_low'], row[f'{metric}_high'] = view.interval(score, metric) or (None, None)
        rows.append(row)
    ends = [f'{m}_{end}' for m in every if any(view.interval(s, m) for s in view.scores) for end in ('low', 'high')]
    level = f'{view.interval_level * 100:g}'
    # Of predictions from a file, pixels are resampled one by one; see docs/metrics.md.
    of_images = ', from resampling whole images' if view.results.metrics.get('curves') and ends else ''
    caption = (
        'In percent; arrows point to the better side. '
        + (f'Small figures are {level} % intervals{of_images}. ' if ends else '')
        + 'The best usable score is marked. Click a heading to sort.'
    )
    if any(view.reads_label(score) for score in view.scores):
        caption += ' An upper bound reads the true label: it shows what a perfect learner could reach.'
    section.add_table(
        Table('scores', caption, columns, rows, ['upper_bound', *(m for m in every if m not in metrics), *ends])
    )
    notes = [
        tag('li', tag('b', score), ': ', str(note))
        for score in view.scores
        for note in view.table.get(score, {}).get('notes') or ()
    ]
    missing = as_mapping(view.results.metrics.get('unavailable'))
    notes += [tag('li', tag('b', score), ' is not here: ', str(reason)) for score, reason in missing.items()]
    if notes:
        section.add(tag('ul', notes, class_='notes'))


def _score_cell(view: View, score: str) -> Html:
    description = view.score_definition(score).get('description')
    bound = tag('span', 'upper bound', class_='badge') if view.reads_label(score) else ''
    best = tag('span', 'best', class_='badge best') if score == view.best else ''
    return join(tag('span', score, title=description or None), ' ', bound, best)


def _value_cell(view: View, metric: str):
    def show(value: float | None, row: dict) -> Html:
        ends = view.interval(row['score'], metric)
        small = tag('small', f'{_ends(metric, *ends)}') if ends else ''
        return join(words.metric_value(metric, value), small)

    return show


def _ends(metric: str, low: float, high: float) -> str:
    return f'{words.metric_value(metric, low, 1)}{words.DASH}{words.metric_value(metric, high, 1)}'


def _add_paper(section: Section, view: View) -> None:
    model = str(as_mapping(view.context.get('model')).get('name') or '')
    experiment = paper.experiment_of(str(view.dataset.get('name') or ''), model)
    if experiment is None:
        return
    section.heading('Beside the paper')
    rows = []
    for score, ours, values in paper.comparison(experiment, view.table):
        row = {'score': score, 'ours': ours}
        for metric, value in zip(paper.METRICS, values, strict=True):
            row[f'{metric}_paper'] = value
            row[metric] = view.metric(ours, metric) if ours else None
        rows.append(row)
    columns = [
        Column('score', "paper's score"),
        Column('ours', 'compared with', lambda value, _: value or words.DASH),
    ]
    for metric in paper.METRICS:
        label = words.metric_words(metric).label
        shown = _metric_cell(metric)
        columns.append(Column(metric, f'{label}, here', shown, True))
        columns.append(Column(f'{metric}_paper', 'paper', shown, True))
    caption = (
        f'{experiment}: {paper.SOURCE}, in percent. The paper trained once, and on these data differences of a few '
        'points change sign with the seed: this is a check of scale, not a race.'
    )
    section.add_table(Table('paper', caption, columns, rows))


def _metric_cell(metric: str):
    return lambda value, _: words.metric_value(metric, value)


def _add_curves(section: Section, view: View) -> None:
    section.heading('Risk at every coverage')
    all_curves = {score: view.curves(score) for score in view.scores}
    named = {view.label(score): curves for score, curves in all_curves.items()}
    risk = {name: c.risk_coverage for name, c in named.items() if c.risk_coverage}
    if not risk:
        section.missing('Curves need per-unit confidences or precomputed curves; this evaluation holds neither.')
        return
    lacking = [name for name in named if name not in risk]
    if lacking:
        section.missing(f'No curves for {words.listed(lacking)}: no confidences are here, or some are NaN.')
    shown = _shown(view, list(risk))
    section.add(_legend(list(risk), shown))
    recall = {name: c.precision_recall for name, c in named.items() if c.precision_recall}
    roc = {name: c.roc for name, c in named.items() if c.roc}
    section.parts.append(
        _curve_figure(
            section,
            'risk_coverage',
            figures_scores.risk_coverage(risk, shown),
            'Accept the surest predictions first, from left to right. A lower line leaves fewer errors at the same '
            'coverage; all meet at the error rate of the model.',
            _curve_alt(view, 'Risk-coverage curves'),
        )
    )
    section.heading('Telling errors from correct predictions')
    if not roc:
        section.missing('ROC and precision-recall curves need at least one error and one correct prediction.')
        return
    section.add_grid(
        [
            _curve_figure(
                section,
                'roc',
                figures_scores.roc(roc, shown),
                'Up and left is better: correct predictions pass while errors are held back. The dotted line is '
                'chance.',
                _curve_alt(view, 'ROC curves', 'auroc'),
            ),
            _curve_figure(
                section,
                'precision_recall_error',
                figures_scores.precision_recall_error(recall, view.error_rate, shown),
                'Up and right is better: what is rejected is truly wrong. The dotted line is rejecting at random.',
                _curve_alt(view, 'Precision-recall curves for errors', 'aupr_error'),
            ),
        ],
        'wide',
    )


def _curve_figure(section: Section, name: str, figure: go.Figure, caption: str, alt: str) -> Html:
    """Return a figure whose lines the page's own legend switches, and keep its visible lines for the PNG."""
    section.figures[name] = go.Figure([trace for trace in figure.data if trace.visible is True], figure.layout)
    on_page = go.Figure(figure)
    on_page.update_layout(showlegend=False)
    return section.figure_html(name, on_page, caption, alt)


def _legend(names: list[str], shown: list[str]) -> Html:
    """Return one legend for all three figures; Plotly's own would leave no room for the lines of many scores."""
    buttons = []
    for index, name in enumerate(names):
        look = style.line_style(index)
        dashes = {'dash': '9 6', 'dot': '2 3', 'dashdot': '9 4 2 4', 'longdash': '14 7'}.get(look['dash'])
        stroke = {'stroke': look['color'], 'stroke_width': '3', 'stroke_dasharray': dashes}
        line = tag('line', x1='0', y1='5', x2='30', y2='5', **stroke)
        swatch = tag('svg', line, viewBox='0 0 30 10', aria_hidden='true')
        pressed = 'true' if name in shown else 'false'
        buttons.append(
            tag('button', swatch, name, type='button', data_line=figures_scores.line_name(name), aria_pressed=pressed)
        )
    attributes = {'class_': 'legend', 'role': 'group', 'aria_label': 'Lines of the three figures below'}
    return tag('div', buttons, data_figures='risk_coverage roc precision_recall_error', **attributes)


def _shown(view: View, names: list[str]) -> list[str]:
    """Return the lines to start with: the best, the plain and the learned ones, and the bound."""
    wanted = [view.label(s) for s in view.scores if s in ('mcp', 'tcp', 'confidnet', 'confidnet_finetuned')]
    ordered = list(dict.fromkeys([*wanted, *names]))
    return [name for name in ordered if name in names][: figures_scores.MAX_LINES]


def _curve_alt(view: View, what: str, metric: str | None = None) -> str:
    metric = metric or view.verdict_metric
    label = words.metric_words(metric).label
    values = [f'{s} {words.percent(view.metric(s, metric), 1)}' for s in view.scores[:6]]
    return f'{what} of {len(view.scores)} scores; {label}: {", ".join(values)}.'


def _add_histograms(section: Section, view: View) -> None:
    found = {score: view.curves(score).histogram for score in view.scores}
    found = {score: histogram for score, histogram in found.items() if histogram}
    if not found:
        return
    section.heading('Confidence of correct and wrong predictions')
    section.text(
        'Counts are on a log axis. A useful score pushes the two apart; errors at the far right are the ones it '
        'cannot see.'
    )
    section.add(
        tag(
            'div',
            tag('span', tag('i', class_='swatch-correct'), 'correct: wide, pale'),
            tag('span', tag('i', class_='swatch-wrong'), 'wrong: narrow, dark'),
            class_='key',
        )
    )
    figures, items = [], []
    for index, (score, histogram) in enumerate(found.items()):
        figure = figures_scores.confidence_histogram(**histogram, name=view.label(score))
        figures.append(figure)
        wrong, correct = int(histogram['wrong'].sum()), int(histogram['correct'].sum())
        alt = f'Histogram of {score} over {words.number(correct)} correct and {words.number(wrong)} wrong predictions.'
        figure.update_layout(showlegend=False)
        items.append(section.figure_html(f'histogram_{index}', figure, '', alt))
    # The scores that start visible in the curves; the others wait behind a fold, or a phone never reaches the end.
    first = _shown(view, [view.label(score) for score in found])
    order = [view.label(score) in first for score in found]
    section.add_grid([item for item, is_first in zip(items, order, strict=True) if is_first], 'four')
    rest = [item for item, is_first in zip(items, order, strict=True) if not is_first]
    if rest:
        summary = tag('summary', f'Histograms of {words.count(len(rest), "other score")}')
        section.add(tag('details', summary, tag('div', rest, class_='grid four')))
    section.add_combined('confidence_histograms', figures, 'Confidence of correct and wrong predictions', 3)


def _add_differences(section: Section, view: View) -> None:
    rows = [row for row in view.results.metrics.get('comparisons') or () if words.is_number(row.get('difference'))]
    if not rows:
        return
    section.heading('Paired differences')
    rows = [
        {
            **{key: row.get(key) for key in ('metric', 'a', 'b', 'difference', 'low', 'high', 'a_wins')},
            'pair': f'{row.get("a")}\n{words.MINUS} {row.get("b")}',
            'clear': words.is_number(row.get('low')) and (row['low'] > 0 or row.get('high', 0) < 0),
        }
        for row in rows
    ]
    metrics = list(dict.fromkeys(row['metric'] for row in rows))
    metric = view.verdict_metric if view.verdict_metric in metrics else metrics[0]
    known = words.metric_words(str(metric))
    of_metric = [row for row in rows if row['metric'] == metric and words.is_number(row['low'])]
    # Against the best score where that was measured; the table holds the rest.
    with_best = [row for row in of_metric if view.best in (row['a'], row['b'])]
    chosen = (with_best or of_metric)[:24]
    if chosen:
        figure = figures_scores.paired_differences(
            [row['pair'] for row in chosen],
            [row['difference'] for row in chosen],
            [row['low'] for row in chosen],
            [row['high'] for row in chosen],
            known.label,
        )
        clear = sum(row['clear'] for row in chosen)
        side = {'higher': 'Right of 0 the first is better. ', 'lower': 'Left of 0 the first is better. '}.get(
            known.better, ''
        )
        section.add_figure(
            'paired_differences',
            figure,
            f'{side}Both scores are measured on the same resampled test sets, so these intervals say more than the '
            'overlap of two single ones. One that holds 0 leaves open which score is better.',
            f'{len(chosen)} paired differences in {known.label}; {clear} of the intervals exclude 0.',
        )
    columns = [
        Column('metric', 'metric', lambda value, _: words.metric_words(str(value)).label),
        Column('a', 'first'),
        Column('b', 'second'),
        Column('difference', 'difference', _signed, True, 'first minus second, in percentage points'),
        Column('low', 'from', _signed, True),
        Column('high', 'to', _signed, True),
        Column('a_wins', 'first is better', lambda value, _: words.percent(value, 0), True, 'share of resamples'),
    ]
    section.add(
        tag(
            'details',
            tag('summary', f'All {len(rows)} paired differences'),
            section.table_html(Table('paired_differences', 'In percentage points.', columns, rows)),
        )
    )


def _signed(value: float | None, _: dict) -> str:
    if not words.is_number(value):
        return words.DASH
    return f'{value * 100:+.2f}'.replace('-', words.MINUS)
