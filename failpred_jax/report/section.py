"""What a section of the page is made of, and the decorator that registers one."""

import functools
import html
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import htpy as h
import plotly.graph_objects as go
import plotly.io.json
from markupsafe import Markup

from failpred_jax.registry import SECTIONS
from failpred_jax.report import style
from failpred_jax.report.tables import Table

if TYPE_CHECKING:
    from failpred_jax.report.view import View


@dataclass
class Section:
    """A section of the page, filled by one module of `sections/`.

    Attributes:
      name: its anchor.
      title: its heading.
      question: the reader's question that it answers.
      parts: its content, in order. Plain strings in it are escaped.
      data: JSON blocks that the page's scripts read (figures, the slider's counts), placed at the end of the page.
      figures: name -> figure, or a function that makes it, exported to `figures/<name>.png` where there is a browser.
      tables: written to `<name>.csv`.
    """

    name: str
    title: str
    question: str
    parts: list[h.Node] = field(default_factory=list)
    data: list[h.Node] = field(default_factory=list)
    figures: dict[str, go.Figure | Callable[[], go.Figure]] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)

    def add(self, *parts: h.Node) -> None:
        """Place markup or text."""
        self.parts.extend(parts)

    def text(self, *texts: h.Node) -> None:
        """Place one paragraph for each text; empty ones are left out."""
        self.parts.extend(h.p[text] for text in texts if text)

    def heading(self, text: h.Node) -> None:
        """Place a sub-heading."""
        self.parts.append(h.h3[text])

    def missing(self, what: h.Node) -> None:
        """Say what this section would show and why it cannot."""
        self.parts.append(h.p('.missing')[what])

    def add_table(self, table: Table) -> None:
        """Place a table, and have it written as CSV."""
        self.parts.append(self.table_html(table))

    def table_html(self, table: Table) -> h.Element:
        """Return a table's markup, and have it written as CSV."""
        self.tables.append(table)
        return table.to_html()

    def figure_html(
        self, name: str, figure: go.Figure, caption: h.Node, alt: str, has_legend: bool = True
    ) -> h.Element:
        """Return a figure's markup and keep its data for the page.

        Args:
          name: unique on the page.
          figure: its title becomes the first words of the caption.
          caption: how to read it.
          alt: what somebody who cannot see it should know.
          has_legend: False where the page has one for it.
        """
        # Plotly's labels hold entities; as text of the page they are escaped again, whatever wrote them.
        title = html.unescape(style.title_of(figure))
        # Changed as plain data: a copy of the figure would be checked again, option by option.
        shown = figure.to_dict()
        layout = {key: value for key, value in shown['layout'].items() if key not in ('title', 'template')}
        layout['margin'] = {**layout.get('margin', {}), 't': 16}
        if not has_legend:
            layout['showlegend'] = False
        self.data.append(json_block(f'data-{name}', plotly.io.json.to_json_plotly({**shown, 'layout': layout})))
        height = style.height_of(figure)
        return h.figure(id=f'figure-{name}')[
            h.div('.plot', data_figure=name, role='img', aria_label=alt, style=f'height:{height}px'),
            h.figcaption[h.strong[title] if title else None, ' ', caption],
        ]

    def add_figure(self, name: str, figure: go.Figure, caption: h.Node, alt: str) -> None:
        """Place a figure, and have it exported as PNG."""
        self.figures[name] = figure
        self.parts.append(self.figure_html(name, figure, caption, alt))

    def add_grid(self, items: Iterable[h.Node], size: str = '') -> None:
        """Place figures or other markup side by side, as many in a row as the page's width allows."""
        self.parts.append(h.div(class_=['grid', size])[items])

    def add_combined(self, name: str, figures: list[go.Figure], title: str, columns: int = 2) -> None:
        """Have several small figures, already placed, exported as the panels of one PNG."""
        self.figures[name] = functools.partial(style.combine, figures, title, columns)


FillFn = Callable[['View', Section], None]


@dataclass(frozen=True)
class SectionEntry:
    """A registered section.

    Attributes:
      name: its anchor on the page.
      title: its heading.
      question: the reader's question that it answers.
      order: its place; sections stand in rising order, equal ones by name.
      fill: adds to the section what there is to show; what it leaves empty is left out of the page.
    """

    name: str
    title: str
    question: str
    order: float
    fill: FillFn


def report_section(name: str, *, order: float, title: str, question: str) -> Callable[[FillFn], FillFn]:
    """Return a decorator that files a function `fill(view, section)` in SECTIONS and hands it back unchanged.

    Args:
      name: the section's anchor on the page.
      order: its place on the page; see `SectionEntry` for this and what follows.
      title: its heading.
      question: the reader's question that it answers.

    Raises:
      ValueError: the name is taken.
    """

    def add(fill: FillFn) -> FillFn:
        SECTIONS.register(name)(SectionEntry(name, title, question, order, fill))
        return fill

    return add


def json_block(element_id: str, value: Any) -> h.Element:
    """Return a <script type="application/json"> that holds a value, or a string that is JSON already.

    `<`, `>` and `&` are written as \\u escapes, so that nothing in the data can end the element or open a comment.

    Raises:
      ValueError: a NaN or an infinity, which is not JSON.
    """
    text = value if isinstance(value, str) else json.dumps(value, allow_nan=False, separators=(',', ':'))
    for character in '<>&\u2028\u2029':
        text = text.replace(character, f'\\u{ord(character):04x}')
    return h.script(type='application/json', id=element_id)[Markup(text)]
