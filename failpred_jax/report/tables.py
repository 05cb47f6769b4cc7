"""Tables: once as HTML that sorts, once as CSV."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import htpy as h

from failpred_jax.report.words import is_number

TALL = 40  # rows beyond which a table scrolls in a frame of its own
MOST_SHOWN = 1000  # rows beyond which only the CSV holds them

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
      key: where rows hold its value, and its heading in the CSV.
      label: its heading on the page.
      show: (value, row) -> text or markup of a cell; None shows the value as it is.
      is_numeric: right-aligned, and sorted from the largest down at the first click.
      hint: what the column means, shown on hover and read aloud.
    """

    key: str
    label: str
    show: Callable[[Any, Row], h.Node] | None = None
    is_numeric: bool = False
    hint: str = ''


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
      name: its file is `<name>.csv`.
      caption: what it holds and how to read it.
      columns: shown on the page, and in the CSV.
      rows: {key: raw value}; a row with a true '_marked' is highlighted, one with '_muted' is grayed.
      csv_keys: further keys that only the CSV holds (ends of intervals).
    """

    name: str
    caption: h.Node
    columns: Sequence[Column]
    rows: Sequence[Row]
    csv_keys: Sequence[str] = field(default=())

    def to_html(self) -> h.Element:
        """Return the table; its headings are buttons that page.js makes sort."""
        heads = [
            h.th(scope='col', class_={'num': column.is_numeric})[
                h.button(type='button', title=column.hint or None)[column.label]
            ]
            for column in self.columns
        ]
        region = h.div(
            class_={'scroll': True, 'tall': len(self.rows) > TALL},
            tabindex='0',
            role='region',
            aria_label=f'Table {self.name.replace("_", " ")}',
        )
        num = len(self.rows)
        more = f' The first {MOST_SHOWN} of {num} rows; the file holds all.' if num > MOST_SHOWN else ''
        more += f' The table scrolls: {min(num, MOST_SHOWN)} rows.' if num > TALL else ''
        return h.figure('.table')[
            region[
                h.table('.sortable', id=f'table-{self.name}')[
                    h.thead[h.tr[heads]], h.tbody[[self._row(row) for row in self.rows[:MOST_SHOWN]]]
                ]
            ],
            h.figcaption[self.caption, more, ' ', h.a('.csv', href=f'{self.name}.csv')[f'{self.name}.csv']],
        ]

    def _row(self, row: Row) -> h.Element:
        cells = []
        for index, column in enumerate(self.columns):
            value = row.get(column.key)
            shown = column.show(value, row) if column.show else value if isinstance(value, str | None) else str(value)
            sort_key = None
            if column.is_numeric:
                sort_key = repr(float(value)) if is_number(value) else ''
            cell = h.th if index == 0 else h.td
            scope = {'scope': 'row'} if index == 0 else {}
            cells.append(cell(scope, data_sort=sort_key, class_={'num': column.is_numeric})[shown])
        return h.tr(class_='marked' if row.get('_marked') else 'muted' if row.get('_muted') else None)[cells]

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
    """Return a value for a CSV cell; text that a spreadsheet would run as a formula starts with an apostrophe."""
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
