"""Colors and layout shared by all figures.

The hues are Okabe and Ito's, which people with any common color blindness can tell apart; lines also differ in dash.
Figures are made in light colors. If the reader prefers a dark page, it replaces each color of LIGHT by the one at the
same place in DARK, so figures must take their colors from here.

Reference: Okabe and Ito, Color Universal Design (2008), https://jfly.uni-koeln.de/color/.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = '#0072B2', '#D55E00', '#009E73', '#C277A0', '#DB9200', '#4BA9DD'
INK, MUTED, GRID, SURFACE = '#22282D', '#68727B', '#E3E6E8', '#FDFDFC'
# From the surface to a deep blue, even in lightness; read backwards in the dark.
SCALE = ('#FBFCFD', '#CFE3F1', '#93C2E0', '#4F9AC9', '#0B6CA8', '#083B5E')
LIGHT = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, INK, MUTED, GRID, SURFACE, *SCALE)
DARK = (
    *('#4DA6E0', '#F58549', '#2FBF94', '#DF9BC1', '#EDB04A', '#94D0F5', '#E6E9EB', '#98A2AB', '#30383F', '#14181B'),
    *('#181D21', '#14344A', '#145075', '#2379AE', '#5BB0E3', '#C4E4F8'),
)
DARK_SURFACE = DARK[LIGHT.index(SURFACE)]
LINES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, INK)
DASHES = ('solid', 'dash', 'dot', 'dashdot', 'longdash')
CORRECT, WRONG = BLUE, VERMILLION
HEIGHT = 380  # pixels
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'


def plain(text: Any) -> str:
    """Return text for a Plotly label, where it shows as written: Plotly reads <b>, <a href> and entities in labels."""
    text = str(text).encode('utf-8', 'replace').decode('utf-8')
    return text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')


def shorten(text: Any, length: int = 28) -> str:
    """Return text cut to a length, the cut marked by an ellipsis: a label must not push a figure off the page."""
    text = str(text)
    return text if len(text) <= length else text[: length - 1] + '\u2026'


def line_style(index: int) -> dict[str, Any]:
    """Return color and dash of the index-th line; the first 35 are all different."""
    return {'color': LINES[index % len(LINES)], 'dash': DASHES[(index + index // len(LINES)) % len(DASHES)], 'width': 2}


@functools.cache
def template(dark: bool = False) -> go.layout.Template:
    """Return the light or the dark Plotly template."""
    to = dict(zip(LIGHT, DARK if dark else LIGHT, strict=True))
    axis = {
        'gridcolor': to[GRID],
        'linecolor': to[GRID],
        'zerolinecolor': to[GRID],
        'tickcolor': to[GRID],
        'tickfont': {'color': to[MUTED]},
        'title': {'font': {'color': to[MUTED], 'size': 12}, 'standoff': 8},
        'automargin': True,
        'zeroline': False,
    }
    return go.layout.Template(
        layout={
            'font': {'family': FONT, 'size': 12, 'color': to[INK]},
            'title': {
                'font': {'size': 15},
                'x': 0,
                'xref': 'paper',
                'xanchor': 'left',
                'y': 1,
                'yanchor': 'top',
                'pad': {'t': 8},
            },
            'paper_bgcolor': 'rgba(0,0,0,0)' if dark else to[SURFACE],
            'plot_bgcolor': 'rgba(0,0,0,0)',
            'colorway': [to[c] for c in LINES],
            'xaxis': axis,
            'yaxis': axis,
            'hoverlabel': {'bgcolor': to[SURFACE], 'bordercolor': to[GRID], 'font': {'color': to[INK], 'family': FONT}},
            # Above the plot it can wrap without meeting the axis title.
            'legend': {'orientation': 'h', 'yanchor': 'bottom', 'y': 1.0, 'x': 0, 'font': {'size': 12}},
            'modebar': {'bgcolor': 'rgba(0,0,0,0)', 'color': to[MUTED], 'activecolor': to[INK]},
            'annotationdefaults': {'font': {'color': to[MUTED], 'size': 12}},
            'margin': {'l': 56, 'r': 24, 't': 84, 'b': 44},
        }
    )


def new_figure(title: str, x: str = '', y: str = '', height: int = HEIGHT) -> go.Figure:
    """Return an empty figure in the house style; the labels are ours or went through `plain`."""
    axes = {name: {'title': {'text': text}} for name, text in (('xaxis', x), ('yaxis', y))}
    return go.Figure(layout={'template': template(), 'title': {'text': title}, 'height': height, **axes})


def title_of(figure: go.Figure) -> str:
    """Return a figure's title as Plotly reads it, or ''."""
    layout: Any = figure.layout
    return layout.title.text or ''


def height_of(figure: go.Figure) -> int:
    """Return a figure's height in pixels."""
    layout: Any = figure.layout
    return int(layout.height or HEIGHT)


def width_of(figure: go.Figure, default: int) -> int:
    """Return a figure's width in pixels, or the default of one that takes any."""
    layout: Any = figure.layout
    return int(layout.width or default)


def compact(values: Any) -> np.ndarray:
    """Return values as float32 where they are floats that fit: half the size on the page, and finer than a screen."""
    values = np.asarray(values)
    if values.dtype.kind != 'f':
        return values
    with np.errstate(over='ignore'):
        narrow = values.astype(np.float32)
    return narrow if np.array_equal(np.isfinite(narrow), np.isfinite(values)) else values


def combine(figures: Sequence[go.Figure], title: str, columns: int = 2) -> go.Figure:
    """Return several figures as the panels of one, for paper and notebooks.

    Args:
      figures: at least one, each with the axes x, y and perhaps y2, ... that `new_figure` gave it.
      title: of the whole.
      columns: panels in a row.
    """
    columns = min(columns, len(figures))
    rows = -(-len(figures) // columns)
    margins = 130  # top and bottom of the whole, in pixels like the gaps
    inside = rows * max(height_of(figure) for figure in figures)
    total_width = 60 + 340 * columns if columns > 2 else 860
    combined = new_figure(title, height=inside + margins)
    combined.update_layout(width=total_width)
    # The axes of the panels take the place of those of an empty figure.
    combined.update_xaxes(title_text=None)
    combined.update_yaxes(title_text=None)
    gap_x, gap_y = 66 / (total_width - 80), 84 / inside
    width, height = (1 - (columns - 1) * gap_x) / columns, (1 - (rows - 1) * gap_y) / rows
    used = {'x': 0, 'y': 0}
    legend_shown: set[str] = set()
    for index, figure in enumerate(figures):
        row, column = divmod(index, columns)
        cell = {'x': (column * (width + gap_x), width), 'y': (max(0.0, 1 - row * (height + gap_y) - height), height)}
        _add_panel(combined, figure.to_plotly_json(), cell, used, legend_shown)
    legend = {'yref': 'container', 'y': 1 - 34 / (inside + margins), 'yanchor': 'top'}
    combined.update_layout(margin={'t': 100}, legend=legend)
    return combined


def _add_panel(
    combined: go.Figure, spec: dict, cell: dict[str, tuple[float, float]], used: dict[str, int], legend_shown: set[str]
) -> None:
    """Add one figure to a combined one.

    Args:
      combined: changed in place.
      spec: of the figure, as Plotly's JSON; changed in place.
      cell: 'x' and 'y' -> (start, size) as shares of the whole.
      used: axes in use per letter; changed in place.
      legend_shown: names in the legend; changed in place.
    """
    renamed = _rename_axes(spec, used)
    axes = {}
    for old, new in renamed.items():
        start, size = cell[old[0]]
        axis = dict(spec['layout'].get(_axis_key(old), {}))
        low, high = axis.get('domain') or (0, 1)
        axis['domain'] = [start + low * size, min(1.0, start + high * size)]
        axis['anchor'] = renamed.get(axis.get('anchor', 'y' if old[0] == 'x' else 'x'), 'free')
        if 'matches' in axis:
            axis['matches'] = renamed[axis['matches']]
        axes[_axis_key(new)] = axis
    combined.update_layout(axes)
    for trace in spec['data']:
        trace['xaxis'] = renamed[trace.get('xaxis', 'x')]
        trace['yaxis'] = renamed[trace.get('yaxis', 'y')]
        name = trace.get('name')
        trace['legendgroup'] = name
        trace['showlegend'] = bool(name) and trace.get('showlegend', True) and name not in legend_shown
        legend_shown.update({name} if name else ())
        combined.add_trace(trace)
    for shape in spec['layout'].get('shapes', ()):
        combined.add_shape(_move_reference(shape, renamed))
    combined.add_annotation(
        text=(spec['layout'].get('title') or {}).get('text') or '',
        xref='paper',
        yref='paper',
        x=cell['x'][0],
        y=sum(cell['y']),
        yshift=6,
        xanchor='left',
        yanchor='bottom',
        showarrow=False,
        font={'color': INK},
    )


def _axis_key(reference: str) -> str:
    return f'{reference[0]}axis{reference[1:]}'


def _rename_axes(spec: dict, used: dict[str, int]) -> dict[str, str]:
    """Return {'x': 'x3', 'y2': 'y6', ...} for the axes of one figure, counting up those in use."""
    renamed = {}
    for letter in 'xy':
        own = {trace.get(f'{letter}axis', letter) for trace in spec['data']} | {letter}
        for old in sorted(own):
            used[letter] += 1
            renamed[old] = letter if used[letter] == 1 else f'{letter}{used[letter]}'
    return renamed


def _move_reference(shape: dict, renamed: dict[str, str]) -> dict:
    moved = dict(shape)
    for letter in 'xy':
        first, *rest = str(shape.get(f'{letter}ref', letter)).split(' ')
        moved[f'{letter}ref'] = ' '.join([renamed.get(first, first), *rest])
    return moved
