"""Figures that compare confidence scores; each is one function of plain arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from failpred_jax.report import style

MAX_LINES = 8  # more lines than this start hidden; a click on the legend shows them


def line_name(score: str) -> str:
    """Return the name that a score's line carries in figures."""
    return style.plain(style.shorten(score))


def _curves(
    figure: go.Figure, curves: Mapping[str, Any], shown: Sequence[str] | None, hover: str, shape: str = 'linear'
) -> go.Figure:
    shown = list(curves)[:MAX_LINES] if shown is None else shown
    for index, (name, (x, y)) in enumerate(curves.items()):
        figure.add_scatter(
            x=style.compact(x),
            y=style.compact(y),
            name=line_name(name),
            mode='lines',
            line={**style.line_style(index), 'shape': shape},
            visible=True if name in shown else 'legendonly',
            hovertemplate=f'{hover}<extra>%{{fullData.name}}</extra>',
        )
    return figure


def risk_coverage(curves: Mapping[str, Any], shown: Sequence[str] | None = None) -> go.Figure:
    """Return risk-coverage curves.

    Args:
      curves: score -> (coverage [M], selective risk [M]), both in [0, 1], as `curves.curve_of` returns them.
      shown: scores whose line is visible at first; None shows the first eight.
    """
    figure = style.new_figure('Risk-coverage curves', 'coverage: share accepted', 'error rate among accepted', 420)
    figure.update_xaxes(tickformat='.0%', range=[0, 1])
    figure.update_yaxes(tickformat='.1~%', rangemode='tozero')
    return _curves(figure, curves, shown, 'coverage %{x:.1%}, error rate %{y:.2%}')


def roc(curves: Mapping[str, Any], shown: Sequence[str] | None = None) -> go.Figure:
    """Return ROC curves, correct being the positive class.

    Args:
      curves: score -> (share of errors accepted [M], share of correct accepted [M]), both in [0, 1].
      shown: scores whose line is visible at first; None shows the first eight.
    """
    figure = style.new_figure('ROC curves', 'errors accepted', 'correct predictions accepted', 400)
    figure.update_xaxes(tickformat='.0%', range=[0, 1])
    figure.update_yaxes(tickformat='.0%', range=[0, 1.005])
    figure.add_shape(type='line', x0=0, y0=0, x1=1, y1=1, line={'color': style.MUTED, 'width': 1, 'dash': 'dot'})
    return _curves(figure, curves, shown, 'errors accepted %{x:.1%}, correct accepted %{y:.1%}')


def precision_recall_error(
    curves: Mapping[str, Any], error_rate: float | None = None, shown: Sequence[str] | None = None
) -> go.Figure:
    """Return precision-recall curves of finding errors by low confidence.

    Args:
      curves: score -> (recall [M], precision [M]), both in [0, 1].
      error_rate: in [0, 1]; drawn as the line of rejecting at random.
      shown: scores whose line is visible at first; None shows the first eight.
    """
    figure = style.new_figure('Precision and recall for errors', 'errors found', 'share of rejected that is wrong', 400)
    figure.update_xaxes(tickformat='.0%', range=[0, 1])
    figure.update_yaxes(tickformat='.0%', range=[0, 1.01])
    if error_rate is not None:
        figure.add_shape(
            type='line',
            x0=0,
            x1=1,
            y0=error_rate,
            y1=error_rate,
            line={'color': style.MUTED, 'width': 1, 'dash': 'dot'},
        )
    return _curves(figure, curves, shown, 'errors found %{x:.1%}, precision %{y:.1%}')


def confidence_histogram(edges: Any, correct: Any, wrong: Any, name: str = '') -> go.Figure:
    """Return the histogram of one score over correct and wrong predictions, counts on a log axis.

    Args:
      edges: [K + 1] float, rising.
      correct: [K] int, correct units per bin.
      wrong: [K] int, wrong units per bin.
      name: of the score.
    """
    edges = np.asarray(edges, np.float64)
    figure = style.new_figure(style.plain(style.shorten(name, 44)), 'confidence', 'count (log axis)', 240)
    middle, width = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    # Narrow bars in front of wide ones: the two can be told apart without color.
    for label, counts, color, share in (('correct', correct, style.CORRECT, 1.0), ('wrong', wrong, style.WRONG, 0.45)):
        figure.add_bar(
            x=style.compact(middle),
            y=np.asarray(counts),
            width=style.compact(width * share),
            name=label,
            marker={'color': color, 'opacity': 0.4 if label == 'correct' else 1, 'line': {'width': 0}},
            hovertemplate=f'around %{{x:.3f}}: %{{y:,}} {label}<extra></extra>',
        )
    top = max(int(np.max(correct, initial=1)), int(np.max(wrong, initial=1)), 2)
    figure.update_yaxes(type='log', range=[np.log10(0.7), np.log10(top * 1.5)], dtick=1)
    figure.update_layout(barmode='overlay', bargap=0)
    return figure


def paired_differences(
    names: Sequence[str], difference: Any, low: Any, high: Any, metric: str = '', scale: float = 100
) -> go.Figure:
    """Return differences between pairs of scores with their intervals.

    Args:
      names: [P] such as 'confidnet - mcp'; a line break splits lines.
      difference: [P] float, in [-1, 1].
      low: [P] lower end of the interval.
      high: [P] upper end.
      metric: label of the metric.
      scale: what is shown is times this: 100 for percentage points.
    """
    middle = np.asarray(difference, np.float64) * scale
    low, high = np.asarray(low, np.float64) * scale, np.asarray(high, np.float64) * scale
    figure = style.new_figure(
        f'Paired differences in {style.plain(metric)}', '', '', height=140 + 36 * max(len(names), 1)
    )
    clear = (low > 0) | (high < 0)
    for label, chosen, color, symbol in (
        ('interval excludes 0', clear, style.BLUE, 'circle'),
        ('interval contains 0', ~clear, style.MUTED, 'circle-open'),
    ):
        rows = np.flatnonzero(chosen)
        if not len(rows):
            continue
        figure.add_scatter(
            x=middle[rows],
            y=rows,
            name=label,
            mode='markers',
            marker={'color': color, 'size': 9, 'symbol': symbol},
            error_x={
                'type': 'data',
                'symmetric': False,
                'thickness': 1.5,
                'width': 4,
                'color': color,
                'array': (high - middle)[rows],
                'arrayminus': (middle - low)[rows],
            },
            customdata=np.stack([low[rows], high[rows]], axis=1),
            hovertemplate='%{x:.2f} (%{customdata[0]:.2f} to %{customdata[1]:.2f})<extra></extra>',
        )
    figure.update_xaxes(title_text='difference, in percentage points' if scale == 100 else f'difference x{scale:g}')
    figure.update_yaxes(
        tickmode='array',
        tickvals=list(range(len(names))),
        range=[len(names) - 0.5, -0.5],
        gridcolor=style.GRID,
        ticktext=['<br>'.join(style.plain(style.shorten(line)) for line in name.split('\n')) for name in names],
    )
    figure.add_vline(x=0, line={'color': style.MUTED, 'width': 1})
    return figure


def true_class_probability_histogram(edges: Any, counts: Any) -> go.Figure:
    """Return the histogram of the true-class probability over training units, which is what the head learns.

    Args:
      edges: [K + 1] float in [0, 1], rising.
      counts: [K] int.
    """
    edges = np.asarray(edges, np.float64)
    figure = style.new_figure(
        'True-class probability on the training set', 'true-class probability', 'count (log axis)', 300
    )
    counts = np.asarray(counts)
    figure.add_bar(
        x=style.compact((edges[:-1] + edges[1:]) / 2),
        y=counts,
        width=style.compact(np.diff(edges)),
        marker={'color': style.BLUE, 'line': {'width': 0}},
        hovertemplate='around %{x:.2f}: %{y:,}<extra></extra>',
    )
    figure.update_yaxes(
        type='log', range=[np.log10(0.7), np.log10(max(int(np.max(counts, initial=1)), 2) * 1.5)], dtick=1
    )
    figure.update_layout(showlegend=False, bargap=0)
    return figure
