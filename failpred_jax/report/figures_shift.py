"""Figures of shifted sets: what corruptions do by severity, and a matrix of scores and sets."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from failpred_jax.report import style

# Lines of single corruptions lie behind their mean.
_FAINT = 'rgba(128, 128, 128, 0.35)'


def by_severity(curves: Mapping[str, Mapping[str, Sequence[float]]], title: str, label: str) -> go.Figure:
    """Return lines over severity 0 to 5, in percent: the mean over corruptions, each corruption behind it.

    Args:
      curves: what is shown -> corruption -> six values, NaN where there is none.
      title: of the figure.
      label: of the vertical axis.
    """
    figure = style.new_figure(title, 'severity (0: as in the test set)', label)
    levels = list(range(6))
    for index, (name, of) in enumerate(curves.items()):
        rows = np.array([list(values) for values in of.values()], np.float64) * 100
        for row in rows:
            figure.add_scatter(
                x=levels, y=style.compact(row), mode='lines', line={'color': _FAINT, 'width': 1}, showlegend=False,
                hoverinfo='skip',
            )  # fmt: skip
        known = [column[np.isfinite(column)] for column in rows.T]
        mean = [float(column.mean()) if len(column) else math.nan for column in known]
        figure.add_scatter(
            x=levels,
            y=style.compact(mean),
            name=style.plain(name),
            mode='lines+markers',
            line=style.line_style(index),
            hovertemplate='severity %{x}: %{y:.1f}<extra>' + style.plain(name) + '</extra>',
        )
    figure.update_xaxes(tickmode='array', tickvals=levels)
    return figure


def matrix(rows: Sequence[str], columns: Sequence[str], values: Any, title: str) -> go.Figure:
    """Return a heat map of scores x shifted sets, each column colored for itself: dark is best there.

    Args:
      rows: R scores.
      columns: K sets.
      values: [R, K] float in [0, 1], higher is better; NaN is left empty.
      title: of the figure.
    """
    percent = np.asarray(values, np.float64) * 100
    figure = style.new_figure(title, '', '', 150 + 24 * len(rows))
    rank = np.full(percent.shape, np.nan)
    for k in range(percent.shape[1]):
        known = np.isfinite(percent[:, k])
        if known.any():
            low, high = percent[known, k].min(), percent[known, k].max()
            rank[known, k] = (percent[known, k] - low) / max(high - low, 1e-9)
    figure.add_heatmap(
        z=[[None if math.isnan(v) else round(v, 3) for v in row] for row in rank.tolist()],
        text=[['' if math.isnan(v) else f'{v:.1f}' for v in row] for row in percent.tolist()],
        texttemplate='%{text}',
        x=[style.plain(style.shorten(name)) for name in columns],
        y=[style.plain(style.shorten(name)) for name in rows],
        colorscale=[[0, 'rgba(0, 114, 178, 0.03)'], [1, 'rgba(0, 114, 178, 0.75)']],
        showscale=False,
        hovertemplate='%{y}, %{x}: %{text}<extra></extra>',
    )
    figure.update_yaxes(autorange='reversed')
    figure.update_xaxes(side='top', tickangle=-35)
    return figure
