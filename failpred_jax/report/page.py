"""The page: one file with all registered sections, in which nothing is loaded from anywhere else."""

import base64
import hashlib
import importlib.resources
import logging
from pathlib import Path

import htpy as h
import plotly.offline
from markupsafe import Markup

from failpred_jax import files
from failpred_jax.console import say
from failpred_jax.registry import SECTIONS
from failpred_jax.report import export, style, words
from failpred_jax.report.section import Section, SectionEntry, json_block
from failpred_jax.report.view import View
from failpred_jax.results import Evaluation


def build(evaluation: Evaluation, folder: Path, png: bool = True) -> Path:
    """Write page, tables and figures; see `failpred_jax.report.build`."""
    view = View(evaluation)
    sections = make_sections(view)
    folder.mkdir(parents=True, exist_ok=True)
    for section in sections:
        for table in section.tables:
            files.write_text(folder / f'{table.name}.csv', words.printable(table.to_csv()))
    path = folder / 'index.html'
    files.write_text(path, render(view, sections))
    if png:
        figures = {name: figure for section in sections for name, figure in section.figures.items()}
        export.write_pngs(figures, folder / 'figures')
    return path


def make_sections(view: View) -> list[Section]:
    """Return the sections that have something to show, in the reader's order.

    A section that fails is replaced by the reason: what it would show was paid for by training, and the other sections
    still show the rest.
    """
    entries: list[SectionEntry] = sorted(
        (SECTIONS[name] for name in SECTIONS), key=lambda entry: (entry.order, entry.name)
    )
    sections = []
    for entry in entries:
        section = Section(entry.name, entry.title, entry.question)
        try:
            entry.fill(view, section)
        except Exception as error:  # noqa: BLE001 - whatever one section does, the others are shown
            reason = f'{type(error).__name__}: {error}'
            logging.exception("report section '%s' failed", entry.name)
            say(f"warning: report section '{entry.name}' unavailable: {reason}")
            section = Section(entry.name, entry.title, entry.question)
            section.missing(f'This section is unavailable, because building it failed. {reason}')
        if section.parts:
            sections.append(section)
    return sections


def render(view: View, sections: list[Section]) -> str:
    """Return the page of an evaluation as one HTML document."""
    return document(f'{view.dataset_name}: failure prediction', _heading(view), sections)


def document(title: str, heading: h.Element, sections: list[Section]) -> str:
    """Return sections under a heading as one HTML document that loads nothing.

    Args:
      title: of the browser's window.
      heading: stands above the sections.
      sections: in the reader's order.
    """
    library, own = plotly.offline.get_plotlyjs(), _asset('page.js')
    head = h.head[
        h.meta(charset='utf-8'),
        h.meta(http_equiv='Content-Security-Policy', content=_policy([library, own])),
        h.meta(name='viewport', content='width=device-width, initial-scale=1'),
        h.meta(name='color-scheme', content='light dark'),
        h.title[title],
        h.style[Markup(_asset('page.css'))],
    ]
    body = h.body('#top')[
        h.a('.skip', href='#content')['Skip to content'],
        h.nav(aria_label='Sections')[
            h.p('.brand')[h.a(href='#top')['failpred_jax'], ' report'],
            h.ol[[h.li[h.a(href=f'#{section.name}')[section.title]] for section in sections]],
            h.button('#theme', type='button', title='Switch between light and dark')['Dark'],
        ],
        h.main('#content')[
            heading,
            h.noscript[h.p['Figures and the slider need JavaScript. All tables are readable without it.']],
            [_section(number, section) for number, section in enumerate(sections, start=1)],
        ],
        [section.data for section in sections],
        _style_data(),
        h.script(type='text/plain', id='plotly-source')[Markup(library)],
        h.script[Markup(own)],
    ]
    return words.printable(str(h.html(lang='en')[head, body])) + '\n'


def _heading(view: View) -> h.Element:
    parts = [view.model_name, ' \u2192 '.join(view.stage_names), view.created]
    return h.header[
        h.p('.kicker')['When is this model wrong, and does it know?'],
        h.h1[view.dataset_name],
        h.p('.byline')[' \u00b7 '.join(part for part in parts if part)],
    ]


def _section(number: int, section: Section) -> h.Element:
    return h.section(id=section.name)[
        h.p('.kicker')[section.question],
        h.h2[h.span('.number')[str(number)], section.title],
        section.parts,
    ]


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


def _style_data() -> h.Element:
    """Return the colors and templates that page.js needs to switch between light and dark."""
    templates = {'light': _template(False), 'dark': _template(True)}
    return json_block('data-style', {'templates': templates, 'colors': {'light': style.LIGHT, 'dark': style.DARK}})


def _template(dark: bool) -> dict:
    spec = style.template(dark).to_plotly_json()
    spec['layout']['paper_bgcolor'] = 'rgba(0,0,0,0)'
    return spec
