"""Tables: once as HTML that sorts, once as CSV."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from failpred_jax.report.html import Html, join, tag
from failpred_jax.report.words import is_number

TALL = 40  # rows beyond which a table scrolls in a frame of its own


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
      key: where rows hold its value, and its heading in the CSV.
      label: its heading on the page.
      show: (value, row) -> text or Html of a cell; None shows the value as it is.
      is_numeric: right-aligned, and first sorted from the largest down.
      hint: what the column means, shown on hover and read aloud.
    """

    key: str
    label: str
    show: Callable[[Any, dict], Any] | None = None
    is_numeric: bool = False
    hint: str = ''


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
      name: its file is `<name>.csv`.
      caption: what it holds and how to read it.
      columns: shown on the page, and in the CSV.
      rows: {key: raw value}; a row with a true '_marked' is set apart, one with '_muted' is set back.
      csv_keys: further keys that only the CSV holds (ends of intervals).
    """

    name: str
    caption: Any
    columns: Sequence[Column]
    rows: Sequence[dict]
    csv_keys: Sequence[str] = field(default=())

    def to_html(self) -> Html:
        """Return the table; its headings are buttons that page.js makes sort."""
        heads = [
            tag(
                'th',
                tag('button', column.label, type='button', title=column.hint or None),
                scope='col',
                class_='num' if column.is_numeric else None,
            )
            for column in self.columns
        ]
        body = [self._row(row) for row in self.rows]
        return tag(
            'figure',
            tag(
                'div',
                tag(
                    'table',
                    tag('thead', tag('tr', heads)),
                    tag('tbody', body),
                    class_='sortable',
                    id=f'table-{self.name}',
                ),
                class_='scroll tall' if len(self.rows) > TALL else 'scroll',
                tabindex='0',
                role='region',
                aria_label=f'Table {self.name.replace("_", " ")}',
            ),
            tag('figcaption', self.caption, ' ', tag('a', f'{self.name}.csv', href=f'{self.name}.csv', class_='csv')),
            class_='table',
        )

    def _row(self, row: dict) -> Html:
        cells = []
        for index, column in enumerate(self.columns):
            value = row.get(column.key)
            shown = column.show(value, row) if column.show else value
            sort_key = None
            if column.is_numeric:
                sort_key = repr(float(value)) if is_number(value) else ''
            attributes = {'data_sort': sort_key, 'class_': 'num' if column.is_numeric else None}
            if index == 0:
                cells.append(tag('th', shown, scope='row', **attributes))
            else:
                cells.append(tag('td', shown, **attributes))
        kind = 'marked' if row.get('_marked') else 'muted' if row.get('_muted') else None
        return tag('tr', join(cells), class_=kind)

    def to_csv(self) -> str:
        """Return the table as CSV with raw values; an undefined value is an empty cell."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator='\n')
        keys = [column.key for column in self.columns] + list(self.csv_keys)
        writer.writerow(keys)
        for row in self.rows:
            writer.writerow([_csv_cell(row.get(key)) for key in keys])
        return stream.getvalue()


def _csv_cell(value: Any) -> Any:
    """Return a value for a CSV cell; text that a spreadsheet would run as a formula is quoted with an apostrophe."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ''
    if isinstance(value, str) and value[:1] in ('=', '+', '-', '@', '\t', '\r') and not _is_numeral(value):
        return "'" + value
    return value


def _is_numeral(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
