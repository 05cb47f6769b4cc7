"""Figures of calibration; each is one function of plain arrays."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from failpred_jax.report import style, words


def reliability(confidence: Any, accuracy: Any, count: Any, name: str = '', height: int = 330) -> go.Figure:
    """Return a reliability diagram: accuracy against confidence above, counts below.

    Args:
      confidence: [K] float in [0, 1], mean confidence of a bin; NaN in an empty one.
      accuracy: [K] float in [0, 1]; NaN in an empty bin.
      count: [K] int, units per bin.
      name: title, such as the score.
      height: pixels.
    """
    confidence, accuracy = np.asarray(confidence, np.float64), np.asarray(accuracy, np.float64)
    count = np.asarray(count, np.int64)
    filled = count > 0
    low, high = (
        np.array([words.wilson(a * n, n) for a, n in zip(accuracy[filled], count[filled], strict=True)])
        .reshape(-1, 2)
        .T
    )
    figure = style.new_figure(style.plain(style.shorten(name, 44)), '', 'accuracy', height)
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode='lines',
        name='perfect calibration',
        hoverinfo='skip',
        line={'color': style.MUTED, 'width': 1, 'dash': 'dot'},
    )
    figure.add_scatter(
        x=style.compact(confidence[filled]),
        y=style.compact(accuracy[filled]),
        name='this model',
        mode='lines+markers',
        line={'color': style.BLUE, 'width': 2},
        marker={'size': 6},
        error_y={
            'type': 'data',
            'symmetric': False,
            'thickness': 1,
            'width': 0,
            'color': style.BLUE,
            'array': (high - accuracy[filled]).clip(0),
            'arrayminus': (accuracy[filled] - low).clip(0),
        },
        customdata=count[filled],
        hovertemplate='confidence %{x:.1%}, accuracy %{y:.1%}, %{customdata:,} units<extra></extra>',
    )
    _add_counts(figure, count)
    return figure


def _add_counts(figure: go.Figure, count: np.ndarray) -> None:
    """Add the counts of the bins [K] below a reliability diagram."""
    edges = np.linspace(0, 1, len(count) + 1)
    figure.add_bar(
        x=style.compact((edges[:-1] + edges[1:]) / 2),
        y=count,
        width=1 / max(len(count), 1),
        xaxis='x',
        yaxis='y2',
        name='count',
        showlegend=False,
        marker={'color': style.MUTED, 'opacity': 0.55, 'line': {'width': 0}},
        hovertemplate='%{y:,} units<extra></extra>',
    )
    figure.update_layout(
        xaxis={'range': [0, 1], 'tickformat': '.0%', 'title': {'text': 'confidence'}, 'anchor': 'y2'},
        yaxis={'range': [0, 1.02], 'tickformat': '.0%', 'domain': [0.34, 1]},
        yaxis2={'type': 'log', 'domain': [0, 0.24], 'title': {'text': 'count'}, 'dtick': 1, 'nticks': 3},
        showlegend=False,
        bargap=0,
    )
    top = max(int(count.max(initial=1)), 2)
    figure.update_layout(
        yaxis2_range=[np.log10(0.7), np.log10(top * 1.5)], yaxis2_dtick=max(1, round(np.log10(top)) // 2)
    )
