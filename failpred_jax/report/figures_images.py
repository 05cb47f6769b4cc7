"""Grids of images as one figure, for paper and notebooks; the page itself lays its images out as HTML."""

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from failpred_jax.report import style


def data_uri(image: Any, max_side: int = 0, lossy: bool = False, num_colors: int = 0) -> str:
    """Return an image as a data URI.

    Args:
      image: [H, W], [H, W, 1] or [H, W, 3] uint8.
      max_side: shrink to at most this many pixels a side; 0 never shrinks.
      lossy: JPEG, for photographs; else PNG.
      num_colors: a PNG of at most so many colors, a third of the size, for maps on a color scale; 0 keeps all.
    """
    image = np.asarray(image, np.uint8)
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    picture = Image.fromarray(image)
    if max_side and max(picture.size) > max_side:
        scale = max_side / max(picture.size)
        size = [max(1, round(side * scale)) for side in picture.size]
        picture = picture.resize(size, Image.Resampling.BOX)
    if num_colors:
        picture = picture.quantize(num_colors, dither=Image.Dither.NONE)
    stream = BytesIO()
    if lossy:
        picture.save(stream, 'JPEG', quality=82)
    else:
        picture.save(stream, 'PNG', optimize=True)
    kind = 'jpeg' if lossy else 'png'
    return f'data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode("ascii")}'


def image_grid(
    images: Sequence[Any], captions: Sequence[str], title: str = '', columns: int = 6, cell: int = 110
) -> go.Figure:
    """Return images in rows, each with a caption under it.

    Args:
      images: M arrays [H, W], [H, W, 1] or [H, W, 3] uint8.
      captions: M strings; a line break splits lines.
      title: of the figure.
      columns: images a row.
      cell: pixels of an image's side.
    """
    lines = max((caption.count('\n') + 1 for caption in captions), default=1)
    rows = max(1, -(-len(images) // columns))
    text = 15 * lines + 12
    figure = style.new_figure(style.plain(title), height=rows * (cell + text) + 70)
    figure.update_layout(width=columns * (cell + 24) + 40, margin={'l': 20, 'r': 20, 't': 50, 'b': 20})
    figure.update_xaxes(visible=False, range=[0, columns], fixedrange=True)
    figure.update_yaxes(visible=False, range=[rows, 0], fixedrange=True)
    part = cell / (cell + text)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(index, columns)
        figure.add_layout_image(
            source=data_uri(_enlarge(image, cell), max_side=2 * cell),
            xref='x',
            yref='y',
            layer='above',
            x=column + 0.04,
            y=row,
            sizex=0.92,
            sizey=part,
            xanchor='left',
            yanchor='top',
            sizing='contain',
        )
        figure.add_annotation(
            text='<br>'.join(style.plain(style.shorten(line, 26)) for line in caption.split('\n')),
            x=column + 0.5,
            y=row + part,
            showarrow=False,
            xanchor='center',
            yanchor='top',
            font={'size': 10},
        )
    return figure


def _enlarge(image: Any, side: int) -> np.ndarray:
    """Return a small image with its pixels repeated to about `side`: browsers would blur it."""
    image = np.asarray(image, np.uint8)
    times = max(1, side // max(image.shape[:2]))
    return image.repeat(times, axis=0).repeat(times, axis=1)
