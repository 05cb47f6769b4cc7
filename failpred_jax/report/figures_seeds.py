"""The figure of several seeds, a function of plain arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from failpred_jax.report import style


def seed_points(values: Mapping[str, Any], metric: str = '', scale: float = 100) -> go.Figure:
    """Return one point per seed and the mean of each score.

    Args:
      values: score -> [S] float, NaN where a seed has no value.
      metric: label for the title.
      scale: what is shown is times this: 100 for percent.
    """
    figure = style.new_figure(f'{style.plain(metric)} for each seed', '', '', 130 + 26 * max(len(values), 1))
    rows = [(row, np.asarray(v, np.float64) * scale) for row, v in enumerate(values.values())]
    points = [(x, row) for row, v in rows for x in v[np.isfinite(v)]]
    means = [(v[np.isfinite(v)].mean(), row) for row, v in rows if np.isfinite(v).any()]
    for label, chosen, marker in (
        ('one seed', points, {'color': style.BLUE, 'size': 8, 'opacity': 0.6}),
        ('mean', means, {'color': style.VERMILLION, 'size': 18, 'symbol': 'line-ns', 'line': {'width': 3}}),
    ):
        if 'line' in marker:
            marker['line']['color'] = style.VERMILLION
        figure.add_scatter(
            x=style.compact([x for x, _ in chosen]),
            y=[row for _, row in chosen],
            name=label,
            mode='markers',
            marker=marker,
            hovertemplate='%{x:.2f}<extra>' + label + '</extra>',
        )
    figure.update_xaxes(title_text='percent' if scale == 100 else f'x{scale:g}')
    figure.update_yaxes(
        tickmode='array',
        tickvals=list(range(len(values))),
        range=[len(values) - 0.5, -0.5],
        ticktext=[style.plain(style.shorten(name)) for name in values],
    )
    return figure
