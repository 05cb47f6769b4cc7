"""What a section of the page is made of."""

from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from failpred_jax.report import style
from failpred_jax.report.html import Html, json_block, tag
from failpred_jax.report.tables import Table


@dataclass
class Section:
    """A section of the page, filled by one module of `sections/`.

    Attributes:
      name: its anchor, and the prefix of nothing else.
      title: its heading.
      question: the reader's question that it answers.
      parts: its content, in order.
      data: JSON blocks the page's scripts read (figures, the slider's counts), placed at the end of the page.
      figures: name -> figure, exported to `figures/<name>.png`.
      tables: written to `<name>.csv`.
    """

    name: str
    title: str
    question: str
    parts: list[Html] = field(default_factory=list)
    data: list[Html] = field(default_factory=list)
    figures: dict[str, go.Figure] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)

    def add(self, *parts: Html) -> None:
        """Place markup."""
        self.parts.extend(parts)

    def text(self, *texts: Any) -> None:
        """Place one paragraph for each text; empty ones are left out."""
        self.parts.extend(tag('p', text) for text in texts if text)

    def heading(self, text: Any) -> None:
        """Place a sub-heading."""
        self.parts.append(tag('h3', text))

    def missing(self, what: Any) -> None:
        """Say what this section would show and why it cannot."""
        self.parts.append(tag('p', what, class_='missing'))

    def add_table(self, table: Table) -> None:
        """Place a table, and have it written as CSV."""
        self.parts.append(self.table_html(table))

    def table_html(self, table: Table) -> Html:
        """Return a table's markup, and have it written as CSV."""
        self.tables.append(table)
        return table.to_html()

    def figure_html(self, name: str, figure: go.Figure, caption: Any, alt: str) -> Html:
        """Return a figure's markup and keep its data for the page.

        Args:
          name: unique on the page.
          figure: its title becomes the first words of the caption.
          caption: how to read it.
          alt: what somebody who cannot see it should know.
        """
        # The title went through style.plain for Plotly, which is what HTML needs too.
        title = Html(figure.layout.title.text or '')
        shown = go.Figure(figure)
        shown.update_layout(title=None, template=None, margin_t=16)
        self.data.append(json_block(f'data-{name}', shown.to_json()))
        height = int(figure.layout.height or 380)
        return tag(
            'figure',
            tag('div', class_='plot', data_figure=name, role='img', aria_label=alt, style=f'height:{height}px'),
            tag('figcaption', tag('strong', title) if title else '', ' ', caption),
            id=f'figure-{name}',
        )

    def add_figure(self, name: str, figure: go.Figure, caption: Any, alt: str) -> None:
        """Place a figure, and have it exported as PNG."""
        self.figures[name] = figure
        self.parts.append(self.figure_html(name, figure, caption, alt))

    def add_grid(self, items: list[Html], size: str = '') -> None:
        """Place figures or other markup side by side, as many a row as the page's width allows."""
        self.parts.append(tag('div', items, class_=f'grid {size}'.strip()))

    def add_combined(self, name: str, figures: list[go.Figure], title: str, columns: int = 2) -> None:
        """Have several small figures, already placed, exported as the panels of one PNG."""
        self.figures[name] = style.combine(figures, title, columns)
