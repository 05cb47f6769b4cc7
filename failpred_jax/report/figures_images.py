"""Images as data, and as one figure for papers and notebooks; the page itself lays its images out as HTML."""

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from failpred_jax.report import style

SMALL = 64  # pixels per side


def as_pictures(images: Any) -> tuple[np.ndarray, str]:
    """Return images in a form that a browser can show, and what that leaves out or changes.

    Args:
      images: [..., H, W, channels] of any real type.

    Returns:
      [..., H, W, 1 or 3] uint8, and one or two sentences, empty for images that are shown as they are.

    Raises:
      ValueError: they cannot be shown, and why.
    """
    images = np.asarray(images)
    if images.ndim < 3 or 0 in images.shape or images.dtype.kind not in 'buif':
        raise ValueError(f'an array of shape {images.shape} and type {images.dtype} cannot be shown as images')
    notes = []
    channels = images.shape[-1]
    if channels not in (1, 3):
        shown = 'first is shown in gray' if channels == 2 else 'first three are shown as red, green and blue'
        notes.append(f'The images have {channels} channels; the {shown}.')
        images = images[..., : 1 if channels == 2 else 3]
    if images.dtype != np.uint8:
        values = images.astype(np.float64)
        values = np.where(np.isfinite(values), values, 0)
        low, high = float(values.min()), float(values.max())
        notes.append(f'Values from {low:g} (dark) to {high:g} (light).')
        images = np.round((values - low) / max(high - low, 1e-300) * 255).astype(np.uint8)
    return images, ' '.join(notes)


def is_small(image: np.ndarray) -> bool:
    """Return whether an image [H, W, ...] is so small that its pixels are shown as squares."""
    return max(image.shape[:2]) <= SMALL


def data_uri(image: Any, max_side: int = 0, lossy: bool = False, num_colors: int = 0) -> str:
    """Return an image as a data URI.

    Args:
      image: [H, W] or [H, W, channels]; shown as `as_pictures` says.
      max_side: shrink to at most this many pixels per side; 0 never shrinks.
      lossy: JPEG, for color photographs; else PNG.
      num_colors: a PNG of at most so many colors, one third of the size, for maps on a color scale; 0 keeps all.

    Raises:
      ValueError: the image cannot be shown, and why.
    """
    image = np.asarray(image)
    image, _ = as_pictures(image[..., None] if image.ndim == 2 else image)
    lossy = lossy and image.shape[-1] == 3
    if image.shape[-1] == 1:
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
    images: Sequence[Any] | np.ndarray, captions: Sequence[str], title: str = '', columns: int = 6, cell: int = 110
) -> go.Figure:
    """Return images in rows, each with a caption below it.

    Args:
      images: M arrays [H, W] or [H, W, channels]; shown as `as_pictures` says.
      captions: M strings; a line break splits lines.
      title: of the figure.
      columns: images per row.
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
    image = np.asarray(image)
    times = max(1, side // max(image.shape[:2]))
    return image.repeat(times, axis=0).repeat(times, axis=1)
