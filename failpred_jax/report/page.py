"""The page: sections in the reader's order, one file, nothing fetched from anywhere."""

import base64
import hashlib
import importlib.resources
from pathlib import Path

import plotly.offline

from failpred_jax import files
from failpred_jax.report import export, style
from failpred_jax.report.html import Html, join, json_block, tag, trusted
from failpred_jax.report.section import Section
from failpred_jax.report.sections import (
    augmentation,
    calibration,
    images,
    made,
    model,
    scores,
    seeds,
    segmentation,
    threshold,
    verdict,
)
from failpred_jax.report.view import View
from failpred_jax.results import Results

# In the order in which a reader asks.
SECTIONS = (verdict, scores, threshold, calibration, model, images, segmentation, augmentation, seeds, made)


def build(results: Results, folder: Path, png: bool = True) -> Path:
    """Write page, tables and figures; see `failpred_jax.report.build`."""
    view = View(results)
    sections = [section for make in SECTIONS if (section := make.make(view)) is not None]
    folder.mkdir(parents=True, exist_ok=True)
    for section in sections:
        for table in section.tables:
            files.write_text(folder / f'{table.name}.csv', table.to_csv())
    path = folder / 'index.html'
    files.write_text(path, render(view, sections))
    if png:
        figures = {name: figure for section in sections for name, figure in section.figures.items()}
        export.write_pngs(figures, folder / 'figures')
    return path


def render(view: View, sections: list[Section]) -> str:
    """Return the page as one HTML document."""
    name = str(view.dataset.get('name') or 'results')
    library, own = plotly.offline.get_plotlyjs(), _asset('page.js')
    head = tag(
        'head',
        tag('meta', charset='utf-8'),
        tag('meta', http_equiv='Content-Security-Policy', content=_policy([library, own])),
        tag('meta', name='viewport', content='width=device-width, initial-scale=1'),
        tag('meta', name='color-scheme', content='light dark'),
        tag('title', f'{name}: failure prediction'),
        tag('style', trusted(_asset('page.css'))),
    )
    links = [tag('li', tag('a', section.title, href=f'#{section.name}')) for section in sections]
    theme = tag('button', 'Dark', type='button', id='theme', title='Switch between light and dark')
    body = tag(
        'body',
        tag('a', 'Skip to content', href='#content', class_='skip'),
        tag(
            'nav',
            tag('p', tag('a', 'failpred_jax', href='#top'), ' report', class_='brand'),
            tag('ol', links),
            theme,
            aria_label='Sections',
        ),
        tag(
            'main',
            _heading(view, name),
            tag('noscript', tag('p', 'Figures and the slider need JavaScript; all tables are here without it.')),
            [_section(number, section) for number, section in enumerate(sections, start=1)],
            id='content',
        ),
        [block for section in sections for block in section.data],
        json_block('data-style', _style_data()),
        tag('script', trusted(library), type='text/plain', id='plotly-source'),
        tag('script', trusted(own)),
        id='top',
    )
    return f'<!DOCTYPE html>\n{tag("html", head, body, lang="en")}\n'


def _heading(view: View, name: str) -> Html:
    architecture = view.context.get('model')
    architecture = architecture.get('name') if isinstance(architecture, dict) else architecture
    stages = [str(stage.get('name')) for stage in view.context.get('stages') or () if isinstance(stage, dict)]
    parts = [architecture, ' \u2192 '.join(stages), str(view.context.get('created') or '')[:16].replace('T', ' ')]
    return tag(
        'header',
        tag('p', 'When is this model wrong, and does it know?', class_='kicker'),
        tag('h1', name),
        tag('p', ' \u00b7 '.join(str(part) for part in parts if part), class_='byline'),
    )


def _section(number: int, section: Section) -> Html:
    return tag(
        'section',
        tag('p', section.question, class_='kicker'),
        tag('h2', tag('span', str(number), class_='number'), section.title),
        join(section.parts),
        id=section.name,
    )


def _asset(name: str) -> str:
    return (importlib.resources.files('failpred_jax.report') / 'assets' / name).read_text(encoding='utf-8')


def _policy(scripts: list[str]) -> str:
    """Return a Content-Security-Policy under which only these scripts run, and nothing is fetched."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = ' '.join(f"'sha256-{digest}'" for digest in hashes)
    # Plotly writes style elements, and draws its downloads through data and blob URLs.
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _style_data() -> dict:
    return {
        'templates': {
            'light': _template(False),
            'dark': _template(True),
        },
        'colors': {'light': style.LIGHT, 'dark': style.DARK},
    }


def _template(dark: bool) -> dict:
    spec = style.template(dark).to_plotly_json()
    spec['layout']['paper_bgcolor'] = 'rgba(0,0,0,0)'
    return spec
