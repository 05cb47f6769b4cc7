"""Figures of a classifier's classes; each is one function of plain arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from failpred_jax.report import style, words

MAX_CLASSES = 60  # more rows than this cannot be read; callers show the classes with the most errors


def _class_axis(names: Sequence[str], length: int = 18) -> dict[str, Any]:
    """Return an axis with one tick per class, by position: names may repeat, and may look like numbers."""
    return {
        'tickmode': 'array',
        'tickvals': list(range(len(names))),
        'ticktext': [style.plain(style.shorten(name, length)) for name in names],
    }


def confusion_matrix(counts: Any, class_names: Sequence[str], totals: Any = None) -> go.Figure:
    """Return the confusion matrix, each row (true class) divided by its total.

    Args:
      counts: [C, C] int, rows true, columns predicted.
      class_names: C names.
      totals: [C] int, units of each class; None takes the rows' sums. Differs where only some classes are drawn.
    """
    counts = np.asarray(counts, np.int64)
    totals = counts.sum(axis=1) if totals is None else np.asarray(totals)
    share = counts / np.maximum(totals, 1)[:, None]
    size = len(class_names)
    figure = style.new_figure('Confusion matrix', 'predicted', 'true', min(720, max(380, 150 + 24 * size)))
    figure.add_heatmap(
        z=style.compact(share),
        zmin=0,
        zmax=1,
        colorscale=[[i / (len(style.SCALE) - 1), color] for i, color in enumerate(style.SCALE)],
        text=[[f'{v * 100:.0f}' if v >= 0.005 else '' for v in row] for row in share] if size <= 20 else None,
        texttemplate='%{text}' if size <= 20 else None,
        textfont={'size': 11 if size <= 12 else 9},
        customdata=counts[:, :, None],
        hovertemplate='true %{y}, predicted %{x}: %{customdata[0]:,} (%{z:.1%})<extra></extra>',
        xgap=1 if size <= 30 else 0,
        ygap=1 if size <= 30 else 0,
        colorbar={'tickformat': '.0%', 'thickness': 10, 'outlinewidth': 0, 'len': 0.8},
    )
    figure.update_xaxes(**_class_axis(class_names), showgrid=False, tickangle=None if size <= 10 else -60)
    figure.update_yaxes(**_class_axis(class_names), showgrid=False, autorange='reversed')
    return figure


def class_accuracy(
    correct: Any, total: Any, class_names: Sequence[str], title: str = 'Accuracy per class'
) -> go.Figure:
    """Return a share per class with its 95 % interval, worst first.

    Args:
      correct: [C] int or float, units of a class that are correct.
      total: [C] int or float, units of a class; classes without any are left out.
      class_names: C names.
      title: of the figure.
    """
    correct, total = np.asarray(correct, np.float64), np.asarray(total, np.float64)
    present = np.flatnonzero(total > 0)
    share = correct[present] / total[present]
    order = np.argsort(share, kind='stable')
    present, share = present[order], share[order]
    bounds = np.array([words.wilson(correct[c], total[c]) for c in present]).reshape(-1, 2)
    figure = style.new_figure(title, '', '', 110 + 20 * len(present))
    figure.add_scatter(
        x=style.compact(share),
        y=np.arange(len(present)),
        mode='markers',
        marker={'color': style.BLUE, 'size': 8},
        error_x={
            'type': 'data',
            'symmetric': False,
            'thickness': 1.5,
            'width': 0,
            'color': style.BLUE,
            'array': bounds[:, 1] - share,
            'arrayminus': share - bounds[:, 0],
        },
        customdata=total[present],
        hovertemplate='%{x:.1%} of %{customdata:,}<extra></extra>',
    )
    figure.update_xaxes(tickformat='.0%', range=[min(0.99, max(0, float(bounds.min(initial=1)) - 0.05)), 1.01])
    figure.update_yaxes(**_class_axis([class_names[int(c)] for c in present]), range=[len(present) - 0.5, -0.5])
    figure.update_layout(showlegend=False)
    return figure


def true_class_probability(mean: Any, median: Any, class_names: Sequence[str]) -> go.Figure:
    """Return the mean and median true-class probability per class, lowest mean first.

    Args:
      mean: [C] float in [0, 1]; NaN for a class without units, which is left out.
      median: [C] float in [0, 1].
      class_names: C names.
    """
    mean, median = np.asarray(mean, np.float64), np.asarray(median, np.float64)
    order = [c for c in np.argsort(mean, kind='stable') if np.isfinite(mean[c])]
    figure = style.new_figure('True-class probability per class', '', '', 130 + 20 * len(order))
    rows = np.arange(len(order))
    for label, values, symbol, color in (
        ('mean', mean, 'circle', style.BLUE),
        ('median', median, 'diamond-open', style.VERMILLION),
    ):
        figure.add_scatter(
            x=style.compact(values[order]),
            y=rows,
            name=label,
            mode='markers',
            marker={'color': color, 'size': 8, 'symbol': symbol, 'line': {'width': 1.5}},
            hovertemplate=f'{label} %{{x:.3f}}<extra></extra>',
        )
    figure.update_xaxes(range=[0, 1.02])
    figure.update_yaxes(**_class_axis([class_names[int(c)] for c in order]), range=[len(order) - 0.5, -0.5])
    return figure


def class_bars(values: Any, class_names: Sequence[str], title: str) -> go.Figure:
    """Return one bar per class in [0, 1], lowest first; used for IoU.

    Args:
      values: [C] float in [0, 1]; NaN is left out.
      class_names: C names.
      title: of the figure.
    """
    values = np.asarray(values, np.float64)
    order = [c for c in np.argsort(values, kind='stable') if np.isfinite(values[c])]
    figure = style.new_figure(title, '', '', 110 + 22 * len(order))
    figure.add_bar(
        x=style.compact(values[order]),
        y=np.arange(len(order)),
        orientation='h',
        marker={'color': style.BLUE},
        hovertemplate='%{x:.1%}<extra></extra>',
    )
    figure.update_xaxes(tickformat='.0%', range=[0, 1])
    figure.update_yaxes(**_class_axis([class_names[int(c)] for c in order]), range=[len(order) - 0.5, -0.5])
    figure.update_layout(showlegend=False, bargap=0.35)
    return figure
