"""Figures as PNG files, through kaleido and a Chromium if both are installed."""

import asyncio
import importlib.util
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import plotly.graph_objects as go

from failpred_jax import files
from failpred_jax.console import say_once
from failpred_jax.report import style

SCALE = 2  # pixels per figure unit: sharp in a paper's column
WIDTH = 760
FIGURE_SECONDS = 60  # a browser that needs longer than this for one figure hangs

Drawn = go.Figure | Callable[[], go.Figure]


def write_pngs(figures: Mapping[str, Drawn], folder: Path) -> list[Path]:
    """Write figures as `<name>.png` and return the paths written.

    Without kaleido, without a browser, or when the browser fails, the rest is left out and one message says so: a
    report without PNG files is still a report.

    Args:
      figures: name -> figure, or a function that makes it, which is called where there is a browser.
      folder: created if there is something to write.
    """
    if not figures:
        return []
    if importlib.util.find_spec('kaleido') is None:
        say_once("report: no PNG figures, as kaleido is not installed (pip install 'failpred_jax[png]')")
        return []
    images: dict[str, bytes] = {}
    problem: list[str] = []
    # A thread of its own: the caller may be inside a running event loop, as in a notebook.
    thread = threading.Thread(target=_render_all, args=(figures, images, problem), daemon=True)
    thread.start()
    thread.join()
    if problem:
        say_once(f'report: {len(figures) - len(images)} of {len(figures)} PNG figures unavailable: {problem[0]}')
    paths = []
    for name, image in images.items():
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f'{name}.png'
        with files.whole_file(path) as stream:
            stream.write(image)
        paths.append(path)
    return paths


def _render_all(figures: Mapping[str, Drawn], images: dict[str, bytes], problem: list[str]) -> None:
    for name in ('kaleido', 'choreographer', 'browser_proc'):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        asyncio.run(_render(figures, images))
    except Exception as error:  # noqa: BLE001 - whatever a browser does, the report continues
        first_line = (str(error) or type(error).__name__).strip().splitlines()[0]
        problem.append(first_line.rstrip('.'))


async def _render(figures: Mapping[str, Drawn], images: dict[str, bytes]) -> None:
    import kaleido

    # Without MathJax: kaleido would fetch it from the network.
    async with kaleido.Kaleido(n=1, timeout=FIGURE_SECONDS, mathjax=False) as browser:
        for name, drawn in figures.items():
            figure = drawn if isinstance(drawn, go.Figure) else drawn()
            width, height = style.width_of(figure, WIDTH), style.height_of(figure)
            images[name] = await browser.calc_fig(
                figure, opts={'format': 'png', 'width': width, 'height': height, 'scale': SCALE}
            )
