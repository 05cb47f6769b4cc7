"""Figures of training; each is one function of plain arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from failpred_jax.report import style

# The columns of a stage's history that are shown together, in this order.
PANELS = {
    'loss': lambda name: name.endswith('loss'),
    'accuracy': lambda name: name.endswith('accuracy'),
    'failure prediction': lambda name: name.startswith('val_') and not name.endswith(('loss', 'accuracy', 'spread')),
    'spread of confidence': lambda name: name.endswith('spread'),
    'learning rate': lambda name: name == 'learning_rate',
}


def panel_columns(history: Mapping[str, Sequence], panel: str) -> list[str]:
    """Return the columns of a history that belong to one of PANELS and have at least one finite value."""
    return [name for name, values in history.items() if PANELS[panel](name) and np.isfinite(_numbers(values)).any()]


def training_curves(
    history: Mapping[str, Sequence], panel: str, stage: str = '', best_step: float | None = None
) -> go.Figure:
    """Return one panel of a stage's training curves.

    Args:
      history: column -> [E] numbers (None or NaN where not measured), with 'epoch' or 'step' for the x axis.
      panel: one of PANELS.
      stage: for the title.
      best_step: the step of the checkpoint that was kept, marked by a line; None for none.
    """
    by = 'epoch' if 'epoch' in history else 'step'
    columns = panel_columns(history, panel)
    length = max((len(history[name]) for name in columns), default=0)
    x = _numbers(history.get(by, range(1, length + 1)))
    figure = style.new_figure(style.plain(f'{stage}: {panel}' if stage else panel), by, '', 240)
    for index, name in enumerate(columns):
        values = _numbers(history[name])
        known = np.isfinite(values) & np.isfinite(x[: len(values)])
        figure.add_scatter(
            x=style.compact(x[: len(values)][known]),
            y=style.compact(values[known]),
            name=style.plain(name.replace('_', ' ')),
            mode='lines+markers' if known.sum() < 20 else 'lines',
            marker={'size': 4},
            line=style.line_style(index),
            hovertemplate=f'{by} %{{x}}: %{{y:.4g}}<extra>%{{fullData.name}}</extra>',
        )
    if best_step is not None and by in history:
        place = best_step if by == 'step' else _epoch_of(history, best_step)
        if place is not None:
            figure.add_vline(x=float(place), line={'color': style.MUTED, 'width': 1, 'dash': 'dot'})
    if panel in ('accuracy', 'failure prediction'):
        figure.update_yaxes(tickformat='.1~%')
    if panel == 'learning rate':
        # Plotly gives a constant an axis from -1 to 1, on which 1e-3 and 0 look the same, and calls 1e-5 '10µ'.
        top = 1.1 * float(np.nanmax(_numbers(history[columns[0]]))) if columns else None
        figure.update_yaxes(range=top and [0, top], exponentformat='e')
    figure.update_layout(showlegend=len(columns) > 1)
    return figure


def _numbers(values: Sequence) -> np.ndarray:
    """Return values as float64; what is not a number ('' in a CSV, None) as NaN."""

    def convert(value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            return np.nan

    return np.array([convert(v) for v in values], np.float64)


def _epoch_of(history: Mapping[str, Sequence], step: float) -> float | None:
    """Return the epoch of the row whose step is nearest, or None without a 'step' column."""
    steps = _numbers(history.get('step', ()))
    if not np.isfinite(steps).any():
        return None
    row = int(np.nanargmin(np.abs(steps - step)))
    epoch = _numbers(history['epoch'])[row]
    return float(epoch) if np.isfinite(epoch) else None
