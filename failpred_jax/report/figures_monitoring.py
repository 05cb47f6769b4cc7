"""Figures of a monitor; each is one function of plain arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from failpred_jax.report import style


def accuracy_line(
    unit: Any, methods: Mapping[str, tuple[Any, Any, Any]], labeled: tuple[Any, Any, Any] | None,
    reference: float, alarms: Sequence[float] = (),
) -> go.Figure:  # fmt: skip
    """Return the estimated accuracy of each window along the stream.

    Args:
      unit: [W] the number of each window's last unit.
      methods: name -> (value [W], low [W], high [W]) in [0, 1], NaN where not known; the first has a band.
      labeled: the same of the units with labels, or None.
      reference: the accuracy of the reference.
      alarms: units at which an alarm went off.
    """
    unit = np.asarray(unit, np.float64)
    figure = style.new_figure('Accuracy along the stream', 'unit of the stream', 'accuracy', 400)
    figure.add_hline(y=reference, line={'color': style.MUTED, 'width': 1, 'dash': 'dot'})
    for index, (name, (value, low, high)) in enumerate(methods.items()):
        if not index:
            _add_band(figure, unit, low, high)
        _add_line(figure, unit, value, name, style.line_style(index), '.2%')
    if labeled is not None:
        value, low, high = (np.asarray(x, np.float64) for x in labeled)
        known = np.isfinite(value)
        figure.add_scatter(
            x=unit[known],
            y=style.compact(value[known]),
            name='where labels are known',
            mode='markers',
            marker={'color': style.INK, 'size': 6},
            error_y={
                'type': 'data', 'symmetric': False, 'array': style.compact((high - value)[known]),
                'arrayminus': style.compact((value - low)[known]), 'thickness': 1, 'width': 0, 'color': style.INK,
            },
            hovertemplate='unit %{x:,}: %{y:.2%}<extra>where labels are known</extra>',
        )  # fmt: skip
    _add_alarms(figure, alarms)
    figure.update_yaxes(tickformat='.0%')
    return figure


def share_lines(
    unit: Any, shares: Mapping[str, Any], reference: Mapping[str, float], alarms: Sequence[float] = ()
) -> go.Figure:
    """Return what the policy does with the units of each window.

    Args:
      unit: [W] the number of each window's last unit.
      shares: action -> [W] share of the units.
      reference: action -> its share in the reference.
      alarms: units at which an alarm went off.
    """
    figure = style.new_figure('What the policy does', 'unit of the stream', 'share of units', 300)
    for index, (name, value) in enumerate(shares.items()):
        look = style.line_style(index)
        _add_line(figure, np.asarray(unit, np.float64), value, name, look, '.1%')
        if name in reference:
            figure.add_hline(y=reference[name], line={'color': look['color'], 'width': 1, 'dash': 'dot'})
    _add_alarms(figure, alarms)
    figure.update_yaxes(tickformat='.0%', range=[-0.02, 1.02])
    return figure


def error_line(
    unit: Any, estimate: tuple[Any, Any, Any], labeled: Any, promised: float | None, alarms: Sequence[float] = ()
) -> go.Figure:
    """Return the error rate of what is accepted: estimated, by labels, and promised.

    Args:
      unit: [W] the number of each window's last unit.
      estimate: (value [W], low [W], high [W]) in [0, 1].
      labeled: [W], the share of the accepted units with labels that is wrong.
      promised: the limit, or None.
      alarms: units at which an alarm went off.
    """
    unit = np.asarray(unit, np.float64)
    figure = style.new_figure('Errors among what is accepted', 'unit of the stream', 'error rate', 300)
    value, low, high = estimate
    _add_band(figure, unit, low, high)
    _add_line(figure, unit, value, 'estimated', style.line_style(0), '.2%')
    labeled = np.asarray(labeled, np.float64)
    if (known := np.isfinite(labeled)).any():
        figure.add_scatter(
            x=unit[known], y=style.compact(labeled[known]), mode='markers', name='where labels are known',
            marker={'color': style.INK, 'size': 5}, hovertemplate='unit %{x:,}: %{y:.2%}<extra>labels</extra>',
        )  # fmt: skip
    if promised is not None:
        figure.add_hline(y=promised, line={'color': style.VERMILLION, 'width': 1.5, 'dash': 'dash'})
    _add_alarms(figure, alarms)
    figure.update_yaxes(tickformat='.1~%', rangemode='tozero')
    return figure


def evidence_lines(unit: Any, evidence: Mapping[str, Any], level: Mapping[str, float]) -> go.Figure:
    """Return the evidence of each alarm as a share of what it takes: 1 is the alarm.

    Args:
      unit: [W] the number of each window's last unit.
      evidence: alarm -> [W] logarithm of the wealth.
      level: alarm -> the logarithm at which it goes off, in the same base.
    """
    unit = np.asarray(unit, np.float64)
    figure = style.new_figure('Evidence that something has changed', 'unit of the stream', 'log e / log threshold', 340)
    for index, (name, value) in enumerate(evidence.items()):
        share = np.asarray(value, np.float64) / level[name]
        _add_line(figure, unit, np.clip(share, -1, 6), name.replace('_', ' '), style.line_style(index), '.2f')
    figure.add_hline(y=1, line={'color': style.VERMILLION, 'width': 1.5, 'dash': 'dash'})
    return figure


def spread_bars(spreads: Mapping[str, Any]) -> go.Figure:
    """Return how units spread over the tenths of the reference's confidences.

    Args:
      spreads: name -> [10] units, or shares, the lowest confidences first.
    """
    figure = style.new_figure('Where the confidences lie', "tenth of the reference's confidences, lowest first",
                              'share of units', 300)  # fmt: skip
    for index, (name, counts) in enumerate(spreads.items()):
        counts = np.asarray(counts, np.float64)
        figure.add_bar(
            x=np.arange(1, len(counts) + 1),
            y=style.compact(counts / max(counts.sum(), 1)),
            name=name,
            marker={'color': (style.MUTED, style.BLUE, style.VERMILLION)[index % 3]},
            hovertemplate='tenth %{x}: %{y:.1%}<extra>' + style.plain(name) + '</extra>',
        )
    figure.update_yaxes(tickformat='.0%')
    figure.update_xaxes(dtick=1)
    figure.update_layout(bargap=0.25)
    return figure


def _add_line(figure: go.Figure, x: np.ndarray, y: Any, name: str, line: dict[str, Any], shown: str) -> None:
    y = np.asarray(y, np.float64)
    figure.add_scatter(
        x=x,
        y=[float(np.float32(v)) if np.isfinite(v) else None for v in y],
        name=style.plain(name),
        mode='lines+markers' if len(x) < 30 else 'lines',
        marker={'size': 4},
        line=line,
        hovertemplate=f'unit %{{x:,}}: %{{y:{shown}}}<extra>%{{fullData.name}}</extra>',
    )


def _add_band(figure: go.Figure, x: np.ndarray, low: Any, high: Any) -> None:
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    known = np.isfinite(low) & np.isfinite(high)
    for values, fill in ((high, None), (low, 'tonexty')):
        figure.add_scatter(
            x=x[known], y=style.compact(values[known]), mode='lines', line={'width': 0, 'color': style.SCALE[1]},
            fill=fill, fillcolor=style.SCALE[1], showlegend=False, hoverinfo='skip',
        )  # fmt: skip


def _add_alarms(figure: go.Figure, alarms: Sequence[float]) -> None:
    for unit in alarms:
        figure.add_vline(x=float(unit), line={'color': style.VERMILLION, 'width': 1.5})
